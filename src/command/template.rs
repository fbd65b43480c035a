//! The command of a job: words with placeholders, and what becomes of them when the args are there.
//! A value never becomes more than one argument, nor part of the text of a shell command.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::util::json::compact;

use super::shell::{Quoting, Scanner, Spot};

/// The placeholders that are always known.
const KNOWN: &str = "{} {.} {/} {//} {/.}, {1} {1.} {1/} {1//} {1/.} and so on, {#} {%}";

/// What an argument takes besides its bytes: the NUL behind it and a pointer to it.
const OVERHEAD: usize = 1 + 8;

/// What parameters of a shell command are bound to, with their numbers, where it may change them.
const VARIABLE: &str = "procpool_";

/// The longest number that stands for `{#}` or `{%}`.
const NUMBER_SIZE: usize = 20;

/// The args of one job as a template sees them.
#[derive(Clone, Debug, Default)]
pub struct Args<'a> {
    /// The args, in order.
    pub words: Vec<Cow<'a, [u8]>>,
    /// Their names, as far as they have any (the header of CSV, the fields of a JSON object), in the
    /// same order; empty: none.
    pub names: Vec<Cow<'a, [u8]>>,
    /// What `{}` stands for, where that is not the words one by one (a JSON object: its compact
    /// JSON).
    pub whole: Option<Cow<'a, [u8]>>,
}

/// Which names placeholders may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// There are none: an unknown name is an error.
    None,
    /// Any: they are known only when a job or the header is read.
    Any,
}

/// How the words of a template are meant.
#[derive(Clone, Debug)]
pub struct Settings {
    /// They are the text of a shell command.
    pub shell: bool,
    /// Stands for `{}`; then no other placeholder is known.
    pub replace: Option<Vec<u8>>,
    /// Which names placeholders may use.
    pub names: Names,
    /// Args are fed to the command's stdin, so none are appended.
    pub stdin: bool,
    /// Additions to the environment, each `NAME=VALUE`; values may have placeholders.
    pub env: Vec<OsString>,
    /// The directory to run in; it may have placeholders.
    pub cwd: Option<OsString>,
}

/// A command that can be started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// Additions to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// The directory to run in.
    pub cwd: Option<OsString>,
}

/// A command with placeholders.
#[derive(Clone, Debug)]
pub struct Template {
    body: Body,
    env: Vec<(OsString, Word)>,
    cwd: Option<Word>,
    stdin: bool,
}

/// What is run.
#[derive(Clone, Debug)]
enum Body {
    Words(Vec<Word>),
    Script(Script),
    /// What each job says: a program, or the text of a shell command.
    Job {
        shell: bool,
    },
}

type Word = Vec<Piece>;

#[derive(Clone, Debug)]
enum Piece {
    Text(Vec<u8>),
    Place(Place),
}

/// The text of a shell command.
#[derive(Clone, Debug)]
struct Script {
    pieces: Vec<Part>,
    /// Args may be appended to it.
    is_open: bool,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    /// A reference to a value; one that is a word by itself becomes one for each arg.
    Place {
        place: Place,
        quoting: Quoting,
        is_word: bool,
    },
}

/// A placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    which: Which,
    cut: Cut,
    /// How it was written.
    spelled: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    All,
    /// From 1.
    Nth(usize),
    Named(Vec<u8>),
    /// A name if there is such a one, with what it cuts or without; otherwise it is plain text.
    Perhaps(Vec<u8>),
    Number,
    Slot,
}

/// What is left of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    Extension,
    Directory,
    Base,
    DirectoryAndExtension,
}

/// What the placeholders of one job stand for.
#[derive(Clone, Copy)]
struct Values<'a> {
    args: &'a Args<'a>,
    seq: u64,
    slot: usize,
}

impl Template {
    /// Reads the words of a command.
    ///
    /// # Errors
    /// How it was misused: a sentence for a person.
    pub fn new(words: &[OsString], settings: &Settings) -> Result<Self, String> {
        if words.is_empty() {
            return Err("there is no command".into());
        }
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let body = match settings.shell {
            true => Body::Script(Script::new(&words.join(&b' '), settings)?),
            false => Body::Words(
                words.iter().map(|word| parse(word, settings)).collect::<Result<_, _>>()?,
            ),
        };
        let template = Self::with(body, settings)?;
        if let Body::Script(script) = &template.body
            && !settings.stdin
            && template.body_places().all(|place| !place.is_arg() && !place.is_uncertain())
        {
            script.check_open()?;
        }
        Ok(template)
    }

    /// A template for jobs that say themselves what is run.
    ///
    /// # Errors
    /// As for [`Template::new`].
    pub fn for_jobs(settings: &Settings) -> Result<Self, String> {
        Self::with(Body::Job { shell: settings.shell }, settings)
    }

    fn with(body: Body, settings: &Settings) -> Result<Self, String> {
        let mut env = Vec::with_capacity(settings.env.len());
        for text in &settings.env {
            let bytes = text.as_bytes();
            let Some(at) = memchr::memchr(b'=', bytes).filter(|&at| at > 0) else {
                let text = text.to_string_lossy();
                return Err(format!("'{text}' sets no variable; write --env NAME=VALUE"));
            };
            let name = OsStr::from_bytes(&bytes[..at]).to_owned();
            env.push((name, parse(&bytes[at + 1..], settings)?));
        }
        let cwd = settings.cwd.as_ref().map(|cwd| parse(cwd.as_bytes(), settings)).transpose()?;
        Ok(Self { body, env, cwd, stdin: settings.stdin })
    }

    /// Looks whether a header that was read has the names that are used.
    ///
    /// # Errors
    /// Which one is missing, and which are known: a sentence.
    pub fn check_names(&self, names: &[Vec<u8>]) -> Result<(), String> {
        for place in self.body_places().chain(self.other_places()) {
            if let Which::Named(name) = &place.which
                && !names.contains(name)
            {
                return Err(format!(
                    "the placeholder {} is no column of the header; its columns are {}; always \
                     known are {KNOWN}",
                    String::from_utf8_lossy(&place.spelled),
                    list(names.iter().map(Vec::as_slice))
                ));
            }
        }
        Ok(())
    }

    /// Looks whether all placeholders with a number can stand for something in a job that has so many
    /// args.
    ///
    /// # Errors
    /// Which one can't: a sentence.
    pub fn check_count(&self, count: usize) -> Result<(), String> {
        for place in self.body_places().chain(self.other_places()) {
            if matches!(place.which, Which::Nth(number) if number > count) {
                return Err(place.is_beyond(count, "a job"));
            }
        }
        Ok(())
    }

    /// The command of a job.
    ///
    /// # Errors
    /// Why there is none for these args: a sentence.
    pub fn fill(&self, args: &Args<'_>, seq: u64, slot: usize) -> Result<Command, String> {
        let values = Values { args, seq, slot };
        let appends = !self.stdin && !self.body_places().any(|place| values.uses_args(place));
        let argv = match &self.body {
            Body::Words(words) => values.argv(words, appends)?,
            Body::Script(script) => script.argv(values, appends)?,
            Body::Job { .. } => return Err("the job names no command".into()),
        };
        self.command(argv, values)
    }

    /// The command of a job that says itself what is run: a program or, with a shell, the text of a
    /// command. The args are its arguments, for the text `"$@"`.
    ///
    /// # Errors
    /// Why there is none for these args: a sentence.
    pub fn fill_job(
        &self,
        cmd: &[u8],
        args: &Args<'_>,
        seq: u64,
        slot: usize,
    ) -> Result<Command, String> {
        let mut argv: Vec<Vec<u8>> = match self.body {
            Body::Job { shell: true } => shell_argv(cmd),
            _ => vec![cmd.to_vec()],
        };
        if !self.stdin {
            argv.extend(args.all().map(<[u8]>::to_vec));
        }
        self.command(argv, Values { args, seq, slot })
    }

