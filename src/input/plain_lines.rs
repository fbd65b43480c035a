//! Plain lines: the args of one fixed command. A line, or several lines, make a job.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

#[cfg(feature = "csv")]
use super::csv;
use super::job_lines::{Fields, Invalid, error_column, utf8};
#[cfg(feature = "unstable-engine")]
use super::separator::Separator;
use crate::command::Template;
use crate::job::Job;
use crate::util::json::on_one_line;
use crate::util::scan::is_string_text;
use crate::util::setting::Setting;

/// How plain lines are read.
#[derive(Clone, Debug)]
pub struct Plain {
    /// Who gets the args.
    pub target: Target,
    /// What a line is.
    pub columns: Columns,
    /// What separates columns, if they are [`Columns::Separated`].
    #[cfg(feature = "unstable-engine")]
    pub separator: Option<Arc<Separator>>,
    /// The first line names the columns.
    pub has_header: bool,
    /// How many lines make a job.
    pub pack: Pack,
    /// The names of the columns, after the header was read.
    pub header: Arc<OnceLock<Vec<Vec<u8>>>>,
    /// The line of the header.
    pub header_line: Arc<OnceLock<Vec<u8>>>,
}

/// Who gets the args.
#[derive(Clone, Debug)]
pub enum Target {
    /// A worker: the args are JSON.
    Worker {
        /// The command, as a JSON string.
        cmd: String,
        /// The args before those of the line, as JSON strings with a comma after each.
        head: String,
    },
    /// A command of its own, whose args are bytes.
    Command(Template),
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// One arg.
    One,
    /// A JSON value, which is all args.
    Json,
    /// Comma-separated values, an arg each.
    #[cfg(feature = "csv")]
    Csv,
    /// Values with tabs between them, an arg each.
    Tsv,
    /// Values with [`Plain::separator`] between them, an arg each.
    #[cfg(feature = "unstable-engine")]
    Separated,
}

impl Columns {
    /// Whether lines are CSV records.
    pub fn is_csv(self) -> bool {
        #[cfg(feature = "csv")]
        return self == Self::Csv;
        #[cfg(not(feature = "csv"))]
        false
    }
}

/// How many lines make a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// This many, at least 1.
    Lines(usize),
    /// As many as fit into `most` bytes. Each arg counts `copies` times, each time with `overhead` more
    /// bytes.
    Bytes {
        /// The most bytes of all args.
        most: usize,
        /// The most bytes of one arg. A longer one can't be run, and is a job of its own, so that no other
        /// line fails with it.
        longest: usize,
        /// How many bytes an arg takes besides its own.
        overhead: usize,
        /// How often each arg is in the command.
        copies: usize,
    },
}

/// Why a line is not the header of an input.
#[derive(Debug)]
pub(crate) enum NoHeader {
    /// The command asks for other columns.
    Misused(String),
    /// An earlier input had another header.
    Different,
}

/// Args that were read and are no job yet.
#[derive(Debug, Default)]
pub struct Packed {
    /// How many lines there are.
    count: usize,
    /// The lines of the input, if they are kept.
    pub lines: Vec<u8>,
    /// How many bytes they count as.
    size: usize,
    /// The line that was read first.
    pub place: crate::job::Place,
    /// For a command: words with a NUL byte after each. For a worker: JSON values with a comma after each.
    text: Vec<u8>,
}

