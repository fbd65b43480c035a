//! How to run the failed jobs of a run again: a command line that can be pasted into a shell.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use procpool::engine::command::quote;
use procpool::engine::input::plain_lines::Target;
use procpool::engine::input::{Form, Reader, Source};
use procpool::engine::{printable, printable_bytes};

use super::few::FailedText;
use crate::cli::Options;
use crate::cli::typed::{TypedOption, typed};
use crate::cli::values::InputFormat;

/// A longer command line is not shown.
const LONGEST: usize = 4_000;

/// Options that make or change a file, and would replace the file of this run.
const WRITERS: [&str; 4] = ["report", "trace", "results", "joblog"];

/// Options that say how lines are read.
const READERS: [&str; 7] =
    ["arg_file", "delimiter", "null", "max_line", "link", "arg_sep", "arg_file_sep"];

/// Options that say what a line is.
const FORMS: [&str; 2] = ["input", "header"];

/// Options of the journal.
const JOURNAL: [&str; 3] = ["journal", "resume", "fsync"];

/// The facts about the run that the command line has.
#[derive(Debug, Default)]
pub struct Again {
    /// procpool as it can be called; `None`: it is looked for when that is asked.
    program: Option<OsString>,
    /// COMMAND and its ARGs.
    command: Vec<OsString>,
    /// The words of the lists of args, with their signs.
    lists: Vec<OsString>,
    /// How many lists there are.
    list_count: usize,
    /// Jobs come from stdin.
    reads_stdin: bool,
    /// The file that stdin is.
    stdin: Option<PathBuf>,
    input: Option<InputFormat>,
    /// A job has several lines.
    packs: bool,
    /// Lines have columns, with a separator that may be in a column too.
    has_separator: bool,
    /// The header of the input, once it was read, if it has one.
    header: Option<Arc<OnceLock<Vec<u8>>>>,
    /// The number of args that all jobs of a worker's COMMAND begin with.
    fixed: usize,
    has_journal: bool,
    failed: Option<PathBuf>,
    /// Commands may read the stdin of procpool.
    gives_stdin: bool,
}

/// How to run the failed jobs again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A command line.
    Run(String),
    /// A command line that needs the same input as before on its stdin.
    Feed(String),
    /// A sentence without its end.
    Do(&'static str),
}

impl Again {
    /// Takes note of the command line.
    pub fn new(options: &Options, reader: &Reader) -> Self {
        let is_sign = |word: &OsString| options.input.lists.sign(word).is_some();
        let end = options.command.iter().position(is_sign).unwrap_or(options.command.len());
        let (first, lists) = options.command.split_at(end);
        let reads_stdin = reader.sources.contains(&Source::Stdin);
        let (header, is_command) = match &reader.form {
            Form::Plain(plain) => {
                let header = plain.has_header.then(|| Arc::clone(&plain.header_line));
                (header, matches!(plain.target, Target::Command(_)))
            }
            Form::Job | Form::Message | Form::Blocks(_) => (None, false),
        };
        Self {
            program: None,
            command: first.to_vec(),
            lists: lists.to_vec(),
            list_count: lists.iter().filter(|word| is_sign(word)).count(),
            reads_stdin,
            stdin: if reads_stdin { stdin_file() } else { None },
            input: Some(options.input.format),
            packs: options.input.max_args.is_some(),
            has_separator: options.input.colsep.is_some(),
            header,
            fixed: if is_command { 0 } else { first.len().saturating_sub(1) },
            has_journal: options.journal.file.is_some(),
            failed: options.failures.failed.clone(),
            gives_stdin: is_command && !options.input.arg_file.is_empty() && gives_stdin(),
        }
    }

    /// Whether a journal has the results of all jobs that have succeeded.
    pub fn has_journal(&self) -> bool {
        self.has_journal
    }