    fn command(&self, argv: Vec<Vec<u8>>, values: Values<'_>) -> Result<Command, String> {
        if argv.first().is_none_or(Vec::is_empty) {
            return Err("the name of the program is empty".into());
        }
        let argv = argv.into_iter().map(|word| os_string(word, "an argument of the command"));
        let mut command = Command { argv: argv.collect::<Result<_, _>>()?, ..Command::default() };
        for (name, value) in &self.env {
            let value = os_string(values.one(value)?, "a variable of the environment")?;
            command.env.push((name.clone(), value));
        }
        if let Some(cwd) = &self.cwd {
            let cwd = values.one(cwd)?;
            if cwd.is_empty() {
                return Err("the name of the directory to run in (--cwd) is empty".into());
            }
            command.cwd = Some(os_string(cwd, "the name of the directory to run in")?);
        }
        Ok(command)
    }

    /// The program, if it is the same for every job.
    pub fn program(&self) -> Option<&OsStr> {
        match &self.body {
            Body::Script(_) | Body::Job { shell: true } => Some(OsStr::new("sh")),
            Body::Job { shell: false } => None,
            Body::Words(words) => match words.first()?.as_slice() {
                [Piece::Text(text)] => Some(OsStr::from_bytes(text)),
                _ => None,
            },
        }
    }

    /// Whether a program is found where it is for procpool itself: in the same `PATH`, and from the
    /// same directory. The shell is always ours.
    pub fn finds_as_we_do(&self, program: &OsStr) -> bool {
        let program = program.as_bytes();
        match self.body {
            Body::Words(_) if program.contains(&b'/') => {
                self.cwd.is_none() || program.starts_with(b"/")
            }
            Body::Words(_) => !self.env.iter().any(|(name, _)| name == "PATH"),
            Body::Script(_) | Body::Job { .. } => true,
        }
    }

    /// Whether all args stand together in one argument or variable, which may not be as long as all
    /// arguments together. In the text of a shell command each may be referred to.
    pub fn joins(&self) -> bool {
        let is_all = |piece: &Piece| matches!(piece, Piece::Place(Place { which: Which::All, .. }));
        let in_words = match &self.body {
            Body::Words(words) => {
                words.iter().any(|word| word.len() > 1 && word.iter().any(is_all))
            }
            Body::Script(_) => true,
            Body::Job { .. } => false,
        };
        let mut single = self.env.iter().map(|(_, value)| value).chain(&self.cwd);
        in_words || single.any(|word| word.iter().any(is_all))
    }

    /// How many copies of all args a command and its environment hold, at most.
    pub fn copies(&self) -> usize {
        let count = |places: &mut dyn Iterator<Item = &Place>| {
            places.filter(|place| place.is_arg() || place.is_uncertain()).count()
        };
        let is_certain = self.body_places().any(Place::is_arg);
        let appended = usize::from(!self.stdin && !is_certain);
        count(&mut self.body_places()) + count(&mut self.other_places()) + appended
    }

    /// How many bytes of argv are the same for every job, with a NUL and a pointer for each
    /// argument. Numbers count with the most they can take.
    pub fn fixed_size(&self) -> usize {
        let of_place = |place: &Place| match place.which {
            Which::Number | Which::Slot => NUMBER_SIZE,
            Which::Perhaps(_) => place.spelled.len(),
            _ => 0,
        };
        match &self.body {
            Body::Job { shell } => {
                if *shell {
                    b"sh-csh".len() + 3 * OVERHEAD
                } else {
                    0
                }
            }
            Body::Words(words) => words
                .iter()
                .map(|word| match word.as_slice() {
                    [Piece::Place(Place { which: Which::All, .. })] => 0,
                    word => {
                        OVERHEAD
                            + word
                                .iter()
                                .map(|piece| match piece {
                                    Piece::Text(text) => text.len(),
                                    Piece::Place(place) => of_place(place),
                                })
                                .sum::<usize>()
                    }
                })
                .sum(),
            Body::Script(script) => {
                let parts = script.pieces.iter().map(|part| match part {
                    Part::Text(text) => text.len(),
                    // The reference stands in the text, and the value behind it.
                    Part::Place { place, .. } => of_place(place) + NUMBER_SIZE + OVERHEAD,
                });
                b"sh-c sh \"$@\"".len() + 4 * OVERHEAD + parts.sum::<usize>()
            }
        }
    }

    /// Whether the command itself has no placeholder.
    pub fn is_plain(&self) -> bool {
        self.body_places().next().is_none()
    }

    /// The placeholders of the command itself.
    fn body_places(&self) -> impl Iterator<Item = &Place> {
        let (words, parts) = match &self.body {
            Body::Words(words) => (words.as_slice(), &[][..]),
            Body::Script(script) => (&[][..], script.pieces.as_slice()),
            Body::Job { .. } => (&[][..], &[][..]),
        };
        let in_parts = parts.iter().filter_map(|part| match part {
            Part::Place { place, .. } => Some(place),
            Part::Text(_) => None,
        });
        words.iter().flat_map(|word| places(word)).chain(in_parts)
    }

    /// The placeholders of its environment and directory.
    fn other_places(&self) -> impl Iterator<Item = &Place> {
        let words = self.env.iter().map(|(_, value)| value).chain(&self.cwd);
        words.flat_map(|word| places(word))
    }
}

/// A shell with the text of a command; its parameters are to follow.
fn shell_argv(text: &[u8]) -> Vec<Vec<u8>> {
    // Some shells would take a text that begins so for options.
    let before = if matches!(text.first(), Some(b'-' | b'+')) { &b" "[..] } else { b"" };
    vec![b"sh".to_vec(), b"-c".to_vec(), [before, text].concat(), b"sh".to_vec()]
}

fn places(word: &[Piece]) -> impl Iterator<Item = &Place> {
    word.iter().filter_map(|piece| match piece {
        Piece::Place(place) => Some(place),
        Piece::Text(_) => None,
    })
}

