//! The line: which facts it shows, in how many columns.

use std::env;

use super::super::colors::{Colors, Paint};
use super::bar;
use super::facts::{Facts, RunningJob, State, Total};
use super::segments::{about, fit, rate, run_time, time_left, width};

/// A name of a job has at least this many columns.
const LEAST_NAME: usize = 6;

/// The signs that the progress is drawn with.
#[derive(Clone, Copy, Debug)]
pub struct Glyphs {
    /// The parts of the bar that are done, and that are left. `None`: there is no bar.
    bar: Option<[&'static str; 2]>,
    /// The separator of two parts.
    dot: &'static str,
    failed: &'static str,
    /// Shows where a text is cut.
    pub cut: &'static str,
    /// Only ASCII can be shown.
    is_ascii: bool,
    pub colors: Colors,
}

const UNICODE: Glyphs = Glyphs {
    bar: Some(["━", "─"]),
    dot: " · ",
    failed: "✗",
    cut: "…",
    is_ascii: false,
    colors: Colors::NONE,
};
const ASCII: Glyphs = Glyphs {
    bar: Some(["#", "-"]),
    dot: ", ",
    failed: "!",
    cut: "...",
    is_ascii: true,
    colors: Colors::NONE,
};

impl Glyphs {
    /// Those that the user's locale has. Where none is set, as in many containers, terminals show UTF-8.
    pub fn of_locale(colors: Colors) -> Self {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"].map(env::var);
        let name = names.into_iter().flatten().find(|name| !name.is_empty());
        let is_ascii = name.is_some_and(|name| {
            let name = name.to_ascii_lowercase();
            !name.contains("utf-8") && !name.contains("utf8")
        });
        let glyphs = if is_ascii { ASCII } else { UNICODE };
        Self { colors, ..glyphs }
    }

    pub fn without_bar(self) -> Self {
        Self { bar: None, ..self }
    }

    /// A text without signs that can't be shown.
    pub fn shown(&self, text: &str) -> String {
        let replace = |c: char| if self.is_ascii && !c.is_ascii() { '?' } else { c };
        text.chars().map(replace).collect()
    }
}

/// The parts of the line, in their order. Parts without room are missing.
#[derive(Debug, Default)]
struct Parts {
    count: String,
    percent: String,
    bar: String,
    rate: String,
    left: String,
    failed: String,
    state: String,
    job: String,
}

impl Parts {
    /// The line: the numbers have blanks between them, and the rest follows after dots.
    fn join(&self, dot: &str) -> String {
        let numbers = [&self.count, &self.percent, &self.bar, &self.rate, &self.left];
        let numbers: Vec<&str> = numbers.into_iter().map(String::as_str).collect();
        let numbers = joined(&numbers, " ");
        joined(&[&numbers, &self.failed, &self.state, &self.job], dot)
    }
}

impl Parts {
    /// Gives the parts their colours. After that they have no width.
    fn paint(&mut self, glyphs: &Glyphs) {
        let colors = glyphs.colors;
        let left = glyphs.bar.and_then(|[_, left]| self.bar.find(left));
        let (done, left) = self.bar.split_at(left.unwrap_or(self.bar.len()));
        self.bar = colors.paint(Paint::Good, done) + &colors.paint(Paint::Faint, left);
        self.failed = colors.paint(Paint::Bad, &self.failed);
        self.state = colors.paint(Paint::Warning, &self.state);
        self.job = colors.paint(Paint::Faint, &self.job);
    }
}

/// Joins those texts that are not empty.
fn joined(texts: &[&str], between: &str) -> String {
    let texts: Vec<&str> = texts.iter().filter(|text| !text.is_empty()).copied().collect();
    texts.join(between)
}

/// The line of these facts in at most this many columns.
pub fn line(facts: &Facts, columns: usize, glyphs: &Glyphs) -> String {
    let dot = if columns < 40 { " " } else { glyphs.dot };
    let mut layout = Layout { parts: Parts::default(), columns, dot };
    let state = words(&facts.state);
    if is_news(facts) && width(&state) + dot.len() + width(&count(facts)) > columns {
        let state = words_alone(&facts.state);
        return glyphs.colors.paint(Paint::Warning, &fit(&state, columns, glyphs.cut));
    }
    layout.parts.count = fit(&count(facts), columns, glyphs.cut);
    layout.add(|parts| &mut parts.percent, percent(facts));
    if facts.failed > 0 {
        let is_shown = layout.add(|parts| &mut parts.failed, format!("{} failed", facts.failed))
            || layout.add(|parts| &mut parts.failed, format!("{}{}", facts.failed, glyphs.failed));
        if !is_shown {
            layout.parts.percent.clear();
            layout.add(|parts| &mut parts.failed, format!("{}{}", facts.failed, glyphs.failed));
        }
    }
    if is_news(facts) {
        layout.add(|parts| &mut parts.state, state.clone());
    }
    if let Some(left) = facts.left {
        layout.add(|parts| &mut parts.left, format!("ETA {}", time_left(left)));
    }
    if let Some(per_second) = facts.per_second.filter(|_| !is_news(facts)) {
        layout.add(|parts| &mut parts.rate, rate(per_second));
    }
    if !is_news(facts) {
        layout.add(|parts| &mut parts.state, state);
    }
    layout.add(|parts| &mut parts.bar, bar(facts, glyphs, bar_width(columns)));
    if let State::Running { longest: Some(job) } | State::HeldBack { longest: Some(job), .. } =
        &facts.state
    {
        layout.add_job(job, glyphs);
    }
    layout.parts.paint(glyphs);
    layout.parts.join(dot)
}

/// A line that is being filled.
struct Layout {
    parts: Parts,
    columns: usize,
    dot: &'static str,
}

impl Layout {
    /// Adds a part if there is room for it. Returns whether there is.
    fn add(&mut self, part: impl Fn(&mut Parts) -> &mut String, text: String) -> bool {
        *part(&mut self.parts) = text;
        let fits = width(&self.parts.join(self.dot)) <= self.columns;
        if !fits {
            part(&mut self.parts).clear();
        }
        fits
    }

