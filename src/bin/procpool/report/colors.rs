//! The colors of messages on stderr: when they are on, and the color of each kind of text.

use std::env;
use std::io::{self, IsTerminal};

use clap::builder::styling::{AnsiColor, Style};

use crate::cli::values::When;

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Something has failed.
    Bad,
    /// Something is worth a look.
    Warning,
    /// A command that the user can run.
    Strong,
    /// Details that are seldom needed.
    Faint,
    /// Something is done.
    Good,
}

/// Whether texts for stderr have colours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Colors {
    is_on: bool,
}

impl Colors {
    /// No text has a colour.
    pub const NONE: Self = Self { is_on: false };

    /// The colours of stderr, as `--color` asks for them. `auto`: on a terminal, unless NO_COLOR is set or the
    /// terminal is dumb.
    pub fn of_stderr(when: When) -> Self {
        let is_on = match when {
            When::Auto => io::stderr().is_terminal() && !is_unwanted(),
            When::Always => true,
            When::Never => false,
        };
        Self { is_on }
    }

    /// The text in the colour of its kind, or unchanged.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        if !self.is_on || text.is_empty() {
            return text.to_owned();
        }
        let style = paint.style();
        format!("{style}{text}{style:#}")
    }
}

impl Paint {
    fn style(self) -> Style {
        match self {
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
        }
    }
}

/// Whether the environment asks for plain text. An empty NO_COLOR counts as none (no-color.org).
fn is_unwanted() -> bool {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_plain || env::var_os("TERM").is_some_and(|name| name == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_painted_only_if_colours_are_on() {
        assert_eq!(Colors { is_on: false }.paint(Paint::Bad, "failed"), "failed");
        let painted = Colors { is_on: true }.paint(Paint::Bad, "failed");
        assert_eq!(painted, "\u{1b}[1m\u{1b}[31mfailed\u{1b}[0m");
    }
}