impl Packed {
    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Plain {
    /// Lines that are one string arg each, after `args`.
    pub fn strings(cmd: &str, args: &[String]) -> Self {
        let head = args.iter().map(|arg| quote(arg) + ",").collect();
        Self::new(Target::Worker { cmd: quote(cmd), head }, Columns::One)
    }

    /// Lines that are a JSON value each.
    pub fn json(cmd: &str) -> Self {
        Self::new(Target::Worker { cmd: quote(cmd), head: String::new() }, Columns::Json)
    }

    /// One line a job, without a header.
    pub fn new(target: Target, columns: Columns) -> Self {
        Self {
            target,
            columns,
            #[cfg(feature = "unstable-engine")]
            separator: None,
            has_header: false,
            pack: Pack::Lines(1),
            header: Arc::default(),
            header_line: Arc::default(),
        }
    }

    /// The job of one line, if each line is a job. `Ok(None)`: the line should be JSON, and is blank.
    ///
    /// # Errors
    /// The line can't be the args of a job.
    pub fn parse<'a>(&'a self, line: &'a [u8]) -> Result<Option<Fields<'a>>, Invalid> {
        let (cmd, head) = match &self.target {
            Target::Worker { cmd, head } => (cmd.as_str(), head.as_str()),
            Target::Command(_) => ("\"\"", ""),
        };
        let args = match self.columns {
            Columns::Json if line.trim_ascii().is_empty() => return Ok(None),
            Columns::Json => json(utf8(line)?)?,
            _ => Cow::Owned(format!("[{head}{}]", quote(utf8(line)?))),
        };
        let cmd = Cow::Borrowed(cmd);
        Ok(Some(Fields { cmd, args, id: "", timeout: None, retries: None, worker: None }))
    }

    /// As [`Plain::parse`], for a line that is a string without anything that JSON escapes, which most lines are:
    /// appends the args to `args` and returns the command. `None`: it is another line.
    pub(crate) fn usual(&self, line: &[u8], args: &mut Vec<u8>) -> Option<&str> {
        let Target::Worker { cmd, head } = &self.target else { return None };
        if !self.is_simple() || self.columns != Columns::One || !is_string_text(line) {
            return None;
        }
        args.push(b'[');
        args.extend_from_slice(head.as_bytes());
        args.push(b'"');
        args.extend_from_slice(line);
        args.extend_from_slice(b"\"]");
        Some(cmd)
    }

    /// Splits a line into columns.
    pub(crate) fn split<'a>(&self, line: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
        match self.columns {
            #[cfg(feature = "unstable-engine")]
            Columns::Separated => match &self.separator {
                Some(separator) => separator.split(line),
                None => vec![Cow::Borrowed(line)],
            },
            columns => split(columns, line),
        }
    }

