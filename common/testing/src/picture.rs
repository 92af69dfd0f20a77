//! The geometry of a timeline drawn as SVG.

/// A rectangle: left, top, right, bottom.
#[derive(Clone, Copy, Debug)]
struct Area(f64, f64, f64, f64);

impl Area {
    fn overlaps(self, other: Area) -> bool {
        self.0 < other.2 && other.0 < self.2 && self.1 < other.3 && other.1 < self.3
    }
}

/// Where a word lies over another one, over a bar that is not its own, over a cross, or outside of the picture: a line each.
///
/// The width of a text is computed from its letters: in the picture's font, Latin ones are 0.6 times as wide as the font is
/// high, and Chinese ones as wide as it is high, or a little more.
pub fn overlaps(svg: &str) -> Vec<String> {
    let (mut texts, mut bars, mut crosses) = (Vec::new(), Vec::new(), Vec::new());
    let mut whole = Area(0.0, 0.0, 0.0, 0.0);
    for line in svg.lines() {
        let number = |name: &str| attribute(line, name).and_then(|value| value.parse::<f64>().ok());
        if line.starts_with("<svg ") {
            whole = Area(0.0, 0.0, number("width").unwrap(), number("height").unwrap());
        } else if line.starts_with("<text ") {
            let text = content(line);
            let letters = text.chars().map(|letter| {
                if letter < '\u{1100}' || letter == '…' {
                    6.62
                } else {
                    13.3
                }
            });
            let (x, y) = (number("x").unwrap(), number("y").unwrap());
            texts.push((Area(x, y - 9.0, x + letters.sum::<f64>(), y + 2.5), text));
        } else if line.starts_with("<rect ") {
            let class = attribute(line, "class").unwrap_or("");
            let (x, y) = (number("x").unwrap(), number("y").unwrap());
            let area = Area(x, y, x + number("width").unwrap(), y + number("height").unwrap());
            if !["paper", "back"].contains(&class) {
                bars.push(area);
            }
        } else if line.starts_with("<path class=\"failed\"") {
            // "M100.0 3L110.0 13M…"
            let path = attribute(line, "d").unwrap();
            let corner = |text: &str| text.split(' ').map(|it| it.parse().unwrap()).collect::<Vec<f64>>();
            let (first, rest) = path[1..].split_once('L').unwrap();
            let (first, second) = (corner(first), corner(rest.split('M').next().unwrap()));
            crosses.push(Area(first[0], first[1], second[0], second[1]));
        }
    }
    let mut problems = Vec::new();
    for (index, (area, text)) in texts.iter().enumerate() {
        for (_, other) in texts[index + 1..].iter().filter(|other| area.overlaps(other.0)) {
            problems.push(format!("{text:?} and {other:?}"));
        }
        let covers = |bar: &&Area| area.overlaps(**bar) && !(bar.0 <= area.0 && area.2 <= bar.2);
        for bar in bars.iter().filter(covers) {
            problems.push(format!("{text:?} over the bar {bar:?}"));
        }
        for cross in crosses.iter().filter(|cross| area.overlaps(**cross)) {
            problems.push(format!("{text:?} over the cross {cross:?}"));
        }
        if area.0 < whole.0 || area.1 < whole.1 || area.2 > whole.2 || area.3 > whole.3 {
            problems.push(format!("{text:?} outside of the picture"));
        }
    }
    problems
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    Some(rest.split('"').next().unwrap_or(rest))
}

/// The words of a `<text>` element as they are shown.
fn content(element: &str) -> String {
    let visible = element.split("<title>").next().unwrap_or(element);
    let mut text: String = visible
        .split('<')
        .filter_map(|piece| piece.split_once('>'))
        .map(|it| it.1)
        .collect();
    for (entity, letter) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")] {
        text = text.replace(entity, letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_lie_over_something_are_found() {
        let picture = |body: &str| overlaps(&format!("<svg width=\"300\" height=\"100\">\n{body}"));
        let text = "<text class=\"\" x=\"50\" y=\"50\">a&lt;b<tspan>cd</tspan><title>hidden</title></text>\n"; // 50 to 83
        assert_eq!(picture(text), [""; 0]);
        let bar = |x, width| format!("{text}<rect class=\"busy\" x=\"{x}\" y=\"40\" width=\"{width}\" height=\"16\">");
        assert_eq!(picture(&bar(45, 40)), [""; 0]);
        assert_eq!(picture(&bar(84, 40)), [""; 0]);
        assert_eq!(picture(&bar(55, 100)).len(), 1);
        assert_eq!(picture(&bar(45, 20)).len(), 1);
        assert_eq!(
            picture(&format!("{text}<text x=\"82\" y=\"55\">z</text>")),
            ["\"a<bcd\" and \"z\""]
        );
        assert_eq!(picture("<text x=\"290\" y=\"50\">abc</text>").len(), 1);
        let cross = |x| {
            format!(
                "{text}<path class=\"failed\" d=\"M{x} 40L{} 50M{x} 50L{} 40\">",
                x + 10,
                x + 10
            )
        };
        assert_eq!((picture(&cross(90)).len(), picture(&cross(80)).len()), (0, 1));
    }
}
