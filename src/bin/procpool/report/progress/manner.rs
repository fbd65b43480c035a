//! How a run shows its progress: drawn on the terminal, as plain lines in a log, or not at all.

use std::env;
use std::io::{self, IsTerminal};
use std::time::Duration;

use procpool::engine::input::Source;
use rustix::fs::FileType;

use crate::cli::values::ProgressMode;
use crate::descriptors::{self, Stream};

/// How often a line is printed that was asked for.
const OFTEN: Duration = Duration::from_secs(5);

/// How often a line is printed for CI, where a log that is silent for long looks like a job that hangs.
const SELDOM: Duration = Duration::from_secs(60);

/// How a run shows its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Hidden,
    /// It is drawn below the text on the terminal.
    Drawn {
        /// There is a row for each running job.
        has_rows: bool,
    },
    /// It is printed now and then, a line each time.
    Lines {
        every: Duration,
        /// The user asked for it. Then there is a line at the end too.
        is_asked_for: bool,
    },
}

/// The surroundings of a run that matter for its progress.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// stderr is a terminal.
    pub is_terminal: bool,
    /// The terminal can't move its cursor.
    pub is_dumb: bool,
    /// Jobs are typed at a terminal.
    pub is_typed: bool,
    /// stdout is a pipe to a program that may use the same terminal, such as a pager.
    pub is_piped: bool,
    /// It is the log of a CI job.
    pub is_ci: bool,
}

impl Surroundings {
    /// The surroundings of this process, which reads jobs from `sources`.
    pub fn of(sources: &[Source]) -> Self {
        let variable = |name| env::var(name).unwrap_or_default();
        let stdout = descriptors::found(Stream::Stdout);
        let stdout = stdout.map(|stat| FileType::from_raw_mode(stat.st_mode));
        Self {
            is_terminal: io::stderr().is_terminal(),
            is_dumb: matches!(variable("TERM").as_str(), "" | "dumb"),
            is_typed: sources.contains(&Source::Stdin) && io::stdin().is_terminal(),
            is_piped: matches!(stdout, Some(FileType::Fifo | FileType::Socket)),
            is_ci: !matches!(variable("CI").as_str(), "" | "0" | "false"),
        }
    }

    /// Whether another program of a pipe may draw on the same terminal.
    pub fn may_meet_others(&self) -> bool {
        self.is_terminal && self.is_piped && !self.is_dumb
    }

    /// How `--progress` shows it here.
    pub fn manner(&self, mode: ProgressMode) -> Manner {
        let is_asked_for = matches!(mode, ProgressMode::Line | ProgressMode::Full);
        let can_draw = self.is_terminal && !self.is_dumb;
        if mode == ProgressMode::Never || (self.is_terminal && self.is_typed) {
            Manner::Hidden
        } else if can_draw && (is_asked_for || !self.is_piped) {
            Manner::Drawn { has_rows: mode == ProgressMode::Full }
        } else if is_asked_for {
            Manner::Lines { every: interval(OFTEN), is_asked_for }
        } else if self.is_ci && !can_draw {
            Manner::Lines { every: interval(SELDOM), is_asked_for }
        } else {
            Manner::Hidden
        }
    }
}

/// The time between two lines: the usual one, unless the environment has another.
fn interval(usual: Duration) -> Duration {
    let text = env::var("PROCPOOL_PROGRESS_EVERY").ok();
    let given = text.and_then(|text| procpool::engine::parse_duration(&text).ok());
    given.filter(|time| !time.is_zero()).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings = Surroundings {
        is_terminal: true,
        is_dumb: false,
        is_typed: false,
        is_piped: false,
        is_ci: false,
    };
    const LOG: Surroundings = Surroundings { is_terminal: false, ..TERMINAL };
    const MODES: [ProgressMode; 4] =
        [ProgressMode::Auto, ProgressMode::Never, ProgressMode::Line, ProgressMode::Full];

    fn manners(surroundings: Surroundings) -> [Manner; 4] {
        MODES.map(|mode| surroundings.manner(mode))
    }

    #[test]
    fn it_is_drawn_where_it_disturbs_nobody() {
        let line = Manner::Drawn { has_rows: false };
        let full = Manner::Drawn { has_rows: true };
        let hidden = Manner::Hidden;
        let ci = Surroundings { is_ci: true, ..TERMINAL };
        assert_eq!(manners(TERMINAL), [line, hidden, line, full]);
        assert_eq!(manners(ci), [line, hidden, line, full]);
        assert_eq!(
            manners(Surroundings { is_piped: true, ..TERMINAL }),
            [hidden, hidden, line, full]
        );
        assert_eq!(manners(Surroundings { is_typed: true, ..TERMINAL }), [hidden; 4]);
    }

    #[test]
    fn a_log_has_plain_lines() {
        let hidden = Manner::Hidden;
        let often = Manner::Lines { every: OFTEN, is_asked_for: true };
        let seldom = Manner::Lines { every: SELDOM, is_asked_for: false };
        assert_eq!(manners(LOG), [hidden, hidden, often, often]);
        assert_eq!(manners(Surroundings { is_typed: true, ..LOG }), [hidden, hidden, often, often]);
        assert_eq!(manners(Surroundings { is_ci: true, ..LOG }), [seldom, hidden, often, often]);
        let dumb = Surroundings { is_dumb: true, ..TERMINAL };
        assert_eq!(manners(dumb), [hidden, hidden, often, often]);
        assert_eq!(manners(Surroundings { is_ci: true, ..dumb }), [seldom, hidden, often, often]);
    }
}