    /// Takes the first line of an input as the header.
    ///
    /// # Errors
    /// The line can't be the header.
    pub(crate) fn read_header(&self, columns: &[Cow<'_, [u8]>]) -> Result<(), NoHeader> {
        let names: Vec<Vec<u8>> = columns.iter().map(|name| name.to_vec()).collect();
        // The header of the first input decides whether the command can be run.
        if let (Target::Command(template), None) = (&self.target, self.header.get()) {
            let checked = template.check_names(&names);
            checked.map_err(|error| NoHeader::Misused(error.to_string()))?;
        }
        if self.header.get_or_init(|| names.clone()) == &names {
            Ok(())
        } else {
            Err(NoHeader::Different)
        }
    }

    /// Whether each line is a job by itself, and its args are JSON.
    pub(crate) fn is_simple(&self) -> bool {
        let is_json = matches!(self.target, Target::Worker { .. }) && self.columns == Columns::One;
        self.pack == Pack::Lines(1)
            && !self.has_header
            && (is_json || self.columns == Columns::Json)
    }

    /// Whether another line with these args would be one too many for the job.
    pub fn is_full(&self, packed: &Packed, columns: &[Cow<'_, [u8]>]) -> bool {
        match self.pack {
            Pack::Lines(_) => false,
            Pack::Bytes { most, .. } => {
                packed.count > 0 && packed.size + self.size_of(columns) > most
            }
        }
    }

    fn size_of(&self, columns: &[Cow<'_, [u8]>]) -> usize {
        let Pack::Bytes { most, longest, overhead, copies } = self.pack else { return 0 };
        if columns.iter().any(|column| column.len() > longest) {
            return most;
        }
        copies * columns.iter().map(|column| column.len() + overhead).sum::<usize>()
    }

    /// Adds a line; returns whether the job is complete.
    ///
    /// # Errors
    /// The columns can't be args.
    pub fn add(&self, packed: &mut Packed, columns: &[Cow<'_, [u8]>]) -> Result<bool, Invalid> {
        let names = self.header.get().filter(|_| self.has_header);
        if let Some(names) = names.filter(|names| names.len() != columns.len()) {
            let message = format!(
                "it has {} column{}, and the header has {}",
                columns.len(),
                if columns.len() == 1 { "" } else { "s" },
                names.len()
            );
            return Err(Invalid { message, column: None, id: String::new() });
        }
        let before = packed.text.len();
        let added = match &self.target {
            Target::Command(_) => add_words(&mut packed.text, columns),
            Target::Worker { .. } => add_json(&mut packed.text, columns, names),
        };
        if let Err(invalid) = added {
            packed.text.truncate(before);
            // A place within a field is not the place within the line.
            let is_split = !matches!(self.columns, Columns::One | Columns::Json);
            return Err(Invalid { column: invalid.column.filter(|_| !is_split), ..invalid });
        }
        packed.size += self.size_of(columns);
        packed.count += 1;
        Ok(matches!(self.pack, Pack::Lines(lines) if packed.count >= lines))
    }

    /// The job of all lines that were added; `None`: there is none.
    pub fn take(&self, packed: &mut Packed, seq: u64) -> Option<Job> {
        if packed.count == 0 {
            return None;
        }
        let mut job = match &self.target {
            Target::Command(_) => Job::words(seq, &packed.text),
            Target::Worker { cmd, head } => {
                let text = String::from_utf8_lossy(&packed.text);
                let args = format!("{head}{text}");
                // Each value has a comma after it. A line without fields adds no value.
                let args = args.strip_suffix(',').unwrap_or_default();
                let is_object = self.has_header && self.pack == Pack::Lines(1) && head.is_empty();
                if is_object {
                    Job::new(seq, cmd, args, "")
                } else {
                    Job::new(seq, cmd, &format!("[{args}]"), "")
                }
            }
        };
        job.place = packed.place;
        *packed = Packed { text: std::mem::take(&mut packed.text), ..Packed::default() };
        packed.text.clear();
        Some(job)
    }
}

/// Splits a line into columns. Those with a separator of their own need [`Plain::split`].
pub fn split<'a>(columns: Columns, line: &'a [u8]) -> Vec<Cow<'a, [u8]>> {
    match columns {
        Columns::One | Columns::Json => vec![Cow::Borrowed(line)],
        #[cfg(feature = "unstable-engine")]
        Columns::Separated => vec![Cow::Borrowed(line)],
        // As in CSV, a line may end with CR LF.
        Columns::Tsv => line
            .strip_suffix(b"\r")
            .unwrap_or(line)
            .split(|&byte| byte == b'\t')
            .map(Cow::Borrowed)
            .collect(),
        #[cfg(feature = "csv")]
        Columns::Csv => csv::fields(line),
    }
}

fn add_words(text: &mut Vec<u8>, columns: &[Cow<'_, [u8]>]) -> Result<(), Invalid> {
    for column in columns {
        if let Some(at) = memchr::memchr(0, column) {
            return Err(Invalid::new(at + 1, "it has a NUL byte, which no argument can hold"));
        }
        text.extend_from_slice(column);
        text.push(0);
    }
    Ok(())
}

fn add_json(
    text: &mut Vec<u8>,
    columns: &[Cow<'_, [u8]>],
    names: Option<&Vec<Vec<u8>>>,
) -> Result<(), Invalid> {
    let strings = columns.iter().map(|column| utf8(column).map(quote));
    match names {
        None => {
            for string in strings {
                text.extend_from_slice(string?.as_bytes());
                text.push(b',');
            }
        }
        Some(names) => {
            text.push(b'{');
            for (index, (string, name)) in strings.zip(names).enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(quote(&String::from_utf8_lossy(name)).as_bytes());
                text.push(b':');
                text.extend_from_slice(string?.as_bytes());
            }
            text.extend_from_slice(b"},");
        }
    }
    Ok(())
}

fn json(text: &str) -> Result<Cow<'_, str>, Invalid> {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => Ok(on_one_line(value.get())),
        Err(error) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            let message = format!("it is not JSON ({what}), which {} asks for", Setting::InputJson);
            Err(Invalid::new(error_column(text, &error), message))
        }
    }
}

