//! Numbers and times as they are written in a picture. Times are nanoseconds.

/// "10,000".
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "1 task", "2,500 tasks".
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// "1.25 s", "340 ms", "12.0 us": about three digits.
pub(crate) fn duration(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0 => return "0 s".to_owned(),
        1_000_000_000.. => (nanos as f64 / 1e9, "s"),
        1_000_000.. => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e3, "us"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// "0.52 s to 1.37 s (850 ms)".
pub(crate) fn period(begin: u64, end: u64) -> String {
    format!("{} to {} ({})", duration(begin), duration(end), duration(end - begin))
}

/// The marks of an axis, at most `most`, at round numbers, and their names.
pub(crate) fn ticks(length: u64, most: usize) -> Vec<(u64, String)> {
    let steps = (3..19).flat_map(|power| [1, 2, 5].map(|n| n * 10_u64.pow(power)));
    let fits = |step: &u64| length / step < most as u64;
    let step = steps.into_iter().find(fits).unwrap_or(u64::MAX);
    // One unit for all of them.
    let (unit, name) = match length {
        1_000_000_000.. => (1e9, "s"),
        1_000_000.. => (1e6, "ms"),
        _ => (1e3, "us"),
    };
    let digits = (unit / step as f64).log10().ceil().max(0.0) as usize;
    (0..=length / step)
        .map(|n| (n * step, format!("{:.digits$} {name}", (n * step) as f64 / unit)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_about_three_digits_and_a_unit() {
        assert_eq!(counted(1, "task"), "1 task");
        assert_eq!(counted(1_234_567, "task"), "1,234,567 tasks");
        let texts = [0, 12_345, 340_000_000, 1_250_000_000].map(duration);
        assert_eq!(texts, ["0 s", "12.3 us", "340 ms", "1.25 s"]);
        assert_eq!(period(0, 2_000_000), "0 s to 2.00 ms (2.00 ms)");
    }

    #[test]
    fn an_axis_has_round_marks_and_one_unit() {
        let names = |length, most| ticks(length, most).into_iter().map(|tick| tick.1).collect::<Vec<_>>();
        assert_eq!(
            names(514_000_000, 8),
            ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms", "500 ms"]
        );
        assert_eq!(names(2_100_000_000, 5), ["0.0 s", "0.5 s", "1.0 s", "1.5 s", "2.0 s"]);
        let last = |length, most| names(length, most).pop().unwrap();
        assert_eq!(
            [last(1_000_000_000, 60), last(3_240_000_000, 200)],
            ["1.00 s", "3.24 s"]
        );
        assert_eq!(names(1, 0), ["0 us"]);
    }
}