    /// How to run the failed jobs again. `few`: all of them, if they are few. `has_file`: the file of `--failed`
    /// has their lines.
    pub fn advice(&self, few: Option<&[FailedText]>, has_file: bool) -> Advice {
        self.advise(&typed(), few, has_file)
    }

    fn advise(
        &self,
        options: &[TypedOption],
        few: Option<&[FailedText]>,
        has_file: bool,
    ) -> Advice {
        let has_input = !self.reads_stdin || self.stdin.is_some();
        let failed = self.failed.as_ref().filter(|_| has_file);
        let advice = match failed {
            _ if self.has_journal && (has_input || failed.is_none()) => self.resumed(options),
            Some(file) => Some(Advice::Run(self.line(
                options,
                &[&JOURNAL, &["arg_file"][..]],
                Some(file),
                &[],
            ))),
            None => few.and_then(|few| self.of_few(options, few)).map(Advice::Run),
        };
        let is_short = |advice: &Advice| match advice {
            Advice::Run(line) | Advice::Feed(line) => line.len() <= LONGEST,
            Advice::Do(_) => true,
        };
        advice.filter(is_short).unwrap_or(match self {
            Self { has_journal: true, .. } => Advice::Do("add --resume to the same command"),
            _ if failed.is_some() => Advice::Do("read the file of --failed with -a"),
            _ if self.failed.is_some() => {
                Advice::Do("repair what is reported above; the file of --failed has no line to run")
            }
            _ if self.lists.is_empty() => Advice::Do(
                "give --failed FILE next time; it keeps their lines, and -a FILE runs them",
            ),
            _ => Advice::Do("give --journal FILE next time; with --resume, only they are run"),
        })
    }

    /// The same command line, with `--resume`.
    fn resumed(&self, options: &[TypedOption]) -> Option<Advice> {
        let mut words = vec![self.program.clone().unwrap_or_else(program)];
        for option in options {
            option.push_to(&mut words);
            if option.id == "journal" && !options.iter().any(|option| option.id == "resume") {
                words.push("--resume".into());
            }
        }
        words.extend(self.command_words());
        words.extend_from_slice(&self.lists);
        let line = shell_line(&words);
        Some(match (&self.stdin, self.reads_stdin) {
            (Some(file), _) => Advice::Run(format!("{line} < {}", shell_word(file.as_os_str()))),
            (None, true) => Advice::Feed(line),
            (None, false) => Advice::Run(line),
        })
    }

    /// The command line without some options. It reads jobs from a file, or has other args after `:::`.
    fn line(
        &self,
        options: &[TypedOption],
        without: &[&[&str]],
        file: Option<&PathBuf>,
        lists: &[Vec<OsString>],
    ) -> String {
        let mut words = vec![self.program.clone().unwrap_or_else(program)];
        if let Some(file) = file {
            words.extend(["-a".into(), file.clone().into_os_string()]);
        }
        let is_left_out =
            |id: &str| WRITERS.contains(&id) || without.iter().any(|ids| ids.contains(&id));
        for option in options.iter().filter(|option| !is_left_out(&option.id)) {
            option.push_to(&mut words);
        }
        words.extend(self.command_words());
        for list in lists {
            words.push(":::".into());
            words.extend_from_slice(list);
        }
        shell_line(&words)
    }

    fn command_words(&self) -> Vec<OsString> {
        let is_like_option = self.command.first().is_some_and(|it| it.as_bytes().starts_with(b"-"));
        let begin = is_like_option.then(|| "--".into());
        begin.into_iter().chain(self.command.iter().cloned()).collect()
    }

    /// A command line that has the jobs themselves.
    fn of_few(&self, options: &[TypedOption], few: &[FailedText]) -> Option<String> {
        // The args of a job may have what separates columns. Only with -a do commands have the stdin of procpool.
        if few.is_empty() || self.has_separator || self.gives_stdin {
            return None;
        }
        self.with_lists(options, few).or_else(|| self.with_lines(options, few))
    }