fn quote(text: &str) -> String {
    // A string can always be written as JSON.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn template() -> Template {
        let settings = crate::command::TemplateSettings {
            shell: None,
            replace: None,
            names: crate::command::Names::None,
            stdin: false,
            env: Vec::new(),
            cwd: None,
        };
        Template::new(&["a".into()], &settings).expect("a command")
    }

    fn job(plain: &Plain, lines: &[&[u8]]) -> Job {
        let mut packed = Packed::default();
        for line in lines {
            plain.add(&mut packed, &split(plain.columns, line)).expect("args");
        }
        plain.take(&mut packed, 1).expect("a job")
    }

    #[test]
    fn lines_are_args() {
        let plain = Plain::strings("resize", &["-w".into(), "1\"0".into()]);
        let fields = plain.parse(b"a b.png").expect("valid").expect("a job");
        assert_eq!((&*fields.cmd, &*fields.args), (r#""resize""#, r#"["-w","1\"0","a b.png"]"#));
        let fields = plain.parse(b"").expect("valid").expect("a job");
        assert_eq!(fields.args, r#"["-w","1\"0",""]"#);
    }

    #[test]
    fn json_lines_are_the_args() {
        let plain = Plain::json("resize");
        let fields = plain.parse(br#" {"w": 1} "#).expect("valid").expect("a job");
        assert_eq!(fields.args, r#"{"w": 1}"#);
        assert_eq!(plain.parse(b" "), Ok(None));
        assert!(plain.parse(b"a.png").expect_err("invalid").message.contains("Columns::Json"));
    }

    #[test]
    fn columns_are_args() {
        let mut plain = Plain::strings("a", &["x".into()]);
        plain.columns = Columns::Tsv;
        assert_eq!(job(&plain, &[b"1\t2 3"]).args(), br#"["x","1","2 3"]"#);
        plain.columns = Columns::Csv;
        assert_eq!(job(&plain, &[b"1,\"2,\"\"3\""]).args(), br#"["x","1","2,\"3"]"#);
        plain.pack = Pack::Lines(2);
        assert_eq!(job(&plain, &[b"1,2", b"3"]).args(), br#"["x","1","2","3"]"#);
        assert_eq!(job(&plain, &[b"", b"\xef\xbb\xbf"]).args(), "[\"x\",\"\u{feff}\"]".as_bytes());
        assert_eq!(job(&plain, &[b""]).args(), br#"["x"]"#);
    }

    #[test]
    fn a_header_names_them() {
        let mut plain = Plain::strings("a", &[]);
        (plain.columns, plain.has_header) = (Columns::Csv, true);
        plain.header.set(vec![b"n".to_vec(), b"m".to_vec()]).expect("new");
        assert_eq!(job(&plain, &[b"1,2"]).args(), br#"{"n":"1","m":"2"}"#);
        let short = plain.add(&mut Packed::default(), &split(Columns::Csv, b"1"));
        assert!(short.expect_err("too few").message.contains("1 column, and the header has 2"));
    }

    #[test]
    fn csv_records() {
        for (record, fields) in [
            ("a,b", vec!["a", "b"]),
            ("", vec![]),
            ("a,", vec!["a", ""]),
            (",", vec!["", ""]),
            ("\"a\nb\",c", vec!["a\nb", "c"]),
            ("\"\"", vec![""]),
            ("5\" pipe,x", vec!["5\" pipe", "x"]),
        ] {
            let read: Vec<_> = csv::fields(record.as_bytes())
                .iter()
                .map(|f| String::from_utf8_lossy(f).into_owned())
                .collect();
            assert_eq!(read, fields, "{record:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_string(text in any::<String>()) {
            let plain = Plain::strings("a", &[]);
            let fields = plain.parse(text.as_bytes()).expect("valid").expect("a job");
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&fields.args).expect("JSON"), vec![text]);
        }

        #[test]
        fn a_usual_line_is_what_the_others_are(
            line in prop::collection::vec(prop::sample::select(b"ab \"\\\r\n\x00\x7f\xc3\xa9".to_vec()), 0..12),
        ) {
            let plain = Plain::strings("a", &["-w".into()]);
            let mut args = Vec::new();
            let cmd = plain.usual(&line, &mut args);
            prop_assert_eq!(cmd.is_none(), std::str::from_utf8(&line).is_err() || line.iter().any(|byte| b"\"\\\r\n\0".contains(byte)));
            if let Some(cmd) = cmd {
                let fields = plain.parse(&line).expect("valid").expect("a job");
                prop_assert_eq!((cmd, &*args), (&*fields.cmd, fields.args.as_bytes()));
            }
        }

        #[test]
        fn fields_are_read_as_they_were_written(
            fields in prop::collection::vec("[a\",\n\r ]{0,6}", 1..6),
        ) {
            let quoted: Vec<_> = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
            let read: Vec<_> = csv::fields(quoted.join(",").as_bytes()).into_iter().map(Cow::into_owned).collect();
            let written: Vec<_> = fields.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn words_come_out_as_they_went_in(
            words in prop::collection::vec(prop::collection::vec(1_u8..=255, 0..6), 1..6),
        ) {
            let plain = Plain::new(Target::Command(template()), Columns::One);
            let lines: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let job = job(&plain, &lines);
            let read: Vec<_> = job.arg_words().expect("words").collect();
            prop_assert_eq!(read, lines);
        }

        #[test]
        fn no_record_makes_it_panic(record in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = csv::fields(&record);
        }
    }
}
