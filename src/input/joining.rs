//! Joins successive jobs of the input into joint jobs, one list of lines each.

use std::borrow::Cow;

use super::plain_lines::{Columns, Plain, Target};
use crate::job::Job;

/// How jobs are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// How many jobs make one request, at least 1.
    pub lines: usize,
    /// A line has several columns, and is a list itself.
    pub rows: bool,
}

/// Jobs that wait for more jobs of the same pool.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    jobs: Vec<Job>,
}

impl Joiner {
    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Adds a job. Returns the jobs that are complete with it.
    pub(super) fn add(&mut self, joining: Joining, plain: &Plain, job: Job) -> [Option<Job>; 2] {
        let is_other = self.jobs.first().is_some_and(|first| first.pool != job.pool);
        let before = if is_other { self.take(joining, plain) } else { None };
        self.jobs.push(job);
        let full = self.jobs.len() >= joining.lines;
        [before, if full { self.take(joining, plain) } else { None }]
    }

    /// Joins the jobs that wait.
    pub(super) fn take(&mut self, joining: Joining, plain: &Plain) -> Option<Job> {
        if self.jobs.is_empty() {
            return None;
        }
        let head = match &plain.target {
            Target::Worker { head, .. } => head.as_str(),
            Target::Command(_) => "",
        };
        let mut elements = String::new();
        for job in &self.jobs {
            let args = String::from_utf8_lossy(job.args());
            elements.push_str(&element(joining, plain, head, &args));
            elements.push(',');
        }
        Some(Job::join(std::mem::take(&mut self.jobs), head, &elements))
    }
}

/// The element of a job in the list: its line, without the args before it.
fn element<'a>(joining: Joining, plain: &Plain, head: &str, args: &'a str) -> Cow<'a, str> {
    if plain.columns == Columns::Json || (plain.has_header && head.is_empty()) {
        return Cow::Borrowed(args);
    }
    let inner = args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(args);
    // A line without columns adds nothing after the head, not even a comma.
    let own = inner.strip_prefix(head).unwrap_or_default();
    if joining.rows && !plain.has_header {
        Cow::Owned(format!("[{own}]"))
    } else {
        Cow::Borrowed(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_element() {
        let joined =
            |columns: Columns, header: bool, head: &[String], rows: bool, args: &[&str]| {
                let mut plain = Plain::strings("f", head);
                (plain.columns, plain.has_header) = (columns, header);
                let joining = Joining { lines: 2, rows };
                let mut joiner = Joiner::default();
                let mut jobs = Vec::new();
                for (args, seq) in args.iter().zip(1..) {
                    let job = Job::new(seq, r#""f""#, args, "");
                    jobs.extend(joiner.add(joining, &plain, job).into_iter().flatten());
                }
                jobs.extend(joiner.take(joining, &plain));
                let text = |job: &Job| String::from_utf8_lossy(job.args()).into_owned();
                jobs.iter().map(text).collect::<Vec<_>>().join(" ")
            };
        let h = ["h".to_owned()];
        for (columns, header, head, rows, args, expected) in [
            (Columns::One, false, &[][..], false, [r#"["a"]"#, r#"["]"]"#], r#"[["a","]"]]"#),
            (Columns::One, false, &h, false, [r#"["h","a"]"#, r#"["h",""]"#], r#"["h",["a",""]]"#),
            (Columns::Tsv, false, &[], true, [r#"["a","b"]"#, "[]"], r#"[[["a","b"],[]]]"#),
            (Columns::Tsv, false, &h, true, [r#"["h","a"]"#, r#"["h"]"#], r#"["h",[["a"],[]]]"#),
            (Columns::Tsv, true, &[], true, [r#"{"a":1}"#, r#"{"a":2}"#], r#"[[{"a":1},{"a":2}]]"#),
            (Columns::Tsv, true, &h, true, [r#"["h",{"a":1}]"#; 2], r#"["h",[{"a":1},{"a":1}]]"#),
            (Columns::Json, false, &[], false, ["[1]", "null"], "[[[1],null]]"),
        ] {
            assert_eq!(joined(columns, header, head, rows, &args), expected);
        }
        let three = [r#"["a"]"#, r#"["b"]"#, r#"["c"]"#];
        assert_eq!(joined(Columns::One, false, &[], false, &three), r#"[["a","b"]] [["c"]]"#);
    }
}
