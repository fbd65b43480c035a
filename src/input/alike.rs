//! Job lines that begin as the line before them: most inputs are made by one program, so they differ in their args
//! only. The beginning is compared and not read again.

use super::job_lines::{UsualLine, usual};
use crate::util::scan::{ObjectScanner, is_utf8};

/// Whether a line that ends with this byte can be read without a search for its end: no usual job line holds the byte.
pub(super) fn is_usual_end(end: u8) -> bool {
    end < b' ' && end != b'\t'
}

/// A longer beginning is not kept.
const LONGEST: usize = 1 << 10;

/// The beginning of the last usual job line, up to its args. Its args were the last of its members.
#[derive(Debug, Default)]
pub(super) struct FamiliarBeginning {
    text: Vec<u8>,
    /// Where the text of the command is.
    cmd: (usize, usize),
}

impl FamiliarBeginning {
    /// Reads a job line in the usual shape, as [`usual`] does. The bytes begin with the line, and the byte `end` ends
    /// it, which is [usual](is_usual_end). Returns also the length of the line.
    pub(super) fn usual<'a>(&mut self, bytes: &'a [u8], end: u8) -> Option<(UsualLine<'a>, usize)> {
        if let Some(found) = self.alike(bytes, end) {
            return Some(found);
        }
        let line = &bytes[..memchr::memchr(end, bytes)?];
        let found = usual(line)?;
        self.learn(line, &found);
        Some((found, line.len()))
    }

    /// Reads a line that has this beginning. `None`: it has not, or has more than args after it.
    fn alike<'a>(&self, bytes: &'a [u8], end: u8) -> Option<(UsualLine<'a>, usize)> {
        if self.text.is_empty() || !bytes.starts_with(&self.text) {
            return None;
        }
        let mut scanner = ObjectScanner::after(bytes, self.text.len());
        let args = scanner.value()?;
        let len = scanner.line_end(end)?;
        let (begin, end) = self.cmd;
        // The beginning was looked at when it was learned.
        is_utf8(args).then(|| (UsualLine { cmd: &bytes[begin..end], args, id: b"" }, len))
    }

    fn learn(&mut self, line: &[u8], found: &UsualLine<'_>) {
        self.text.clear();
        let place = |text: &[u8]| (text.as_ptr() as usize).wrapping_sub(line.as_ptr() as usize);
        let (cmd, args) = (place(found.cmd), place(found.args));
        // Without args, theirs is a text of the program and not of the line.
        if found.id.is_empty() && cmd < args && args < line.len().min(LONGEST) {
            self.text.extend_from_slice(&line[..args]);
            self.cmd = (cmd, cmd + found.cmd.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::nearly::nearly;
    use proptest::prelude::*;

    fn texts(line: Option<UsualLine<'_>>) -> Option<[Vec<u8>; 3]> {
        line.map(|line| [line.cmd, line.args, line.id].map(<[u8]>::to_vec))
    }

    /// Pieces of job lines.
    const PIECES: &[&str] = &[
        "{\"cmd\":\"a\"",
        "{\"cmd\":\"a\",\"args\":",
        "{\"args\":",
        "{",
        "}",
        ",",
        "\"cmd\":\"b\"",
        "\"args\":",
        "\"id\":",
        "[1]",
        "[\"é\"]",
        "7",
        "\"x\"",
        " ",
        "\t",
    ];

    proptest! {
        #[test]
        fn what_was_read_before_changes_nothing(
            lines in prop::collection::vec(nearly(PIECES, 0..6), 1..6),
            again in prop::collection::vec((0_usize..6, nearly(PIECES, 0..3)), 0..6),
        ) {
            let mut beginning = FamiliarBeginning::default();
            let mut all: Vec<String> = lines;
            for (nth, end) in again {
                let like = all[nth % all.len()].clone();
                all.push(like.clone());
                let cut = like.find("args\":").map_or(like.len(), |at| at + 6);
                all.push(format!("{}{end}", &like[..cut]));
            }
            for line in &all {
                let bytes = format!("{line}\n{line}\n");
                let found = beginning.usual(bytes.as_bytes(), b'\n');
                prop_assert!(found.is_none_or(|(_, len)| len == line.len()), "{}", line);
                let found = found.map(|(found, _)| found);
                prop_assert_eq!(texts(found), texts(usual(line.as_bytes())), "{}", line);
                // A line that is not whole is left.
                prop_assert!(beginning.usual(line.as_bytes(), b'\n').is_none());
            }
        }
    }

    #[test]
    fn lines_that_begin_alike_are_read() {
        let mut beginning = FamiliarBeginning::default();
        for (line, args) in [
            ("{\"cmd\":\"f\",\"args\":[1]}", Some("[1]")),
            ("{\"cmd\":\"f\",\"args\":[2] } ", Some("[2]")),
            ("{\"cmd\":\"f\",\"args\": \"b\"}", Some("\"b\"")),
            ("{\"cmd\":\"f\",\"args\":[3],\"id\":4}", Some("[3]")),
            ("{\"cmd\":\"f\",\"args\":[5]", None),
            ("{\"cmd\":\"f\",\"args\":[5],\"args\":6}", None),
            ("{\"cmd\":\"f\",\"args\":}", None),
            ("{\"cmd\":\"f\",\"args\":[7]}", Some("[7]")),
        ] {
            let bytes = format!("{line}\n");
            let found = beginning.usual(bytes.as_bytes(), b'\n');
            let found = found.map(|(found, _)| (found.cmd.to_vec(), found.args.to_vec()));
            let expected = args.map(|args| (b"\"f\"".to_vec(), args.as_bytes().to_vec()));
            assert_eq!(found, expected, "{line}");
        }
        assert!(beginning.alike(b"{\"cmd\":\"f\",\"args\":[8]}\0", 0).is_some());
        // Also where lines end as on Windows, or with that byte alone.
        for (bytes, end) in [(&b"[9]}\r\n"[..], b'\n'), (b"[9]}\r{", b'\r')] {
            let bytes = [&b"{\"cmd\":\"f\",\"args\":"[..], bytes].concat();
            let len = memchr::memchr(end, &bytes);
            assert_eq!(beginning.alike(&bytes, end).map(|(_, len)| len), len);
        }
    }
}