    /// Adds the longest name of a job that there is room for, or a part of its shortest one.
    fn add_job(&mut self, job: &RunningJob, glyphs: &Glyphs) {
        let time = run_time(job.time);
        let names: Vec<String> = job.names.iter().map(|name| glyphs.shown(name)).collect();
        for name in &names {
            if self.add(|parts| &mut parts.job, format!("{name} {time}")) {
                return;
            }
        }
        let used = width(&self.parts.join(self.dot)) + self.dot.chars().count() + 1 + time.len();
        let room = self.columns.saturating_sub(used);
        if let (Some(name), LEAST_NAME..) = (names.last(), room) {
            let name = fit(name, room, glyphs.cut);
            self.add(|parts| &mut parts.job, format!("{name} {time}"));
        }
    }
}

/// Whether the state matters more than the numbers.
fn is_news(facts: &Facts) -> bool {
    match facts.state {
        State::Running { .. } | State::HeldBack { .. } => false,
        State::Starting { .. } | State::WaitingForInput | State::Stopping { .. } => true,
    }
}

fn count(facts: &Facts) -> String {
    match facts.total {
        Total::Exactly(total) => format!("{}/{total}", facts.done),
        Total::About(total) => format!("{}/~{}", facts.done, about(total)),
        Total::AtLeast(read) => format!("{}/{read}+", facts.done),
    }
}

fn percent(facts: &Facts) -> String {
    let of = |total: u64| (u128::from(facts.done) * 100).checked_div(u128::from(total));
    match facts.total {
        Total::Exactly(total) => of(total).map(|n| format!("{}%", n.min(100))).unwrap_or_default(),
        Total::About(total) => of(total).map(|n| format!("{}%", n.min(99))).unwrap_or_default(),
        Total::AtLeast(_) => String::new(),
    }
}

/// How wide the bar is in a line of this width.
fn bar_width(columns: usize) -> usize {
    match columns {
        ..100 => 10,
        100..150 => 20,
        _ => 30,
    }
}

fn bar(facts: &Facts, glyphs: &Glyphs, width: usize) -> String {
    let (Total::Exactly(total) | Total::About(total), Some([done, left])) =
        (facts.total, glyphs.bar)
    else {
        return String::new();
    };
    bar::bar(facts.done, total, width, [done, left])
}

/// The state in words, and how long it has lasted. It is empty while jobs run.
fn words(state: &State) -> String {
    match state {
        State::Starting { since, .. } => format!("{} {}", words_alone(state), run_time(*since)),
        _ => words_alone(state),
    }
}

fn words_alone(state: &State) -> String {
    let s = |count: usize| if count == 1 { "" } else { "s" };
    match state {
        State::Running { .. } => String::new(),
        State::Starting { workers, .. } => format!("starting {workers} worker{}", s(*workers)),
        State::WaitingForInput => "waiting for input".into(),
        State::HeldBack { by, .. } => format!("held back by {by}"),
        State::Stopping { jobs: 0 } => "stopping".into(),
        State::Stopping { jobs: 1 } => "stopping: 1 job still runs".into(),
        State::Stopping { jobs } => format!("stopping: {jobs} jobs still run"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn job(names: &[&str], seconds: f64) -> RunningJob {
        RunningJob {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            what: format!("convert {}", names[0]),
            time: Duration::from_secs_f64(seconds),
            slot: 1,
            process: "pid 4711".into(),
            is_starting: false,
            waiting: 0,
        }
    }

    fn facts() -> Facts {
        Facts {
            done: 37,
            failed: 2,
            total: Total::Exactly(200),
            per_second: Some(12.0),
            left: Some(Duration::from_secs(13)),
            state: State::Running { longest: Some(job(&["img/p77.jpg", "p77.jpg"], 4.2)) },
        }
    }

    #[test]
    fn what_there_is_room_for() {
        let shown = |columns| line(&facts(), columns, &UNICODE);
        assert_eq!(shown(19), "37/200 18% 2 failed");
        assert_eq!(shown(39), "37/200 18% 12/s ETA 0:13 2 failed");
        assert_eq!(shown(44), "37/200 18% 12/s ETA 0:13 · 2 failed");
        assert_eq!(shown(62), "37/200 18% ━━──────── 12/s ETA 0:13 · 2 failed · p77.jpg 4.2s");
        assert_eq!(shown(79), "37/200 18% ━━──────── 12/s ETA 0:13 · 2 failed · img/p77.jpg 4.2s");
        let ascii = line(&facts(), 79, &ASCII);
        assert_eq!(ascii, "37/200 18% ##-------- 12/s ETA 0:13, 2 failed, img/p77.jpg 4.2s");
    }

    #[test]
    fn it_fits_whatever_there_is_to_show() {
        let starting = State::Starting { workers: 12, since: Duration::from_secs(3) };
        let states = [
            facts().state,
            starting,
            State::WaitingForInput,
            State::HeldBack { by: "--min-free-memory", longest: None },
            State::Stopping { jobs: 3 },
            State::Running {
                longest: Some(job(&["日本語の名前の長いファイル.jpg"], 400.0))
            },
        ];
        let totals = [Total::Exactly(123_456_789), Total::About(1 << 60), Total::AtLeast(37)];
        for state in states {
            for total in totals {
                let facts = Facts { total, state: state.clone(), failed: 1 << 30, ..facts() };
                for columns in 1..220 {
                    for glyphs in [UNICODE, ASCII] {
                        let line = line(&facts, columns, &glyphs);
                        assert!(width(&line) <= columns, "{columns}: {line}");
                        assert!(!line.is_empty());
                    }
                }
            }
        }
    }

    #[test]
    fn states_are_in_words() {
        let line = |total, state, columns| {
            let facts = Facts { done: 0, failed: 0, per_second: None, left: None, total, state };
            super::line(&facts, columns, &UNICODE)
        };
        let starting = || State::Starting { workers: 2, since: Duration::from_millis(1_400) };
        let known = Total::Exactly(200);
        assert_eq!(line(known, starting(), 60), "0/200 0% ────────── · starting 2 workers 1.4s");
        assert_eq!(line(known, starting(), 19), "starting 2 workers");
        let waiting = State::WaitingForInput;
        assert_eq!(line(Total::AtLeast(0), waiting, 60), "0/0+ · waiting for input");
        let stopping = State::Stopping { jobs: 3 };
        assert_eq!(line(Total::AtLeast(163), stopping, 60), "0/163+ · stopping: 3 jobs still run");
        let held = |longest| State::HeldBack { by: "--rate", longest };
        assert_eq!(line(known, held(None), 60), "0/200 0% ────────── · held back by --rate");
        assert_eq!(
            line(known, held(Some(job(&["a.png"], 1.0))), 60),
            "0/200 0% ────────── · held back by --rate · a.png 1.0s"
        );
    }

    #[test]
    fn numbers_are_as_exact_as_they_are_known() {
        let count = |done, total| count(&Facts { done, total, ..facts() });
        assert_eq!(count(37, Total::AtLeast(163)), "37/163+");
        assert_eq!(count(5_210, Total::About(1_234_567)), "5210/~1230000");
        let percent = |done, total| percent(&Facts { done, total, ..facts() });
        assert_eq!(percent(199, Total::Exactly(200)), "99%");
        assert_eq!(percent(200, Total::Exactly(200)), "100%");
        assert_eq!(percent(200, Total::About(200)), "99%");
        assert_eq!(percent(0, Total::Exactly(0)), "");
    }
}
