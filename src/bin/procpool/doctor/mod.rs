//! `--doctor`: what procpool finds on this machine, and what it would use. Nothing is started but interpreters,
//! which are asked for their versions.

mod features;
mod interpreters;
mod limits;
mod terminal;

/// A heading, and rows of a name and a text.
struct Section {
    heading: &'static str,
    rows: Vec<(String, String)>,
}

impl Section {
    fn new(heading: &'static str) -> Self {
        Self { heading, rows: Vec::new() }
    }

    fn row(&mut self, name: &str, text: impl Into<String>) {
        self.rows.push((name.to_owned(), text.into()));
    }
}

/// The whole report.
pub fn report() -> String {
    let sections = [
        limits::machine(),
        limits::limits(),
        interpreters::section(),
        terminal::section(),
        features::section(),
    ];
    let rows = sections.iter().flat_map(|section| &section.rows);
    let width = rows.map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut text = format!("procpool {} ({})\n", env!("CARGO_PKG_VERSION"), build());
    for section in sections {
        text.push_str(&format!("\n{}\n", section.heading));
        for (name, value) in section.rows {
            text.push_str(&format!("  {name:width$}  {}\n", procpool::engine::printable(&value)));
        }
    }
    text
}

/// The system that this program was built for.
fn build() -> String {
    let library = match (cfg!(target_env = "musl"), cfg!(target_feature = "crt-static")) {
        (true, true) => ", musl, static",
        (true, false) => ", musl",
        (false, true) => ", static",
        (false, false) => "",
    };
    let profile = if cfg!(debug_assertions) { ", not optimized" } else { "" };
    format!("{} {}{library}{profile}", std::env::consts::OS, std::env::consts::ARCH)
}

/// A number of bytes, for people.
fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
