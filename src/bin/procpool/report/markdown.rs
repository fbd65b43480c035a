//! A run as Markdown: a short table for the summary of a CI job.

use procpool::engine::command::label::cut;

use std::fmt::Write;

use super::findings::{Findings, grouped};
use super::seconds::Seconds;

/// The number of failures that are listed. A CI summary has little room.
const LISTED: usize = 50;

/// The largest number of characters in a cell.
const CELL: usize = 160;

/// Makes the text.
pub fn text(findings: &Findings<'_>) -> String {
    let totals = findings.totals;
    let mark = if totals.failed == 0 && findings.how_it_ended().is_none() { "✅" } else { "❌" };
    let mut text = format!("### {mark} {}\n\n", findings.verdict());
    if let Some(how) = findings.how_it_ended() {
        row(&mut text, format_args!("{how}.\n\n"));
    }
    row(&mut text, format_args!("{}\n\n", code(findings.command_line)));
    text.push_str("| | |\n|---|---:|\n");
    for (name, value) in facts(findings) {
        row(&mut text, format_args!("| {name} | {value} |\n"));
    }
    failures(findings, &mut text);
    text
}

fn facts(findings: &Findings<'_>) -> Vec<(&'static str, String)> {
    let totals = findings.totals;
    let mut facts = vec![
        ("Jobs", grouped(totals.jobs())),
        ("Succeeded", grouped(totals.ok)),
        ("Failed", grouped(totals.failed)),
    ];
    let mut if_any = |name, count: u64| {
        if count > 0 {
            facts.push((name, grouped(count)));
        }
    };
    if_any("From the journal, not run again", totals.recorded);
    if_any("Not run", findings.ending.left);
    if_any("Retries", totals.retries);
    if_any("Passed on a retry", totals.passed_on_retry);
    if_any("Workers replaced", totals.replaced().map(|(_, count)| count).sum());
    facts.push(("Time", Seconds(findings.seconds).to_string()));
    let quantile = |share| totals.durations.quantile(share).map(|time| Seconds(time).to_string());
    if let (Some(half), Some(most)) = (quantile(0.5), quantile(0.99)) {
        let longest = Seconds(totals.durations.longest());
        facts.push(("A job took (p50, p99, longest)", format!("{half}, {most}, {longest}")));
    }
    facts
}

fn failures(findings: &Findings<'_>, text: &mut String) {
    let totals = findings.totals;
    if totals.failures.list.is_empty() {
        return;
    }
    text.push_str("\n| Failed job | Kind | Why | Where |\n|---|---|---|---|\n");
    for failed in totals.failures.list.iter().take(LISTED) {
        let label = if failed.label.is_empty() { &failed.name } else { &failed.label };
        let label = code_cell(label);
        let why = cell(&failed.message);
        row(text, format_args!("| {label} | {} | {why} | {} |\n", failed.kind, cell(&failed.name)));
    }
    let more = totals.failed.saturating_sub(LISTED.min(totals.failures.list.len()) as u64);
    if more > 0 {
        row(text, format_args!("\n{} more failed jobs are not listed.\n", grouped(more)));
    }
}

/// Adds a row. Writing to a String can't fail.
fn row(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// Escapes text for one cell of a table.
fn cell(text: &str) -> String {
    let mut escaped = String::new();
    for c in cut(text, CELL).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\r' => escaped.push(' '),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '$' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text as code, on one line. The quotes are longer than any row of backquotes in the text.
fn code(text: &str) -> String {
    let text = cut(text, CELL).replace(['\n', '\r'], " ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let quotes = "`".repeat(longest + 1);
    let blank = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{quotes}{blank}{text}{blank}{quotes}")
}

/// Text as code in a table.
fn code_cell(text: &str) -> String {
    if text.is_empty() { String::new() } else { code(text).replace('|', "\\|") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_a_cell() {
        assert_eq!(cell("a|b\n`c` <d> _e_"), "a\\|b \\`c\\` &lt;d&gt; \\_e\\_");
        assert_eq!(code_cell("a|b"), "`a\\|b`");
        assert_eq!(code_cell("a ``b` c"), "```a ``b` c```");
        assert_eq!(code_cell("`a`"), "`` `a` ``");
    }
}