    /// The jobs as args after `:::`: one list, or the product of several.
    fn with_lists(&self, options: &[TypedOption], few: &[FailedText]) -> Option<String> {
        if self.input != Some(InputFormat::Lines) || self.packs || self.header.is_some() {
            return None;
        }
        let jobs: Option<Vec<Vec<OsString>>> = few.iter().map(|job| job.args(self.fixed)).collect();
        let jobs = jobs?;
        let count = jobs.first()?.len();
        if count != self.list_count.max(1) {
            return None;
        }
        let mut lists: Vec<Vec<OsString>> = vec![Vec::new(); count];
        for job in &jobs {
            for (list, word) in lists.iter_mut().zip(job) {
                if count == 1 || !list.contains(word) {
                    list.push(word.clone());
                }
            }
        }
        let is_product = count == 1 || lists.iter().map(Vec::len).product::<usize>() == jobs.len();
        let is_list = lists.iter().flatten().any(|word| word.as_bytes().starts_with(b":::"));
        (is_product && !is_list).then(|| self.line(options, &[&READERS], None, &lists))
    }

    /// The jobs as lines on stdin.
    fn with_lines(&self, options: &[TypedOption], few: &[FailedText]) -> Option<String> {
        let is_job_line = few.iter().all(|job| matches!(job, FailedText::Line(_)));
        // An expression sees several lines as a list, which no line of JSON gives it.
        if self.packs && few.iter().any(|job| matches!(job, FailedText::Args(_))) {
            return None;
        }
        let is_command = few.iter().all(|job| matches!(job, FailedText::Words(_)));
        if let Some(header) = self.header.as_ref().filter(|_| is_command) {
            let rows = self.rows(header.get()?, few)?;
            let run = self.line(options, &[&READERS], None, &[]);
            return Some(format!("{} | {run}", printed(rows)));
        }
        let lines: Option<Vec<String>> = few.iter().map(|job| job.line(self.fixed)).collect();
        let words: Vec<OsString> = lines?.into_iter().map(OsString::from).collect();
        let print = printed(words);
        let run = if is_job_line {
            self.line(options, &[&READERS], None, &[])
        } else {
            let json = TypedOption {
                id: "json".into(),
                name: "--input".into(),
                value: Some("json".into()),
            };
            let options = [&[json], options].concat();
            self.line(&options, &[&READERS, &FORMS, &["max_args"][..]], None, &[])
        };
        Some(format!("{print} | {run}"))
    }

    /// The header and the rows of commands whose args have names.
    fn rows(&self, header: &[u8], few: &[FailedText]) -> Option<Vec<OsString>> {
        let mut rows = vec![OsString::from_vec(header.to_vec())];
        for job in few {
            let cells = job.args(0)?;
            let row: Option<Vec<Vec<u8>>> =
                cells.iter().map(|cell| self.cell(cell.as_bytes())).collect();
            let between = if self.input == Some(InputFormat::Tsv) { b'\t' } else { b',' };
            rows.push(OsString::from_vec(row?.join(&between)));
        }
        Some(rows)
    }

    /// A value as a row has it. `None`: no row can have it.
    fn cell(&self, value: &[u8]) -> Option<Vec<u8>> {
        let has = |bytes: &[u8]| value.iter().any(|byte| bytes.contains(byte));
        match self.input {
            Some(InputFormat::Csv) if has(b",\"\r\n") => {
                let text = value.split(|&byte| byte == b'"').collect::<Vec<_>>().join(&b"\"\""[..]);
                Some([b"\"", text.as_slice(), b"\""].concat())
            }
            _ if has(b"\t\n") => None,
            _ => Some(value.to_vec()),
        }
    }
}

/// The command that prints lines.
fn printed(lines: Vec<OsString>) -> String {
    let print = [OsString::from("printf"), OsString::from("%s\\n")];
    shell_line(&print.into_iter().chain(lines).collect::<Vec<_>>())
}