fn os_string(bytes: Vec<u8>, what: &str) -> Result<OsString, String> {
    match memchr::memchr(0, &bytes) {
        None => Ok(OsString::from_vec(bytes)),
        Some(_) => Err(format!("{what} would have a NUL byte, which none can have")),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a [u8]>) -> String {
    let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

impl Place {
    /// Whether it stands for args whatever they are.
    fn is_arg(&self) -> bool {
        matches!(self.which, Which::All | Which::Nth(_) | Which::Named(_))
    }

    /// Whether it depends on the names of the args if it stands for any.
    fn is_uncertain(&self) -> bool {
        matches!(self.which, Which::Perhaps(_))
    }

    /// Why it stands for nothing where there are only so many args.
    fn is_beyond(&self, count: usize, job: &str) -> String {
        let spelled = String::from_utf8_lossy(&self.spelled);
        let s = if count == 1 { "" } else { "s" };
        format!("the placeholder {spelled} stands for nothing: {job} has {count} arg{s}")
    }
}

impl Cut {
    /// The longest ending of a placeholder that says what is cut off.
    fn of_ending(inner: &[u8]) -> (&[u8], Self) {
        let endings: [(&[u8], Self); 4] = [
            (b"/.", Self::DirectoryAndExtension),
            (b"//", Self::Base),
            (b"/", Self::Directory),
            (b".", Self::Extension),
        ];
        let found =
            endings.iter().find_map(|(ending, cut)| Some((inner.strip_suffix(*ending)?, *cut)));
        found.unwrap_or((inner, Self::Nothing))
    }

    /// What it leaves.
    fn apply(self, path: &[u8]) -> &[u8] {
        match self {
            Self::Nothing => path,
            Self::Extension => match path.iter().rposition(|byte| b"./".contains(byte)) {
                Some(at) if path[at] == b'.' => &path[..at],
                _ => path,
            },
            Self::Directory => memchr::memrchr(b'/', path).map_or(path, |at| &path[at + 1..]),
            Self::DirectoryAndExtension => Self::Extension.apply(Self::Directory.apply(path)),
            Self::Base => {
                let trimmed = without_slashes(path);
                match memchr::memrchr(b'/', trimmed) {
                    _ if trimmed.is_empty() && !path.is_empty() => b"/",
                    None => b".",
                    Some(at) => match without_slashes(&trimmed[..at]) {
                        b"" => b"/",
                        directory => directory,
                    },
                }
            }
        }
    }
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
    &path[..end]
}

impl<'a> Values<'a> {
    /// What a placeholder stands for, one value for each arg where it stands for all; `None`: it is
    /// plain text.
    fn of(self, place: &Place) -> Result<Option<Vec<Cow<'a, [u8]>>>, String> {
        let one = |value: &'a [u8], cut: Cut| Ok(Some(vec![Cow::Borrowed(cut.apply(value))]));
        let nth = |index: usize| self.args.words.get(index).map_or(&b""[..], AsRef::as_ref);
        match &place.which {
            Which::All => {
                Ok(Some(self.args.all().map(|arg| place.cut.apply(arg).into()).collect()))
            }
            Which::Nth(number) if *number > self.args.words.len() => {
                Err(place.is_beyond(self.args.words.len(), "this job"))
            }
            // `resolve` lets no 0 through.
            Which::Nth(number) => one(nth(number - 1), place.cut),
            Which::Number => Ok(Some(vec![self.seq.to_string().into_bytes().into()])),
            Which::Slot => Ok(Some(vec![self.slot.to_string().into_bytes().into()])),
            Which::Named(name) => match self.args.position(name) {
                Some(index) => one(nth(index), place.cut),
                None => Err(format!(
                    "the placeholder {} is no field of this job; its fields are {}",
                    String::from_utf8_lossy(&place.spelled),
                    list(self.args.names.iter().map(AsRef::as_ref))
                )),
            },
            Which::Perhaps(name) => {
                let (stem, cut) = Cut::of_ending(name);
                match (self.args.position(name), self.args.position(stem)) {
                    (Some(index), _) => one(nth(index), Cut::Nothing),
                    (None, Some(index)) => one(nth(index), cut),
                    (None, None) => Ok(None),
                }
            }
        }
    }

    /// Whether a placeholder stands for args of this job.
    fn uses_args(self, place: &Place) -> bool {
        place.is_arg() || (place.is_uncertain() && matches!(self.of(place), Ok(Some(_))))
    }

    /// All words of a command.
    fn argv(self, words: &[Word], appends: bool) -> Result<Vec<Vec<u8>>, String> {
        let mut argv = Vec::with_capacity(words.len() + self.args.words.len());
        for word in words {
            match word.as_slice() {
                [Piece::Place(place @ Place { which: Which::All, .. })] => {
                    let values = self.of(place)?.unwrap_or_default();
                    argv.extend(values.into_iter().map(Cow::into_owned));
                }
                _ => argv.push(self.one(word)?),
            }
        }
        if appends {
            argv.extend(self.args.all().map(<[u8]>::to_vec));
        }
        Ok(argv)
    }

    /// A word that stays one.
    fn one(self, word: &[Piece]) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        for piece in word {
            match piece {
                Piece::Text(bytes) => text.extend_from_slice(bytes),
                Piece::Place(place) => match self.of(place)? {
                    Some(values) => text.extend(values.join(&b' ')),
                    None => text.extend_from_slice(&place.spelled),
                },
            }
        }
        Ok(text)
    }
}

impl Args<'_> {
    /// Reads JSON as args: the elements of an array, the fields of an object, or one scalar. Strings
    /// are taken as they are, other scalars as their text, nested values as compact JSON.
    ///
    /// # Errors
    /// Why it can't be args: a sentence.
    pub fn from_json(json: &[u8]) -> Result<Args<'static>, String> {
        let not_json = |error: serde_json::Error| {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or(&text);
            format!("the args are not JSON: {what}")
        };
        let text = std::str::from_utf8(json).map_err(|_| "the args are not UTF-8".to_owned())?;
        let mut args = Args::default();
        match text.trim_ascii_start().as_bytes().first() {
            Some(b'[') => {
                let values: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
                for value in values {
                    args.words.push(word_of(value).map_err(not_json)?.into());
                }
            }
            Some(b'{') => {
                let Fields(fields) = serde_json::from_str(text).map_err(not_json)?;
                for (name, value) in fields {
                    args.names.push(name.into_bytes().into());
                    args.words.push(word_of(value).map_err(not_json)?.into());
                }
                args.whole = Some(compact(text).into());
            }
            _ => {
                let value: &RawValue = serde_json::from_str(text).map_err(not_json)?;
                args.words.push(word_of(value).map_err(not_json)?.into());
            }
        }
        Ok(args)
    }

    /// What `{}` stands for, one by one.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        let words = if self.whole.is_some() { &[][..] } else { self.words.as_slice() };
        self.whole.iter().chain(words).map(AsRef::as_ref)
    }

    /// Which arg has a name; the last one counts.
    fn position(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().rposition(|known| known.as_ref() == name)
    }
}

/// The fields of an object in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(String, &RawValue)> = Vec::new();
                let mut places = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match places.get(&name) {
                        // Where it was put, and none is ever taken out.
                        Some(&place) => fields[place] = (name, value),
                        None => {
                            places.insert(name.clone(), fields.len());
                            fields.push((name, value));
                        }
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn word_of(value: &RawValue) -> Result<Vec<u8>, serde_json::Error> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(text).map(String::into_bytes),
        Some(b'[' | b'{') => Ok(compact(text)),
        _ => Ok(text.as_bytes().to_vec()),
    }
}

/// The next text from `from` on that may be a placeholder: where it begins and where it ends, which are
/// within the text, with `from` <= begin < end. With braces it has both of them.
fn next_place(text: &[u8], from: usize, settings: &Settings) -> Option<(usize, usize)> {
    if let Some(replace) = &settings.replace {
        let at = from + memchr::memmem::find(&text[from..], replace)?;
        return Some((at, at + replace.len()));
    }
    let mut begin = from + memchr::memchr(b'{', &text[from..])?;
    loop {
        let next = begin + 1 + memchr::memchr2(b'{', b'}', &text[begin + 1..])?;
        if text[next] == b'}' {
            return Some((begin, next + 1));
        }
        begin = next;
    }
}

/// A word outside of a shell's text.
fn parse(text: &[u8], settings: &Settings) -> Result<Word, String> {
    check_replace(settings)?;
    no_expression(text, settings)?;
    let mut word = Vec::new();
    let (mut done, mut from) = (0, 0);
    while let Some((begin, end)) = next_place(text, from, settings) {
        from = end;
        let is_shells = begin > 0 && text[begin - 1] == b'$';
        if let Some(place) = resolve(&text[begin..end], is_shells, settings)? {
            if begin > done {
                word.push(Piece::Text(text[done..begin].to_vec()));
            }
            word.push(Piece::Place(place));
            done = end;
        }
    }
    if done < text.len() || word.is_empty() {
        word.push(Piece::Text(text[done..].to_vec()));
    }
    Ok(word)
}

