//! What `TIMELINE` asks for.

use crate::run::Run;
use crate::{os, svg, text};
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// The variable that switches recording on.
pub(crate) const VARIABLE: &str = "TIMELINE";

/// Where the picture goes.
#[derive(Debug, PartialEq)]
pub(crate) enum Output {
    Terminal,
    Svg(PathBuf),
}

impl Output {
    /// `None`: nothing is to be recorded.
    pub fn from_variable() -> Result<Option<Output>, String> {
        std::env::var_os(VARIABLE).map_or(Ok(None), Output::parse)
    }

    fn parse(value: OsString) -> Result<Option<Output>, String> {
        match value.to_string_lossy().to_ascii_lowercase().as_str() {
            "" | "0" | "false" | "no" | "off" => Ok(None),
            "1" | "true" | "yes" | "on" => Ok(Some(Output::Terminal)),
            name if name.ends_with(".svg") => {
                // The program may change its working directory meanwhile.
                let path = std::path::absolute(&value).unwrap_or_else(|_| value.into());
                Ok(Some(Output::Svg(path)))
            }
            _ => Err(format!(
                "{VARIABLE}={}: this value is not known. Possible values are 1 (lanes of text on standard error), a file \
                 name that ends in .svg, and 0 (nothing)",
                value.to_string_lossy()
            )),
        }
    }

    /// Draws the run. If the picture cannot be written, a line on standard error says so; if that fails too, there is no
    /// message.
    pub fn show(&self, run: &Run) {
        os::writes_fail_without_signal();
        let stderr = std::io::stderr();
        let text = match self {
            Output::Terminal => {
                let terminal = stderr.is_terminal();
                let width = columns().or(os::terminal_width().filter(|_| terminal));
                text::draw(run, width.unwrap_or(80), terminal && wants_colour())
            }
            Output::Svg(path) => match std::fs::write(path, svg::draw(run)) {
                Ok(()) => return,
                Err(error) => format!("{VARIABLE}: {} cannot be written: {error}\n", path.display()),
            },
        };
        let _ = stderr.lock().write_all(text.as_bytes());
    }
}

/// `COLUMNS` comes before the terminal, as in Python's `shutil.get_terminal_size`. A number of 16 bits, as a terminal's.
fn columns() -> Option<usize> {
    let columns: u16 = std::env::var("COLUMNS").ok()?.parse().ok()?;
    (columns > 0).then_some(columns.into())
}

fn wants_colour() -> bool {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour && std::env::var_os("TERM").as_deref() != Some(OsStr::new("dumb"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_says_what_to_draw() {
        let parse = |value: &str| Output::parse(value.into());
        for off in ["", "0", "false", "OFF"] {
            assert_eq!(parse(off), Ok(None));
        }
        for on in ["1", "true", "yes"] {
            assert_eq!(parse(on), Ok(Some(Output::Terminal)));
        }
        let Ok(Some(Output::Svg(path))) = parse("run.svg") else {
            panic!("a picture")
        };
        assert!(path.is_absolute() && path.ends_with("run.svg"));
        let warning = parse("png").unwrap_err();
        assert!(
            warning.contains("TIMELINE=png") && warning.contains(".svg"),
            "{warning}"
        );
    }
}