/// procpool as it can be called: by its name, if that finds this program, or by its path.
fn program() -> OsString {
    let name = OsString::from("procpool");
    let given = std::env::args_os().next().unwrap_or_default();
    if !given.as_bytes().contains(&b'/') {
        return name;
    }
    let own = std::env::current_exe().and_then(|path| path.canonicalize()).ok();
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(&name));
    let found = found.filter(|path| path.is_file()).find_map(|path| path.canonicalize().ok());
    if found.is_some() && found == own { name } else { given }
}

/// Whether stdin has something to read for commands. What they read from a pipe is gone.
fn gives_stdin() -> bool {
    rustix::io::ioctl_fionread(std::io::stdin()).is_ok_and(|count| count > 0)
        && !rustix::termios::isatty(std::io::stdin())
}

/// The name of the file that stdin is.
fn stdin_file() -> Option<PathBuf> {
    use procpool::engine::files::is_regular;
    let stdin = crate::descriptors::found(crate::descriptors::Stream::Stdin)?;
    let path = std::fs::read_link("/proc/self/fd/0").ok()?;
    let there = rustix::fs::stat(&path).ok()?;
    let is_it = is_regular(&stdin) && procpool::engine::files::is_same(&stdin, &there);
    let folder = std::env::current_dir().ok();
    let inside = folder.and_then(|folder| path.strip_prefix(folder).ok().map(PathBuf::from));
    is_it.then(|| inside.unwrap_or(path))
}

fn shell_line(words: &[OsString]) -> String {
    let words: Vec<String> = words.iter().map(|word| shell_word(word)).collect();
    words.join(" ")
}

/// A word as it is typed into a shell, on one line. Control characters and wrong bytes are printed by the shell.
fn shell_word(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    if printable_bytes(bytes).as_bytes() == bytes {
        return String::from_utf8_lossy(&quote(bytes)).into_owned();
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(&mut text, c);
        }
        push_octal(&mut text, chunk.invalid());
    }
    if bytes.ends_with(b"\n") {
        // $(…) leaves that newline out. bash, zsh, ksh and new versions of sh have this form.
        format!("$'{}'", text.replace("%%", "%"))
    } else {
        format!("\"$(printf '{text}')\"")
    }
}

/// Adds a character to the format of a printf.
fn push_escaped(text: &mut String, c: char) {
    let mut buffer = [0; 4];
    let encoded: &str = c.encode_utf8(&mut buffer);
    // At the begin of the format it would be an option.
    let is_option = c == '-' && text.is_empty();
    match c {
        '\n' => text.push_str("\\n"),
        '\t' => text.push_str("\\t"),
        '\\' => text.push_str("\\\\"),
        '%' => text.push_str("%%"),
        c if c != '\'' && !is_option && printable(encoded) == encoded => text.push(c),
        _ => push_octal(text, encoded.as_bytes()),
    }
}