fn check_replace(settings: &Settings) -> Result<(), String> {
    match settings.replace.as_ref().is_some_and(Vec::is_empty) {
        true => Err("the placeholder that -I chooses is empty".into()),
        false => Ok(()),
    }
}

/// GNU parallel's expressions in Perl, `{= … =}`, which may have braces of their own.
fn no_expression(text: &[u8], settings: &Settings) -> Result<(), String> {
    let begin = memchr::memmem::find(text, b"{=").filter(|_| settings.replace.is_none());
    let is_shells = |at: usize| at > 0 && text[at - 1] == b'$';
    let Some(begin) = begin.filter(|&at| !is_shells(at)) else { return Ok(()) };
    match memchr::memmem::find(&text[begin + 2..], b"=}") {
        Some(length) => Err(unknown(&text[begin..begin + length + 4])),
        None => Ok(()),
    }
}

/// Why a text can't be left alone that is a placeholder elsewhere.
fn unknown(spelled: &[u8]) -> String {
    format!(
        "the placeholder {} is GNU parallel's, and means nothing here; known are {KNOWN}; to take a \
         name apart in another way, use a shell (sh -c 'echo \"${{0%.gz}}\"' {{}}); if it is meant \
         literally, choose another placeholder with -I STR, then braces mean nothing",
        String::from_utf8_lossy(spelled)
    )
}

/// Whether what stands between braces is a placeholder of GNU parallel's that is none here: `..`,
/// `+/`, `%.gz`, `##` and their like. What other programs have there is left to them: `%s`,
/// `1..3`, `s/a/b/`.
fn is_foreign(inner: &[u8]) -> bool {
    let Ok(inner) = std::str::from_utf8(inner) else { return false };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if inner == "##" || matches!(inner.strip_prefix('0'), Some(rest) if rest.ends_with(['#', '%']))
    {
        return true;
    }
    if let Some(rest) = inner.strip_prefix('+') {
        return !rest.is_empty() && rest.bytes().all(|byte| b"/.".contains(&byte));
    }
    let arg = inner.trim_start_matches(|c: char| c.is_ascii_digit());
    if let Some(rest) = arg.trim_start_matches('/').strip_prefix('%') {
        return is_suffix(rest.trim_start_matches('%')) || rest == "0";
    }
    let stem = inner.strip_suffix("..").map(|stem| stem.trim_end_matches(['/', '.']));
    stem.is_some_and(|stem| stem.is_empty() || is_digits(stem) || is_name(stem.as_bytes()))
}

/// Whether a text is the end of a file's name, and not a format such as `.2f`.
fn is_suffix(text: &str) -> bool {
    let has_end =
        text.len() > 1 && !text.contains(|c: char| c.is_whitespace() || "{}*\"'$".contains(c));
    let digits =
        text.strip_prefix('.').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let is_format = digits.is_some_and(|rest| {
        rest.len() + 1 < text.len() && rest.len() == 1 && "sdiuoxXfFeEgGcaA".contains(rest)
    });
    has_end && text.starts_with(['.', '_']) && !is_format
}

/// What a text that may be a placeholder is; `None`: it is only text. `is_shells`: it may be a variable
/// of a shell's, `${x%.gz}`.
fn resolve(spelled: &[u8], is_shells: bool, settings: &Settings) -> Result<Option<Place>, String> {
    let place = |which, cut| Ok(Some(Place { which, cut, spelled: spelled.to_vec() }));
    if settings.replace.is_some() {
        return place(Which::All, Cut::Nothing);
    }
    // It has its two braces, since `next_place` found it.
    let inner = &spelled[1..spelled.len() - 1];
    let (stem, cut) = Cut::of_ending(inner);
    if !is_shells && is_foreign(inner) {
        return match settings.names {
            // There may be a column of this name.
            Names::Any => place(Which::Named(inner.to_vec()), Cut::Nothing),
            Names::None => Err(unknown(spelled)),
        };
    }
    match stem {
        b"" => place(Which::All, cut),
        b"#" if cut == Cut::Nothing => place(Which::Number, cut),
        b"%" if cut == Cut::Nothing => place(Which::Slot, cut),
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            match number {
                Some(0) => Err(format!(
                    "the placeholder {} stands for nothing: args are counted from 1",
                    String::from_utf8_lossy(spelled)
                )),
                // So many args there are never.
                number => place(Which::Nth(number.unwrap_or(usize::MAX)), cut),
            }
        }
        name if is_name(name) && settings.names == Names::Any => {
            place(Which::Named(name.to_vec()), cut)
        }
        name if is_name(name) => Err(format!(
            "the placeholder {} is unknown; known are {KNOWN}, and names only with --header or \
             --input json; if it is meant literally, choose another placeholder with -I STR, then \
             braces mean nothing",
            String::from_utf8_lossy(spelled)
        )),
        _ if settings.names == Names::Any => place(Which::Perhaps(inner.to_vec()), Cut::Nothing),
        _ => Ok(None),
    }
}

fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.first().is_some_and(|&first| is_letter(first))
        && name.iter().all(|&byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-')
}

impl Script {
    fn new(text: &[u8], settings: &Settings) -> Result<Self, String> {
        check_replace(settings)?;
        no_expression(text, settings)?;
        // A line's end behind the text would make a command of what is appended.
        let text = if settings.stdin { text } else { text.trim_ascii_end() };
        let mut scanner = Scanner::new();
        let mut pieces = Vec::new();
        let (mut done, mut seen, mut from) = (0, 0, 0);
        while let Some((begin, end)) = next_place(text, from, settings) {
            scanner.text(text, seen, begin);
            (seen, from) = (begin, end);
            if let Some((place, quoting)) = place_in_script(&text[begin..end], &scanner, settings)?
            {
                let ends = text.get(end).is_none_or(|next| b" \t\n;&|)<>`".contains(next));
                let is_word = quoting == Quoting::Bare && scanner.begins_word() && ends;
                pieces.push(Part::Text(text[done..begin].to_vec()));
                pieces.push(Part::Place { place, quoting, is_word });
                scanner.value();
                (done, seen) = (end, end);
            }
        }
        scanner.text(text, seen, text.len());
        pieces.push(Part::Text(text[done..].to_vec()));
        Ok(Self { pieces, is_open: scanner.is_open() })
    }

    /// Looks whether args can be appended.
    fn check_open(&self) -> Result<(), String> {
        match self.is_open {
            true => Ok(()),
            false => Err("with --shell the args can't be appended to this text (its end is in a \
                          comment, between quotes, behind a here-document, or no end of a \
                          command): write {} where they belong"
                .into()),
        }
    }

    /// Whether the text may change the positional parameters: by `set`, by `shift`, or in a
    /// function, which has its own.
    fn rebinds(&self) -> bool {
        let signs: [&[u8]; 4] = [b"()", b"set", b"shift", b"function"];
        self.pieces.iter().any(|piece| match piece {
            Part::Text(text) => {
                // Blanks mean nothing to the shell where these signs stand.
                let text: Vec<u8> =
                    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                signs.iter().any(|sign| memchr::memmem::find(&text, sign).is_some())
            }
            Part::Place { .. } => false,
        })
    }

    /// The shell, with its text and what that refers to.
    fn argv(&self, values: Values<'_>, appends: bool) -> Result<Vec<Vec<u8>>, String> {
        let mut pieces: Vec<&Part> = self.pieces.iter().collect();
        let space = Part::Text(b" ".to_vec());
        let all = Place { which: Which::All, cut: Cut::Nothing, spelled: Vec::new() };
        let appended = Part::Place { place: all, quoting: Quoting::Bare, is_word: true };
        if appends {
            self.check_open()?;
            pieces.extend([&space, &appended]);
        }
        let name = if self.rebinds() { VARIABLE } else { "" };
        let mut held = Held { name, ..Held::default() };
        for part in &pieces {
            if let Part::Place { place, is_word, .. } = part {
                held.add(place, *is_word, values)?;
            }
        }
        let mut text = held.bindings();
        for part in &pieces {
            match part {
                Part::Text(bytes) => text.extend_from_slice(bytes),
                Part::Place { place, quoting, is_word } => {
                    held.refer(&mut text, place, *is_word, *quoting);
                }
            }
        }
        let mut argv = shell_argv(&text);
        argv.append(&mut held.parameters);
        Ok(argv)
    }
}

/// The positional parameters of a shell command. What stands for the same is held once.
#[derive(Default)]
struct Held<'a> {
    /// They are bound to variables of this name, with their numbers; empty: they are not.
    name: &'static str,
    parameters: Vec<Vec<u8>>,
    known: Vec<(Key<'a>, Range<usize>)>,
}

/// What a placeholder stands for, and whether each arg is a word.
type Key<'a> = (&'a Which, Cut, bool);

impl<'a> Held<'a> {
    fn key(place: &'a Place, is_word: bool) -> Key<'a> {
        (&place.which, place.cut, is_word && place.which == Which::All)
    }

    fn add(&mut self, place: &'a Place, is_word: bool, values: Values<'_>) -> Result<(), String> {
        let key = Self::key(place, is_word);
        if self.known.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        let Some(found) = values.of(place)? else { return Ok(()) };
        let begin = self.parameters.len() + 1;
        match key {
            (_, _, true) => self.parameters.extend(found.into_iter().map(Cow::into_owned)),
            (_, _, false) => self.parameters.push(found.join(&b' ')),
        }
        self.known.push((key, begin..self.parameters.len() + 1));
        Ok(())
    }

    /// What stands before the text, so that it may refer to variables.
    fn bindings(&self) -> Vec<u8> {
        let name = self.name;
        let count = if name.is_empty() { 0 } else { self.parameters.len() };
        (1..=count).map(|n| format!("{name}{n}=${{{n}}}; ")).collect::<String>().into_bytes()
    }

    fn refer(&self, text: &mut Vec<u8>, place: &Place, is_word: bool, quoting: Quoting) {
        let key = Held::key(place, is_word);
        let Some((_, numbers)) = self.known.iter().find(|(known, _)| *known == key) else {
            return text.extend_from_slice(&place.spelled);
        };
        if key.2 && self.known.len() == 1 && self.name.is_empty() {
            // The text stays short, however many there are.
            return text.extend_from_slice(b"\"$@\"");
        }
        let (before, behind) = quoting.around();
        for number in numbers.clone() {
            if number > numbers.start {
                text.push(b' ');
            }
            let reference = format!("${{{}{number}}}", self.name);
            text.extend([before, reference.as_bytes(), behind].concat());
        }
    }
}

/// What may be a placeholder in the text of a shell command; `None`: it is only text.
fn place_in_script(
    spelled: &[u8],
    scanner: &Scanner,
    settings: &Settings,
) -> Result<Option<(Place, Quoting)>, String> {
    let spot = scanner.spot();
    let is_braced = settings.replace.is_none();
    let is_shells =
        is_braced && spelled.get(1).is_some_and(|&b| b.is_ascii_alphabetic() || b == b'_');
    match spot {
        Ok(Spot::Literal) => return Ok(None),
        Ok(Spot::Dollar) if is_shells => return Ok(None),
        _ => {}
    }
    let is_variable = matches!(spot, Ok(Spot::Dollar));
    let Some(place) = resolve(spelled, is_variable, settings)? else { return Ok(None) };
    // What may stay plain text must not bring quotes into it.
    let is_neutral =
        |&byte: &u8| byte.is_ascii_alphanumeric() || byte > 127 || b" -_.:/+@%,=".contains(&byte);
    if let Which::Perhaps(name) = &place.which
        && (!name.iter().all(is_neutral) || !matches!(spot, Ok(Spot::Value(_))))
    {
        return Ok(None);
    }
    match spot? {
        Spot::Value(quoting) => Ok(Some((place, quoting))),
        _ => {
            let spelled = String::from_utf8_lossy(spelled);
            Err(format!(
                "with --shell ${spelled} is not clear: write \\${spelled} for a dollar sign and \
                 the placeholder {spelled} behind it"
            ))
        }
    }
}

/// A command as a line that can be pasted into a shell.
pub fn command_line(command: &Command) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(cwd) = &command.cwd {
        // What is typed next is to run where it would have run before.
        line.extend_from_slice(b"(cd ");
        if !cwd.as_bytes().starts_with(b"/") && !cwd.as_bytes().starts_with(b".") {
            // It could be an option, or be looked for in CDPATH.
            line.extend_from_slice(b"./");
        }
        line.extend(quote(cwd.as_bytes()));
        line.extend_from_slice(b" && ");
    }
    if !command.env.is_empty() {
        line.extend_from_slice(b"env ");
        for (name, value) in &command.env {
            line.extend(quote(name.as_bytes()));
            line.push(b'=');
            if !value.is_empty() {
                line.extend(quote(value.as_bytes()));
            }
            line.push(b' ');
        }
    }
    for (index, word) in command.argv.iter().enumerate() {
        let word = word.as_bytes();
        if index > 0 {
            line.push(b' ');
        }
        // The first word is also looked at for assignments and for the words of the language.
        match index == 0 && command.env.is_empty() && (word.contains(&b'=') || is_reserved(word)) {
            true => line.extend(in_quotes(word)),
            false => line.extend(quote(word)),
        }
    }
    if command.cwd.is_some() {
        line.push(b')');
    }
    line
}

fn is_reserved(word: &[u8]) -> bool {
    let words = "if then else elif fi do done case esac while until for in time function select \
                 coproc";
    words.split(' ').any(|reserved| reserved.as_bytes() == word)
}

/// A word as a POSIX shell has to be told it, in quotes only if it needs them.
pub fn quote(word: &[u8]) -> Vec<u8> {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"@%_-+:,./=".contains(&byte);
    match !word.is_empty() && word[0] != b'=' && word.iter().all(is_plain) {
        true => word.to_vec(),
        false => in_quotes(word),
    }
}