/// Three digits for each byte: a digit after them can't be a part of them.
fn push_octal(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| text.push_str(&format!("\\{byte:03o}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::parse_words;
    use crate::cli::typed::typed_in;
    use crate::plan::Plan;

    fn words(line: &str) -> Vec<OsString> {
        shell_words::split(line).expect("words").into_iter().map(Into::into).collect()
    }

    fn advice(line: &str, stdin: Option<&str>, few: Option<&[FailedText]>) -> Advice {
        let words = words(line);
        let options = parse_words(&words).expect("options");
        let plan = Plan::of(&options, Arc::default()).expect("a plan");
        let again = Again {
            program: Some("procpool".into()),
            stdin: stdin.map(PathBuf::from),
            ..Again::new(&options, &plan.reader)
        };
        again.advise(&typed_in(&words), few, true)
    }

    fn run(line: &str) -> Advice {
        Advice::Run(line.into())
    }

    fn texts(jobs: &[&[&str]]) -> Vec<FailedText> {
        let words = |job: &&[&str]| job.iter().map(|word| word.as_bytes().to_vec()).collect();
        jobs.iter().map(words).map(FailedText::Words).collect()
    }

    #[test]
    fn a_file_of_lines_is_read() {
        assert_eq!(
            advice(
                "procpool -j4 -a in --failed 're do' --report x.html -0 convert {} {.}.jpg",
                None,
                None
            ),
            run("procpool -a 're do' -j 4 --failed 're do' -0 convert '{}' '{.}.jpg'")
        );
        assert_eq!(
            advice("procpool --journal j --resume --failed redo f", None, None),
            run("procpool -a redo --failed redo f")
        );
    }

    #[test]
    fn a_journal_is_resumed() {
        assert_eq!(
            advice("procpool -a in --journal j --results d f", None, None),
            run("procpool -a in --journal j --resume --results d f")
        );
        assert_eq!(
            advice("procpool --journal j --resume --cwd=-x f", Some("my in"), None),
            run("procpool --journal j --resume --cwd=-x f < 'my in'")
        );
        assert_eq!(
            advice("procpool --journal j f", None, None),
            Advice::Feed("procpool --journal j --resume f".into())
        );
        assert_eq!(
            advice("procpool --journal j f ::: 'a b' ::: 1 2", None, None),
            run("procpool --journal j --resume f ::: 'a b' ::: 1 2")
        );
    }

    #[test]
    fn few_jobs_are_a_part_of_the_line() {
        let of = |line, few: &[FailedText]| advice(line, None, Some(few));
        assert_eq!(of("procpool -0 -j2 rm -r", &texts(&[&["a b"], &["c"]])), {
            run("procpool -j 2 rm -r ::: 'a b' c")
        });
        assert_eq!(of("procpool f ::: a b ::: 1 2", &texts(&[&["a", "2"], &["b", "2"]])), {
            run("procpool f ::: a b ::: 2")
        });
        assert_eq!(of("procpool f ::: a b ::: 1 2", &texts(&[&["a", "2"], &["b", "1"]])), {
            run(r#"printf '%s\n' '["a","2"]' '["b","1"]' | procpool --input json f"#)
        });
        let args = |json: &str| FailedText::Args(json.into());
        assert_eq!(of("procpool --python 'int(x)'", &[args(r#"["it's"]"#)]), {
            run(r"procpool --python 'int(x)' ::: 'it'\''s'")
        });
        assert_eq!(of("procpool --input csv --header --python x", &[args(r#"{"a":"1"}"#)]), {
            run(r#"printf '%s\n' '{"a":"1"}' | procpool --input json --python x"#)
        });
        assert_eq!(of("procpool -w ./h resize 10", &[args(r#"["10","a\nb"]"#)]), {
            run(r#"procpool -w ./h resize 10 ::: "$(printf 'a\nb')""#)
        });
        let line = FailedText::Line(b"load [\"2.json\"]".to_vec());
        assert_eq!(of("procpool -w ./h", &[line]), {
            run(r#"printf '%s\n' 'load ["2.json"]' | procpool -w ./h"#)
        });
    }

    #[test]
    fn many_jobs_need_an_option() {
        assert!(
            matches!(advice("procpool f", None, None), Advice::Do(how) if how.contains("--failed"))
        );
        assert!(
            matches!(advice("procpool f ::: a", None, None), Advice::Do(how) if how.contains("--journal"))
        );
        let packed = [FailedText::Args(r#"["1","2"]"#.into())];
        assert!(matches!(advice("procpool -n2 --python x", None, Some(&packed)), Advice::Do(_)));
    }

    #[test]
    fn any_word_is_one_word() {
        let word = |bytes: &[u8]| shell_word(OsStr::from_bytes(bytes));
        assert_eq!(word(b"a.jpg"), "a.jpg");
        assert_eq!(word(b"it's"), r"'it'\''s'");
        assert_eq!(word(b"a\n'%\\\x1b1\xff"), r#""$(printf 'a\n\047%%\\\0331\377')""#);
        assert_eq!(word(b"5%\n"), r"$'5%\n'");
    }
}