fn in_quotes(word: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = word.split(|&byte| byte == b'\'').collect();
    [b"'", parts.join(&br"'\''"[..]).as_slice(), b"'"].concat()
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;
    use proptest::prelude::*;

    fn settings(names: Names) -> Settings {
        Settings { shell: false, replace: None, names, stdin: false, env: vec![], cwd: None }
    }

    fn shell() -> Settings {
        Settings { shell: true, ..settings(Names::None) }
    }

    fn args<'a>(words: &[&'a str]) -> Args<'a> {
        Args { words: words.iter().map(|word| word.as_bytes().into()).collect(), ..Args::default() }
    }

    fn of(words: &[Vec<u8>]) -> Args<'_> {
        Args { words: words.iter().map(|word| word.as_slice().into()).collect(), ..Args::default() }
    }

    fn named<'a>(fields: &[(&'a str, &'a str)]) -> Args<'a> {
        Args {
            words: fields.iter().map(|(_, word)| word.as_bytes().into()).collect(),
            names: fields.iter().map(|(name, _)| name.as_bytes().into()).collect(),
            whole: None,
        }
    }

    fn template(words: &[&str], settings: &Settings) -> Result<Template, String> {
        Template::new(&words.iter().map(OsString::from).collect::<Vec<_>>(), settings)
    }

    fn argv(words: &[&str], settings: &Settings, args: &Args<'_>) -> Result<Vec<String>, String> {
        let command = template(words, settings)?.fill(args, 7, 2)?;
        Ok(command.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    fn filled(words: &[&str], of: &[&str]) -> Vec<String> {
        argv(words, &settings(Names::None), &args(of)).expect("a command")
    }

    fn script(text: &str, of: &[&str]) -> Vec<String> {
        argv(&[text], &shell(), &args(of)).expect("a command").split_off(2)
    }

    #[test]
    fn placeholders_of_paths() {
        for (path, expected) in [
            ("d/a.tar.gz", ["d/a.tar.gz", "d/a.tar", "a.tar.gz", "d", "a.tar"]),
            ("a", ["a", "a", "a", ".", "a"]),
            ("", ["", "", "", ".", ""]),
            ("/", ["/", "/", "", "/", ""]),
            ("/a", ["/a", "/a", "a", "/", "a"]),
            ("a//b", ["a//b", "a//b", "b", "a", "b"]),
            ("a/b/", ["a/b/", "a/b/", "", "a", ""]),
            ("a/", ["a/", "a/", "", ".", ""]),
            ("d.e/.f", ["d.e/.f", "d.e/", ".f", "d.e", ""]),
            ("d.e/f.", ["d.e/f.", "d.e/f", "f.", "d.e", "f"]),
            ("/a.b/c", ["/a.b/c", "/a.b/c", "c", "/a.b", "c"]),
            ("a b/-c d.e", ["a b/-c d.e", "a b/-c d", "-c d.e", "a b", "-c d"]),
        ] {
            let words = ["x", "{}", "{.}", "{/}", "{//}", "{/.}"];
            assert_eq!(filled(&words, &[path])[1..], expected, "{path}");
            let words = ["x", "{1}", "{1.}", "{1/}", "{1//}", "{1/.}"];
            assert_eq!(filled(&words, &[path])[1..], expected, "{path}");
        }
    }

    #[test]
    fn placeholders_stand_anywhere() {
        assert_eq!(filled(&["x{}y{}", "{#}-{%}", "{}"], &["a b"]), ["xa bya b", "7-2", "a b"]);
        assert_eq!(filled(&["{}", "x"], &["program"]), ["program", "x"]);
        assert_eq!(filled(&["e", "{a{}b}", "{{}}"], &["1"]), ["e", "{a1b}", "{1}"]);
        assert_eq!(filled(&["e", "{2}", "{1}", "{3}"], &["a", "b", ""]), ["e", "b", "a", ""]);
        let far = "{99999999999999999999999}";
        let beyond = argv(&["e", far], &settings(Names::None), &args(&["a"])).expect_err("too far");
        assert!(beyond.ends_with("stands for nothing: this job has 1 arg"), "{beyond}");
        for text in ["{print $1}", "{\"a\":1}", "{a,b}", "}{", "{", "}", "{1x}", "{-1}", "{ }"] {
            assert_eq!(filled(&["awk", text], &["f"]), ["awk", text, "f"], "{text}");
        }
    }

    #[test]
    fn several_args() {
        assert_eq!(filled(&["e"], &["a", "b"]), ["e", "a", "b"]);
        assert_eq!(filled(&["e", "{#}"], &["a", "b"]), ["e", "7", "a", "b"]);
        assert_eq!(filled(&["e", "{}", "d"], &["a", "b c"]), ["e", "a", "b c", "d"]);
        assert_eq!(filled(&["e", "{.}"], &["a.x", "b.y"]), ["e", "a", "b"]);
        assert_eq!(filled(&["e", "<{.}>"], &["a.x", "b.y"]), ["e", "<a b>"]);
        assert_eq!(filled(&["e", "{}", "<{}>"], &[]), ["e", "<>"]);
        let whole = Args { whole: Some(b"{}".into()), ..named(&[("a", "1"), ("b", "2")]) };
        let settings = settings(Names::Any);
        assert_eq!(argv(&["e"], &settings, &whole), Ok(vec!["e".into(), "{}".into()]));
        let words = ["e", "<{}>", "{}", "{b}{1}"];
        assert_eq!(argv(&words, &settings, &whole).expect("a command")[1..], ["<{}>", "{}", "21"]);
    }

    #[test]
    fn misuse_is_told() {
        for (word, part) in [
            ("{foo}", "{foo} is unknown; known are {} {.}"),
            ("{foo/.}", "-I STR"),
            ("{0}", "counted from 1"),
            ("{0.}", "counted from 1"),
        ] {
            let error = template(&["e", word], &settings(Names::None)).expect_err(word);
            assert!(error.contains(part), "{error}");
        }
        assert!(template(&[], &settings(Names::None)).is_err());
        for wrong in ["A", "=x", ""] {
            let settings = Settings { env: vec![wrong.into()], ..settings(Names::None) };
            assert!(template(&["e"], &settings).expect_err(wrong).contains("NAME=VALUE"));
        }
        let empty = Settings { replace: Some(vec![]), ..settings(Names::None) };
        assert!(template(&["e"], &empty).is_err());
        for (words, of, part) in
            [(["e", "{}"], "a\0b", "NUL"), (["{}", ""], "", "program is empty")]
        {
            let error = argv(&words, &settings(Names::None), &args(&[of])).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn names() {
        let any = settings(Names::Any);
        let words = ["e", "{w}x{f/.}", "{a b}", "{a b/}", "{c d}", "{w"];
        let of = named(&[("w", "0"), ("f", "d/e.f"), ("a b", "x/y"), ("w", "1")]);
        let filled = argv(&words, &any, &of).expect("a command");
        assert_eq!(filled[1..], ["1xe", "x/y", "y", "{c d}", "{w"]);
        let with = template(&words, &any).expect("a template");
        let error = with.check_names(&[b"w".to_vec(), b"v".to_vec()]).expect_err("no f");
        assert!(error.contains("{f/.}") && error.contains("w, v") && error.contains("{//}"));
        assert_eq!(with.check_names(&[b"w".to_vec(), b"f".to_vec()]), Ok(()));
        let error = with.fill(&named(&[("v", "1")]), 1, 1).expect_err("no w");
        assert!(error.contains("{w}") && error.contains("fields are v"), "{error}");
        // What is no placeholder after all leaves the args to be appended.
        assert_eq!(
            argv(&["e", "{a b}"], &any, &named(&[("v", "1")])).expect("")[1..],
            ["{a b}", "1"]
        );
        assert_eq!(argv(&["e", "{a b}"], &any, &named(&[("a b", "1")])).expect("")[1..], ["1"]);
    }

    #[test]
    fn another_placeholder() {
        let settings = Settings { replace: Some(b"X".to_vec()), ..settings(Names::None) };
        let filled = argv(&["e", "aXb{}{foo}{#}", "X"], &settings, &args(&["1", "2"]));
        assert_eq!(filled.expect("a command")[1..], ["a1 2b{}{foo}{#}", "1", "2"]);
        let settings = Settings { shell: true, ..settings };
        let filled = argv(&["e 'X'X {}"], &settings, &args(&["1"])).expect("a command");
        assert_eq!(filled[2], "e ''\"${1}\"''\"${1}\" {}");
    }

    #[test]
    fn environment_and_directory() {
        let env = vec!["A=x{}=".into(), "B=".into(), "C={2}".into()];
        let settings =
            Settings { env, cwd: Some("{1//}".into()), stdin: true, ..settings(Names::None) };
        let with = template(&["ls"], &settings).expect("a template");
        let command = with.fill(&args(&["d/f", "g"]), 1, 1).expect("a command");
        assert_eq!(command.argv, ["ls"]);
        let env = [("A", "xd/f g="), ("B", ""), ("C", "g")];
        assert_eq!(command.env, env.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(command.cwd, Some("d".into()));
        assert_eq!(command_line(&command), b"(cd ./d && env A='xd/f g=' B= C=g ls)");
        let appended = Settings { stdin: false, ..settings };
        assert_eq!(argv(&["ls"], &appended, &args(&["a", "b"])).expect("")[1..], ["a", "b"]);
        let nowhere = Settings { cwd: Some("{3}".into()), ..appended };
        assert!(
            argv(&["ls"], &nowhere, &args(&["a", "b", ""])).expect_err("no cwd").contains("--cwd")
        );
    }

    #[test]
    fn jobs_that_name_their_command() {
        let settings = Settings { env: vec!["A={1}{#}".into()], ..settings(Names::Any) };
        let with = Template::for_jobs(&settings).expect("a template");
        let command = with.fill_job(b"{}", &args(&["a", "b"]), 7, 1).expect("a command");
        assert_eq!(command.argv, ["{}", "a", "b"]);
        assert_eq!(command.env, [("A".into(), "a7".into())]);
        assert!(with.fill_job(b"", &args(&[]), 7, 1).is_err());
        assert!(with.fill_job(b"a\0", &args(&[]), 7, 1).is_err());
        assert!(with.fill(&args(&[]), 7, 1).is_err());
        assert_eq!(with.program(), None);
        let with = Template::for_jobs(&Settings { shell: true, ..settings }).expect("a template");
        let command = with.fill_job(b"-x", &args(&[]), 7, 1).expect("a command");
        assert_eq!(command.argv[2], " -x");
        let command = with.fill_job(b"echo $1", &args(&["a"]), 7, 1).expect("a command");
        assert_eq!(command.argv, ["sh", "-c", "echo $1", "sh", "a"]);
        assert_eq!(with.program(), Some(OsStr::new("sh")));
    }

    #[test]
    fn what_is_the_same_for_all_jobs() {
        let measure = |words: &[&str], settings: &Settings| {
            let with = template(words, settings).expect("a template");
            (with.copies(), with.fixed_size(), with.program().map(OsStr::to_owned))
        };
        let none = settings(Names::None);
        assert_eq!(measure(&["echo", "-n"], &none), (1, 4 + 2 + 18, Some("echo".into())));
        assert_eq!(measure(&["{}", "<{}>"], &none), (2, 2 + 9, None));
        let env = Settings { env: vec!["A={}".into()], stdin: true, ..none.clone() };
        assert_eq!(measure(&["e"], &env), (1, 10, Some("e".into())));
        let (copies, _, program) = measure(&["echo {} '{}'"], &shell());
        assert_eq!((copies, program), (2, Some("sh".into())));
    }

    #[test]
    fn shell_texts() {
        assert_eq!(script("e", &["a", "b"]), ["e \"$@\"", "sh", "a", "b"]);
        assert_eq!(script("e \n", &["a"]), ["e \"$@\"", "sh", "a"]);
        assert_eq!(script("e {} {};", &["a", "b"]), ["e \"$@\" \"$@\";", "sh", "a", "b"]);
        assert_eq!(script("e {}x", &["a", "b"]), ["e \"${1}\"x", "sh", "a b"]);
        assert_eq!(script("e >{}", &["a", "b"]), ["e >\"${1}\"", "sh", "a b"]);
        assert_eq!(
            script("e '{}' {} \"{}\"", &["a", "b"]),
            ["e ''\"${1}\"'' \"${2}\" \"${3}\" \"${1}\"", "sh", "a b", "a", "b"]
        );
        assert_eq!(script("e {#}", &["a"]), ["e \"${1}\" \"${2}\"", "sh", "7", "a"]);
        assert_eq!(
            script("e ${HOME} \\{} # {}'\n e {1}", &["a"])[0],
            "e ${HOME} \\{} # {}'\n e \"${1}\""
        );
        assert_eq!(script("e \"\\${1}\"", &["a"])[0], "e \"\\$${1}\"");
        let joined = argv(&["e", "{}", "x"], &shell(), &args(&["a"])).expect("a command");
        assert_eq!(joined[2], "e \"$@\" x");
        let stdin = Settings { stdin: true, ..shell() };
        let fed = argv(&["e #"], &stdin, &args(&["a"])).expect("a command");
        assert_eq!(fed, ["sh", "-c", "e #", "sh"]);
    }

    #[test]
    fn shell_texts_that_are_misused() {
        for (text, part) in [
            ("e # x", "can't be appended"),
            ("e;", "can't be appended"),
            ("e 'x", "can't be appended"),
            ("cat <<E\nE", "can't be appended"),
            ("e ${1}", "\\${1}"),
            ("e \"${}\"", "\\${}"),
            ("e ${x:-{}}", "variable"),
            ("e $(({}))", "variable"),
            ("cat <<E\n{}\nE", "--stdin"),
            ("e {foo}", "unknown"),
        ] {
            let error = template(&[text], &shell()).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        let any = Settings { names: Names::Any, ..shell() };
        let of = named(&[("a b", "1"), ("n", "2")]);
        let filled = argv(&["e {a b} '{c d}' ${n} ${x:-a b} {n}"], &any, &of).expect("a command");
        assert_eq!(filled[2], "e \"${1}\" '{c d}' ${n} ${x:-a b} \"${2}\"");
        let filled = argv(&["f() { echo \"a; }\"; }; f {n}"], &any, &of).expect("a command");
        let text = "procpool_1=${1}; f() { echo \"a; }\"; }; f \"${procpool_1}\"";
        assert_eq!(filled[2], text);
    }

    #[test]
    fn json_args() {
        let text = |words: &[Cow<'_, [u8]>]| -> Vec<String> {
            words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        let read = |json: &str| {
            let args = Args::from_json(json.as_bytes()).expect("args");
            (text(&args.words), text(&args.names), args.whole.map(|whole| text(&[whole]).remove(0)))
        };
        let array = r#" ["a\n\" b", 1e400, null, 12345678901234567890, {"x": [1, "y \" z"]}]"#;
        let words = ["a\n\" b", "1e400", "null", "12345678901234567890", r#"{"x":[1,"y \" z"]}"#];
        assert_eq!(read(array), (words.map(String::from).to_vec(), vec![], None));
        assert_eq!(read(" 1.0 "), (vec!["1.0".into()], vec![], None));
        assert_eq!(read(r#""\u00e4 b""#), (vec!["ä b".into()], vec![], None));
        let (words, names, whole) = read(r#"{"b": "x y", "a": 2, "b": 3}"#);
        assert_eq!((words, names), (vec!["3".into(), "2".into()], vec!["b".into(), "a".into()]));
        assert_eq!(whole.as_deref(), Some(r#"{"b":"x y","a":2,"b":3}"#));
        for wrong in ["", "[1,]", "{\"a\":1", "a", "[1] 2", r#"["\ud800"]"#] {
            let error = Args::from_json(wrong.as_bytes()).expect_err(wrong);
            assert!(error.contains("not JSON") && !error.contains("line"), "{error}");
        }
        assert!(Args::from_json(b"[\"\xff\"]").is_err());
    }

    #[test]
    fn lines_to_paste() {
        for (argv, line) in [
            (vec!["a", "b c", "", "it's"], r"a 'b c' '' 'it'\''s'"),
            (vec!["A=b", "A=b"], "'A=b' A=b"),
            (vec!["time", "time"], "'time' time"),
            (vec!["~a", "#b", "a\nb"], "'~a' '#b' 'a\nb'"),
        ] {
            let argv = argv.into_iter().map(OsString::from).collect();
            let shown = command_line(&Command { argv, ..Command::default() });
            assert_eq!(String::from_utf8_lossy(&shown), line);
        }
        let command = Command {
            argv: vec!["a".into()],
            env: vec![("B".into(), "c d".into())],
            cwd: Some("-".into()),
        };
        assert_eq!(command_line(&command), b"(cd ./- && env B='c d' a)");
    }

    /// What a command that is run prints, in a directory where it must leave nothing.
    fn output(argv: &[OsString]) -> Vec<u8> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = process::Command::new(&argv[0]);
        let output = command.args(&argv[1..]).current_dir(directory.path()).output();
        let left = directory.path().read_dir().expect("it is there").count();
        assert_eq!(left, 0, "a file was written");
        output.expect("it runs").stdout
    }

    fn with_nul(words: &[Vec<u8>]) -> Vec<u8> {
        words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect()
    }

    fn has_bash() -> bool {
        process::Command::new("bash").arg("-c").arg(":").status().is_ok()
    }

    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            prop::sample::select(b" \t\n'\"\\$`(){};|&<>*?~#-!%=[]/.".to_vec()),
            1_u8..=255
        ];
        let fixed: [&[u8]; 7] = [
            b"$(touch pwned)'\";",
            b"`touch pwned`",
            b"'; touch pwned; '",
            b"\\",
            b"*",
            b"~",
            b"-n",
        ];
        let fixed: Vec<Vec<u8>> = fixed.iter().map(|text| text.to_vec()).collect();
        prop_oneof![prop::sample::select(fixed), prop::collection::vec(byte, 0..8)]
    }

    /// Pieces of a shell command, and what one of them becomes.
    type Expected = fn(&[Vec<u8>]) -> Vec<Vec<u8>>;
    const PIECES: [(&str, Expected); 23] = [
        ("{}", <[Vec<u8>]>::to_vec),
        ("{/}", |words| words.iter().map(|word| Cut::Directory.apply(word).to_vec()).collect()),
        ("x{}y", |words| around("x", words, "y")),
        ("\"{}\"", |words| around("", words, "")),
        ("'{}'", |words| around("", words, "")),
        ("\"it's {}\"", |words| around("it's ", words, "")),
        ("'say \"{}\"'", |words| around("say \"", words, "\"")),
        ("'\\{}'", |words| around("\\", words, "")),
        ("\"\\{}\"", |words| around("\\", words, "")),
        ("\"\\\\{}\"", |words| around("\\", words, "")),
        ("\\\\{}", |words| around("\\", words, "")),
        ("\"\\$({})\"", |words| around("$(", words, ")")),
        ("\"\\${} }\"", |words| around("$", words, " }")),
        ("\"$(printf %s. \"{}\")\"", |words| around("", words, ".")),
        ("\"$(printf %s. '{}')\"", |words| around("", words, ".")),
        ("\"$(printf %s. x{})\"", |words| around("x", words, ".")),
        ("\"`printf %s. x{}`\"", |words| around("x", words, ".")),
        ("\"`printf %s. \"{}\"`\"", |words| around("", words, ".")),
        ("\"$(# it's {}\nprintf %s. '(' x{})\"", |words| around("(.x", words, ".")),
        ("\"$((1 << 2)){}\"", |words| around("4", words, "")),
        ("\\{}", |_| vec![b"{}".to_vec()]),
        ("'{2}'", |words| vec![words[1].clone()]),
        ("{1}{#}\"{%}\"", |words| vec![[words[0].as_slice(), b"72"].concat()]),
    ];

    fn around(before: &str, words: &[Vec<u8>], after: &str) -> Vec<Vec<u8>> {
        vec![[before.as_bytes(), &words.join(&b' '), after.as_bytes()].concat()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arguments_are_what_the_template_says(words in prop::collection::vec(nasty(), 0..4)) {
            let template = template(&["printf", "%s\\0", "{}", "<{}>"], &settings(Names::None));
            let command = template.expect("a template").fill(&of(&words), 1, 1).expect("a command");
            let expected = [words.clone(), around("<", &words, ">")].concat();
            prop_assert_eq!(output(&command.argv), with_nul(&expected));
        }

        #[test]
        fn a_shell_takes_nothing_of_them_for_its_own(
            words in prop::collection::vec(nasty(), 2..4),
            pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 1..8),
        ) {
            let texts: Vec<&str> = pieces.iter().map(|(text, _)| *text).collect();
            let text = format!("printf '%s\\0' s {} # {{}} '", texts.join(" "));
            // It ends in a comment, where nothing could be appended.
            let stdin = Settings { stdin: true, ..shell() };
            let template = template(&[&text], &stdin).expect("a template");
            let mut argv = template.fill(&of(&words), 7, 2).expect("a command").argv;
            let expected: Vec<_> = pieces.iter().flat_map(|(_, expected)| expected(&words)).collect();
            let expected = with_nul(&[vec![b"s".to_vec()], expected].concat());
            prop_assert_eq!(&output(&argv), &expected, "{}", argv[2].to_string_lossy());
            if has_bash() {
                argv[0] = "bash".into();
                prop_assert_eq!(output(&argv), expected, "{}", argv[2].to_string_lossy());
            }
        }

        #[test]
        fn args_are_appended_to_a_shell_command(words in prop::collection::vec(nasty(), 0..4)) {
            let template = template(&["printf", "'%s\\0'", "s"], &shell()).expect("a template");
            let command = template.fill(&of(&words), 1, 1).expect("a command");
            let expected = [vec![b"s".to_vec()], words.clone()].concat();
            prop_assert_eq!(output(&command.argv), with_nul(&expected));
        }

        #[test]
        fn a_shell_reads_quoted_words_back(words in prop::collection::vec(nasty(), 1..4)) {
            let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
            let script = [b"printf '%s\\0' ", quoted.join(&b' ').as_slice()].concat();
            let argv = ["sh".into(), "-c".into(), OsString::from_vec(script)];
            prop_assert_eq!(output(&argv), with_nul(&words));
        }

        #[test]
        fn a_shell_runs_what_it_is_shown(words in prop::collection::vec(nasty(), 1..4)) {
            let words: Vec<_> = words.into_iter().map(OsString::from_vec).collect();
            let head = ["printf", "%s\\0%s\\0"].map(OsString::from);
            let env = vec![("A".into(), words[0].clone())];
            let mut argv = head.to_vec();
            argv.extend(words.clone());
            let line = command_line(&Command { argv: argv.clone(), env, cwd: Some("/".into()) });
            let shown = ["sh".into(), "-c".into(), OsString::from_vec(line)];
            prop_assert_eq!(output(&shown), output(&argv));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "([{}./#%0-9a-c\"'$()`<>\\\\ \n]|\\{\\}|[$]\\(\\(|<<|\\$'|case )\
                     {0,16}",
            shell in any::<bool>(),
            stdin in any::<bool>(),
            any in any::<bool>(),
            replace in prop::option::of("[{}a$\"]{1,2}"),
        ) {
            let names = if any { Names::Any } else { Names::None };
            let replace = replace.map(String::into_bytes);
            let settings = Settings { shell, stdin, replace, ..settings(names) };
            if let Ok(template) = template(&["e", &text], &settings) {
                let _ = (template.copies(), template.fixed_size(), template.program());
                let _ = template.check_names(&[b"a".to_vec()]);
                let _ = template.fill(&named(&[("a", "x"), ("a b", "y")]), 1, 1);
                let _ = template.fill(&args(&[]), 1, 1);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Args::from_json(&bytes);
            for shell in [false, true] {
                let settings = Settings { shell, ..settings(Names::Any) };
                if let Ok(with) = Template::new(&[OsString::from_vec(bytes.clone())], &settings) {
                    let _ = with.fill(&of(std::slice::from_ref(&bytes)), 1, 1);
                }
            }
        }
    }
}
