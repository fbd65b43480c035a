//! The command of a job, with placeholders. Each stays within one argument, whatever it stands for.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::shell::{Quoting, Scanner};

/// What is known besides names, for messages.
const KNOWN: &str = "{} {.} {/} {//} {/.} {1} {1.} {1/} {1//} {1/.} {#} {%}";

/// What placeholders are called in a shell command, with their numbers, where positional parameters
/// may change.
const VARIABLE: &str = "procpool_";

/// The args of one job, as a template sees them.
#[derive(Clone, Debug, Default)]
pub struct Args<'a> {
    /// The args, in order.
    pub words: Vec<Cow<'a, [u8]>>,
    /// Their names, as far as they have any, in the same order.
    pub names: Vec<Cow<'a, [u8]>>,
    /// What `{}` stands for where that is not the words one by one.
    pub whole: Option<Cow<'a, [u8]>>,
}

/// Which names placeholders may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// There are none.
    None,
    /// Any: which ones there are is known later.
    Any,
}

/// How a template is to be understood.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The words are the text of a shell command.
    pub shell: bool,
    /// Stands for `{}`; then there is no other placeholder.
    pub replace: Option<Vec<u8>>,
    /// Which names placeholders may use.
    pub names: Names,
    /// The args are fed to stdin, so none are appended.
    pub stdin: bool,
    /// Variables, `NAME=VALUE` each.
    pub env: Vec<OsString>,
    /// The directory to run in.
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
    words: Vec<Word>,
    /// The words are the text of a shell command.
    shell: Option<Vec<ShellPiece>>,
    is_shell: bool,
    env: Vec<(OsString, Word)>,
    cwd: Option<Word>,
    /// Args that no placeholder stands for are appended.
    appends: bool,
}

type Word = Vec<Piece>;

#[derive(Clone, Debug)]
enum Piece {
    Text(Vec<u8>),
    Place(Place),
}

/// A placeholder.
#[derive(Clone, Debug)]
struct Place {
    which: Which,
    trim: Trim,
    /// How it was written.
    spelled: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    All,
    /// From 1.
    Nth(usize),
    Named(Vec<u8>),
    /// A name if there is one like it, otherwise plain text.
    Perhaps(Vec<u8>),
    Number,
    Slot,
}

/// What is cut off a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trim {
    Nothing,
    Extension,
    Directory,
    DirectoryAndExtension,
    Name,
}

/// A piece of the text of a shell command.
#[derive(Clone, Debug)]
enum ShellPiece {
    Text(Vec<u8>),
    /// A placeholder. One that is a `word` by itself may become several.
    Place {
        place: Place,
        quoting: Quoting,
        word: bool,
    },
}

/// A job, as placeholders see it.
struct Values<'a> {
    args: &'a Args<'a>,
    seq: u64,
    slot: usize,
}

impl Template {
    /// Reads the words of a command.
    ///
    /// # Errors
    /// How they are misused: a sentence.
    pub fn new(words: &[OsString], settings: &Settings) -> Result<Self, String> {
        let parse = |word: &OsString| parse(word.as_bytes(), settings);
        let env = settings.env.iter().map(|text| {
            let at = memchr::memchr(b'=', text.as_bytes()).filter(|&at| at > 0);
            let at = at.ok_or_else(|| {
                format!("--env takes NAME=VALUE, not '{}'", text.to_string_lossy())
            })?;
            let (name, value) = text.as_bytes().split_at(at);
            let value = super::template::parse(&value[1..], settings)?;
            Ok::<_, String>((OsStr::from_bytes(name).to_owned(), value))
        });
        let mut template = Self {
            words: words.iter().map(parse).collect::<Result<_, _>>()?,
            shell: None,
            is_shell: settings.shell,
            env: env.collect::<Result<_, _>>()?,
            cwd: settings.cwd.as_ref().map(parse).transpose()?,
            appends: !settings.stdin,
        };
        if settings.shell && !words.is_empty() {
            template.shell = Some(shell_text(&template.words)?);
        }
        Ok(template)
    }

    /// A template for jobs that name their commands themselves.
    ///
    /// # Errors
    /// As of [`Template::new`].
    pub fn for_jobs(settings: &Settings) -> Result<Self, String> {
        Self::new(&[], settings)
    }

    /// Looks whether a header has the names that placeholders use.
    ///
    /// # Errors
    /// Which one it has not, and which there are.
    pub fn check_names(&self, names: &[Vec<u8>]) -> Result<(), String> {
        for place in self.places() {
            if let Which::Named(name) = &place.which
                && !names.contains(name)
            {
                let names: Vec<_> = names.iter().map(|n| String::from_utf8_lossy(n)).collect();
                return Err(format!(
                    "there is no column '{}' for the placeholder {}; the header has {}; always \
                     known are {KNOWN}",
                    String::from_utf8_lossy(name),
                    String::from_utf8_lossy(&place.spelled),
                    names.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let words = self.words.iter().chain(self.env.iter().map(|(_, value)| value));
        words.chain(&self.cwd).flatten().filter_map(|piece| match piece {
            Piece::Place(place) => Some(place),
            Piece::Text(_) => None,
        })
    }

    /// The command for a job.
    ///
    /// # Errors
    /// Why there is none: a phrase.
    pub fn fill(&self, args: &Args<'_>, seq: u64, slot: usize) -> Result<Command, String> {
        let values = Values { args, seq, slot };
        let argv = match &self.shell {
            Some(text) => self.shell_argv(text, &values)?,
            None => self.argv(&values)?,
        };
        self.complete(argv, &values)
    }

    /// The command of a job that names it: `cmd` is the program or, with a shell, the text.
    ///
    /// # Errors
    /// Why there is none: a phrase.
    pub fn fill_job(
        &self,
        cmd: &[u8],
        args: &Args<'_>,
        seq: u64,
        slot: usize,
    ) -> Result<Command, String> {
        let mut argv: Vec<Vec<u8>> = match self.is_shell {
            true => vec![b"sh".to_vec(), b"-c".to_vec(), cmd.to_vec(), b"sh".to_vec()],
            false => vec![cmd.to_vec()],
        };
        if self.appends {
            argv.extend(args.all().map(<[u8]>::to_vec));
        }
        self.complete(argv, &Values { args, seq, slot })
    }

    fn complete(&self, argv: Vec<Vec<u8>>, values: &Values<'_>) -> Result<Command, String> {
        let text = |bytes: Vec<u8>| match bytes.contains(&0) {
            true => Err("an argument has a NUL byte, which no program can be given".to_owned()),
            false => Ok(OsString::from_vec(bytes)),
        };
        if argv.first().is_none_or(Vec::is_empty) {
            return Err("the command is empty".into());
        }
        let env = self
            .env
            .iter()
            .map(|(name, value)| Ok::<_, String>((name.clone(), text(values.word(value)?)?)));
        Ok(Command {
            env: env.collect::<Result<_, _>>()?,
            cwd: self.cwd.as_ref().map(|cwd| text(values.word(cwd)?)).transpose()?,
            argv: argv.into_iter().map(text).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a placeholder of the words stands for args.
    fn uses(&self, args: &Args<'_>) -> bool {
        self.words.iter().flatten().any(|piece| match piece {
            Piece::Place(Place { which: Which::Number | Which::Slot, .. }) | Piece::Text(_) => {
                false
            }
            Piece::Place(Place { which: Which::Perhaps(name), .. }) => args.named(name).is_some(),
            Piece::Place(_) => true,
        })
    }

    fn argv(&self, values: &Values<'_>) -> Result<Vec<Vec<u8>>, String> {
        let mut argv = Vec::with_capacity(self.words.len() + values.args.words.len());
        for word in &self.words {
            match word.as_slice() {
                [Piece::Place(Place { which: Which::All, trim, .. })] => {
                    argv.extend(values.args.all().map(|arg| trim.of(arg).to_vec()));
                }
                word => argv.push(values.word(word)?),
            }
        }
        if self.appends && !self.uses(values.args) {
            argv.extend(values.args.all().map(<[u8]>::to_vec));
        }
        Ok(argv)
    }

    /// The arguments of `sh`: the text refers to what the placeholders stand for by number.
    fn shell_argv(
        &self,
        pieces: &[ShellPiece],
        values: &Values<'_>,
    ) -> Result<Vec<Vec<u8>>, String> {
        let (mut text, mut parameters) = (Vec::new(), Vec::new());
        let name = if rebinds(pieces) { VARIABLE } else { "" };
        let mut refer = |text: &mut Vec<u8>, value: Vec<u8>, quoting: Quoting| {
            parameters.push(value);
            let number = parameters.len();
            let reference = match quoting {
                Quoting::Double => format!("${{{name}{number}}}"),
                Quoting::Single => format!("'\"${{{name}{number}}}\"'"),
                Quoting::Bare | Quoting::Comment => format!("\"${{{name}{number}}}\""),
            };
            text.extend_from_slice(reference.as_bytes());
        };
        for piece in pieces {
            match piece {
                ShellPiece::Text(more) => text.extend_from_slice(more),
                ShellPiece::Place { place, word: true, .. } if place.which == Which::All => {
                    for (index, arg) in values.args.all().enumerate() {
                        if index > 0 {
                            text.push(b' ');
                        }
                        refer(&mut text, place.trim.of(arg).to_vec(), Quoting::Bare);
                    }
                }
                ShellPiece::Place { place, quoting, .. } => match &place.which {
                    Which::Perhaps(name) if values.args.named(name).is_none() => {
                        text.extend_from_slice(&place.spelled);
                    }
                    _ => refer(&mut text, values.place(place)?, *quoting),
                },
            }
        }
        if self.appends && !self.uses(values.args) {
            for arg in values.args.all() {
                text.push(b' ');
                refer(&mut text, arg.to_vec(), Quoting::Bare);
            }
        }
        if !name.is_empty() {
            let bind = |number: usize| format!("{name}{number}=${{{number}}}; ");
            let mut bound = (1..=parameters.len()).map(bind).collect::<String>().into_bytes();
            bound.append(&mut text);
            text = bound;
        }
        let head = [b"sh".to_vec(), b"-c".to_vec(), text, b"sh".to_vec()];
        Ok(head.into_iter().chain(parameters).collect())
    }

    /// The program, if it is the same for every job.
    pub fn program(&self) -> Option<&OsStr> {
        if self.is_shell {
            return Some(OsStr::new("sh"));
        }
        match self.words.first()?.as_slice() {
            [Piece::Text(program)] => Some(OsStr::from_bytes(program)),
            _ => None,
        }
    }

    /// Whether a program is found where it is for procpool itself: in the same `PATH`, and from the
    /// same directory.
    pub fn finds_as_we_do(&self, program: &OsStr) -> bool {
        let program = program.as_bytes();
        let is_path = program.contains(&b'/');
        let has_path = self.env.iter().any(|(name, _)| name == "PATH");
        // The shell is ours, not one of those that the command finds.
        self.is_shell || if is_path { self.cwd.is_none() || program[0] == b'/' } else { !has_path }
    }

    /// How often all args stand in a command.
    pub fn copies(&self) -> usize {
        let all = |piece: &&Piece| matches!(piece, Piece::Place(Place { which: Which::All, .. }));
        let in_words = self.words.iter().flatten().filter(all).count();
        let in_env = self.env.iter().flat_map(|(_, value)| value).filter(all).count();
        in_env + if self.appends { in_words.max(1) } else { in_words }
    }

    /// Whether all args stand together in one argument or variable, which may not be as long as all
    /// arguments together. In the text of a shell command each is referred to.
    pub fn joins(&self) -> bool {
        let is_all = |piece: &Piece| matches!(piece, Piece::Place(Place { which: Which::All, .. }));
        let mut single = self.env.iter().map(|(_, value)| value).chain(&self.cwd);
        self.is_shell
            || self.words.iter().any(|word| word.len() > 1 && word.iter().any(is_all))
            || single.any(|word| word.iter().any(is_all))
    }

    /// How many bytes of the arguments are the same for every job, with their ends and pointers.
    pub fn fixed_size(&self) -> usize {
        let pointer = size_of::<usize>();
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            // Numbers are short.
            Piece::Place(_) => 20,
        };
        let size = |word: &Word| word.iter().map(text).sum::<usize>() + 1 + pointer;
        self.words.iter().map(size).sum::<usize>() + 4 * pointer
    }
}

impl<'a> Args<'a> {
    /// The args of a job that are JSON: each element of an array, each field of an object, or the
    /// value itself. Strings are taken as they are, other values as JSON.
    ///
    /// # Errors
    /// A string can't be written as UTF-8, or it is no JSON: a phrase.
    pub fn from_json(json: &[u8]) -> Result<Args<'static>, String> {
        let text = std::str::from_utf8(json).map_err(|error| error.to_string())?.trim();
        let broken = |error: serde_json::Error| format!("the args can't be read: {error}");
        if text.starts_with('{') {
            let Fields(fields) = serde_json::from_str(text).map_err(broken)?;
            let mut args = Args { whole: Some(compact(text).into()), ..Args::default() };
            for (name, value) in fields {
                args.names.push(name.into_bytes().into());
                args.words.push(word(value)?.into());
            }
            return Ok(args);
        }
        let values: Vec<&RawValue> = match text.starts_with('[') {
            true => serde_json::from_str(text).map_err(broken)?,
            false => vec![serde_json::from_str(text).map_err(broken)?],
        };
        let words = values.into_iter().map(|value| Ok(word(value)?.into()));
        Ok(Args { words: words.collect::<Result<_, String>>()?, ..Args::default() })
    }

    /// What `{}` stands for, one by one.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        let words = if self.whole.is_some() { &[][..] } else { &self.words };
        self.whole.iter().chain(words).map(AsRef::as_ref)
    }

    fn named(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.names.iter().position(|known| **known == *name)?;
        self.words.get(at).map(AsRef::as_ref)
    }
}

/// The fields of an object in their order; of equal ones the last counts.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match fields.iter_mut().find(|(known, _)| *known == name) {
                        Some(field) => field.1 = value,
                        None => fields.push((name, value)),
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A JSON value as an argument.
fn word(value: &RawValue) -> Result<Vec<u8>, String> {
    match value.get().starts_with('"') {
        true => serde_json::from_str::<String>(value.get())
            .map(String::into_bytes)
            .map_err(|error| format!("a string of the args is no text: {error}")),
        false => Ok(compact(value.get())),
    }
}

/// JSON without the space between its parts.
fn compact(json: &str) -> Vec<u8> {
    let (mut in_string, mut is_escaped) = (false, false);
    let keep = |byte: &u8| {
        if in_string {
            (in_string, is_escaped) = match (is_escaped, *byte) {
                (false, b'"') => (false, false),
                (false, b'\\') => (true, true),
                _ => (true, false),
            };
            return true;
        }
        in_string = *byte == b'"';
        !byte.is_ascii_whitespace()
    };
    json.bytes().filter(keep).collect()
}

impl Values<'_> {
    /// One argument.
    fn word(&self, word: &[Piece]) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for piece in word {
            match piece {
                Piece::Text(text) => bytes.extend_from_slice(text),
                Piece::Place(place) => bytes.extend(self.place(place)?),
            }
        }
        Ok(bytes)
    }

    /// What a placeholder stands for, as one piece of text.
    fn place(&self, place: &Place) -> Result<Vec<u8>, String> {
        let arg = match &place.which {
            Which::All => {
                let all: Vec<&[u8]> = self.args.all().map(|arg| place.trim.of(arg)).collect();
                return Ok(all.join(&b' '));
            }
            // One that is not there is empty.
            Which::Nth(number) => {
                self.args.words.get(number - 1).map_or(&[][..], |word| word.as_ref())
            }
            Which::Named(name) => {
                self.args.named(name).ok_or_else(|| self.no_field(name, &place.spelled))?
            }
            Which::Perhaps(name) => self.args.named(name).unwrap_or(&place.spelled),
            Which::Number => return Ok(self.seq.to_string().into_bytes()),
            Which::Slot => return Ok(self.slot.to_string().into_bytes()),
        };
        Ok(place.trim.of(arg).to_vec())
    }

    fn no_field(&self, name: &[u8], spelled: &[u8]) -> String {
        let text = String::from_utf8_lossy;
        let names: Vec<_> = self.args.names.iter().map(|name| text(name)).collect();
        let names = match names.as_slice() {
            [] => "they have no names".to_owned(),
            names => format!("they have {}", names.join(", ")),
        };
        format!("its args have no field '{}' for {}; {names}", text(name), text(spelled))
    }
}

impl Trim {
    /// What is left of a path.
    fn of(self, path: &[u8]) -> &[u8] {
        match self {
            Self::Nothing => path,
            Self::Extension => without_extension(path),
            Self::Directory => base(path),
            Self::DirectoryAndExtension => without_extension(base(path)),
            Self::Name => directory(path),
        }
    }
}

fn without_extension(path: &[u8]) -> &[u8] {
    match memchr::memrchr2(b'.', b'/', path) {
        Some(at) if path[at] == b'.' => &path[..at],
        _ => path,
    }
}

fn base(path: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', path).map_or(path, |at| &path[at + 1..])
}

/// As `dirname` says it.
fn directory(path: &[u8]) -> &[u8] {
    let without_slashes =
        |path: &[u8]| path.iter().rposition(|&byte| byte != b'/').map(|at| at + 1);
    let Some(end) = without_slashes(path) else {
        return if path.is_empty() { b"." } else { b"/" };
    };
    let Some(slash) = memchr::memrchr(b'/', &path[..end]) else { return b"." };
    without_slashes(&path[..slash]).map_or(b"/", |end| &path[..end])
}

/// Reads a word with placeholders.
fn parse(word: &[u8], settings: &Settings) -> Result<Word, String> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = word;
    while let Some((before, spelled, place)) = find(rest, settings)? {
        text.extend_from_slice(&rest[..before]);
        rest = &rest[before + spelled.len()..];
        match place {
            None => text.extend_from_slice(spelled),
            Some((which, trim)) => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                let spelled = spelled.to_vec();
                pieces.push(Piece::Place(Place { which, trim, spelled }));
            }
        }
    }
    text.extend_from_slice(rest);
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// A place, how it is written, and what it stands for; `None`: it is only text.
type Found<'a> = (usize, &'a [u8], Option<(Which, Trim)>);

/// Finds the first placeholder, or what looks like one.
fn find<'a>(text: &'a [u8], settings: &Settings) -> Result<Option<Found<'a>>, String> {
    if let Some(replace) = settings.replace.as_ref().filter(|replace| *replace != b"{}") {
        let at = memchr::memmem::find(text, replace).filter(|_| !replace.is_empty());
        return Ok(
            at.map(|at| (at, &text[at..at + replace.len()], Some((Which::All, Trim::Nothing))))
        );
    }
    let Some(end) = memchr::memchr(b'}', text) else { return Ok(None) };
    let Some(open) = memchr::memrchr(b'{', &text[..end]) else {
        // A closing brace alone.
        return Ok(Some((0, &text[..=end], None)));
    };
    let place = classify(&text[open + 1..end], settings)?;
    Ok(Some((open, &text[open..=end], place)))
}

/// What stands between braces; `None`: plain text.
fn classify(inner: &[u8], settings: &Settings) -> Result<Option<(Which, Trim)>, String> {
    const TRIMS: [(&[u8], Trim); 4] = [
        (b"/.", Trim::DirectoryAndExtension),
        (b"//", Trim::Name),
        (b"/", Trim::Directory),
        (b".", Trim::Extension),
    ];
    let trimmed = TRIMS.iter().find_map(|(end, trim)| Some((inner.strip_suffix(*end)?, *trim)));
    let (name, trim) = trimmed.unwrap_or((inner, Trim::Nothing));
    let which = match name {
        b"" => Which::All,
        b"#" if trim == Trim::Nothing => Which::Number,
        b"%" if trim == Trim::Nothing => Which::Slot,
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            match number {
                Some(0) => return Err("{0} stands for nothing: args are counted from 1".into()),
                Some(number) => Which::Nth(number),
                None => return Ok(None),
            }
        }
        name if is_name(name) && settings.names == Names::Any => Which::Named(name.to_vec()),
        name if is_name(name) => {
            return Err(format!(
                "the placeholder {{{}}} is unknown; known are {KNOWN}, and the names of columns \
                 (--header) or fields (--input json); to have braces mean nothing, choose another \
                 placeholder with -I STR",
                String::from_utf8_lossy(inner)
            ));
        }
        _ if settings.names == Names::Any => {
            return Ok(Some((Which::Perhaps(inner.to_vec()), Trim::Nothing)));
        }
        _ => return Ok(None),
    };
    Ok(Some((which, trim)))
}

fn is_name(name: &[u8]) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.first().is_some_and(|&byte| is_letter(byte))
        && name.iter().all(|&byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-')
}

/// The words as the text of a shell command, with the quoting of each placeholder.
fn shell_text(words: &[Word]) -> Result<Vec<ShellPiece>, String> {
    let space = Piece::Text(b" ".to_vec());
    let pieces: Vec<&Piece> = words
        .iter()
        .enumerate()
        .flat_map(|(index, word)| (index > 0).then_some(&space).into_iter().chain(word))
        .collect();
    let mut scanner = Scanner::default();
    let mut text = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(bytes) => {
                scanner.text(bytes);
                text.push(ShellPiece::Text(bytes.clone()));
            }
            Piece::Place(place) => {
                let (quoting, is_escaped) = scanner.place()?;
                match (quoting, is_escaped) {
                    // The brace was meant for the shell.
                    (Quoting::Bare, true) | (Quoting::Comment, _) => {
                        text.push(ShellPiece::Text(place.spelled.clone()));
                        continue;
                    }
                    // Before a brace it is only a backslash, before a dollar sign it would be more.
                    (Quoting::Double, true) => text.push(ShellPiece::Text(b"\\".to_vec())),
                    _ => {}
                }
                let is_end = |piece: Option<&&Piece>, first: bool| match piece {
                    None => true,
                    Some(Piece::Place(_)) => false,
                    Some(Piece::Text(bytes)) => {
                        let byte = if first { bytes.first() } else { bytes.last() };
                        byte.is_some_and(|byte| b" \t\n;|&()<>".contains(byte))
                    }
                };
                let before = index.checked_sub(1).and_then(|before| pieces.get(before));
                let word = quoting == Quoting::Bare
                    && is_end(before, false)
                    && is_end(pieces.get(index + 1), true);
                text.push(ShellPiece::Place { place: place.clone(), quoting, word });
            }
        }
    }
    Ok(text)
}

/// Whether a shell command may change its positional parameters: by `set`, by `shift`, or in a
/// function, which has its own.
fn rebinds(pieces: &[ShellPiece]) -> bool {
    let signs: [&[u8]; 4] = [b"()", b"set ", b"shift", b"function "];
    pieces.iter().any(|piece| match piece {
        ShellPiece::Text(text) => {
            signs.iter().any(|sign| memchr::memmem::find(text, sign).is_some())
        }
        ShellPiece::Place { .. } => false,
    })
}

/// A command line as it can be typed into a shell.
pub fn command_line(command: &Command) -> Vec<u8> {
    let mut line = Vec::new();
    if let Some(cwd) = &command.cwd {
        // What is typed next is to run where it would have run before.
        line.extend_from_slice(b"(cd ");
        // Otherwise it could be an option, or be looked for in CDPATH.
        let is_plain = cwd.as_bytes().starts_with(b"/") || cwd.as_bytes().starts_with(b".");
        let dot = if is_plain { &b""[..] } else { b"./" };
        line.extend(quote(&[dot, cwd.as_bytes()].concat()));
        line.extend_from_slice(b" && ");
    }
    if !command.env.is_empty() {
        line.extend_from_slice(b"env ");
        for (name, value) in &command.env {
            line.extend(quote(&[name.as_bytes(), b"=", value.as_bytes()].concat()));
            line.push(b' ');
        }
    }
    let words = command.argv.iter().enumerate().map(|(index, word)| match word.as_bytes() {
        // A program with such a name is meant, not what it means to the shell.
        program if index == 0 && has_meaning(program) => [b"'", program, b"'"].concat(),
        word => quote(word),
    });
    line.extend(words.collect::<Vec<_>>().join(&b' '));
    if command.cwd.is_some() {
        line.push(b')');
    }
    line
}

/// Whether a plain word is no program to a shell, where a command begins.
fn has_meaning(word: &[u8]) -> bool {
    const RESERVED: [&[u8]; 15] = [
        b"if",
        b"then",
        b"else",
        b"elif",
        b"fi",
        b"do",
        b"done",
        b"case",
        b"esac",
        b"while",
        b"until",
        b"for",
        b"in",
        b"function",
        b"time",
    ];
    quote(word) == word && (RESERVED.contains(&word) || word.contains(&b'='))
}

/// A word as a shell reads it back.
pub fn quote(word: &[u8]) -> Vec<u8> {
    let is_plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"@%_-+:,./=".contains(&byte);
    if !word.is_empty() && word.iter().all(is_plain) && word[0] != b'=' {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;
    use proptest::prelude::*;

    fn settings(names: Names) -> Settings {
        Settings { shell: false, replace: None, names, stdin: false, env: vec![], cwd: None }
    }

    fn args<'a>(words: &[&'a str]) -> Args<'a> {
        Args { words: words.iter().map(|word| word.as_bytes().into()).collect(), ..Args::default() }
    }

    fn template(words: &[&str], settings: &Settings) -> Result<Template, String> {
        Template::new(&words.iter().map(OsString::from).collect::<Vec<_>>(), settings)
    }

    fn filled(words: &[&str], of: &[&str]) -> Vec<String> {
        let template = template(words, &settings(Names::None)).expect("a template");
        let command = template.fill(&args(of), 7, 2).expect("a command");
        command.argv.into_iter().map(|word| word.into_string().expect("UTF-8")).collect()
    }

    #[test]
    fn placeholders_of_paths() {
        for (path, expected) in [
            ("d/a.tar.gz", ["d/a.tar.gz", "d/a.tar", "a.tar.gz", "d", "a.tar"]),
            ("a", ["a", "a", "a", ".", "a"]),
            ("/a.b/c", ["/a.b/c", "/a.b/c", "c", "/a.b", "c"]),
            ("/a", ["/a", "/a", "a", "/", "a"]),
            ("a b/-c d.e", ["a b/-c d.e", "a b/-c d", "-c d.e", "a b", "-c d"]),
        ] {
            let words = ["{}", "{.}", "{/}", "{//}", "{/.}"];
            assert_eq!(filled(&words, &[path]), expected, "{path}");
            let words = ["{1}", "{1.}", "{1/}", "{1//}", "{1/.}"];
            assert_eq!(filled(&words, &[path]), expected, "{path}");
        }
    }

    #[test]
    fn placeholders_stand_anywhere() {
        assert_eq!(filled(&["x{}y{}", "{#}-{%}", "{}"], &["a b"]), ["xa bya b", "7-2", "a b"]);
        assert_eq!(filled(&["echo"], &["a", "b"]), ["echo", "a", "b"]);
        assert_eq!(filled(&["echo", "{#}"], &["a"]), ["echo", "7", "a"]);
        assert_eq!(filled(&["echo", "{2}", "{1}", "{3}"], &["a", "b"]), ["echo", "b", "a", ""]);
        assert_eq!(filled(&["cp", "{}", "d"], &["a", "b"]), ["cp", "a", "b", "d"]);
        assert_eq!(filled(&["cp", "<{.}>"], &["a.x", "b.y"]), ["cp", "<a b>"]);
        assert_eq!(filled(&["{}", "x"], &["prog"]), ["prog", "x"]);
        for text in ["{print $1}", "{\"a\":1}", "{a,b}", "}{", "{", "}", "{1x}"] {
            assert_eq!(filled(&["awk", text], &["f"]), ["awk", text, "f"], "{text}");
        }
    }

    #[test]
    fn names_are_known_or_an_error() {
        let error = template(&["echo", "{foo}"], &settings(Names::None)).expect_err("unknown");
        assert!(
            error.contains("{foo}") && error.contains("{//}") && error.contains("-I"),
            "{error}"
        );
        assert!(template(&["echo", "{0}"], &settings(Names::None)).is_err());
        let named = template(&["echo", "{w}x{f/.}", "{a b}", "{c d}"], &settings(Names::Any));
        let named = named.expect("a template");
        let error = named.check_names(&[b"w".to_vec()]).expect_err("f is not there");
        assert!(error.contains("'f'") && error.contains("the header has w"), "{error}");
        let mut of = args(&["1", "d/e.f", "3"]);
        of.names = ["w", "f", "a b"].map(|name| name.as_bytes().into()).to_vec();
        let command = named.fill(&of, 1, 1).expect("a command");
        assert_eq!(command.argv, ["echo", "1xe", "3", "{c d}"]);
        let error = named.fill(&args(&["1"]), 1, 1).expect_err("no names");
        assert!(error.contains("no field 'w'"), "{error}");
    }

    #[test]
    fn another_placeholder() {
        let settings = Settings { replace: Some(b"X".to_vec()), ..settings(Names::None) };
        let template = template(&["echo", "aXb{}{foo}"], &settings).expect("a template");
        let command = template.fill(&args(&["1"]), 1, 1).expect("a command");
        assert_eq!(command.argv, ["echo", "a1b{}{foo}"]);
    }

    #[test]
    fn environment_and_directory() {
        let settings = Settings {
            env: vec!["A=x{}=".into(), "B=".into()],
            cwd: Some("{//}".into()),
            stdin: true,
            ..settings(Names::None)
        };
        let with = template(&["ls"], &settings).expect("a template");
        let command = with.fill(&args(&["d/f"]), 1, 1).expect("a command");
        assert_eq!(command.argv, ["ls"]);
        assert_eq!(command.env, [("A".into(), "xd/f=".into()), ("B".into(), "".into())]);
        assert_eq!(command.cwd, Some("d".into()));
        assert_eq!(command_line(&command), b"(cd ./d && env A=xd/f= B= ls)");
        for wrong in ["A", "=x"] {
            let settings = Settings { env: vec![wrong.into()], ..settings.clone() };
            assert!(template(&["ls"], &settings).is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_args() {
        let read = |json: &str| {
            let args = Args::from_json(json.as_bytes()).expect("args");
            let text = |words: &[Cow<'_, [u8]>]| -> Vec<String> {
                words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
            };
            let whole =
                args.whole.as_ref().map(|whole| String::from_utf8_lossy(whole).into_owned());
            (text(&args.words), text(&args.names), whole)
        };
        let array = r#"["a\n\" b", 1e400, null, {"x": [1, "y z"]}]"#;
        let words = ["a\n\" b", "1e400", "null", r#"{"x":[1,"y z"]}"#].map(String::from);
        assert_eq!(read(array), (words.to_vec(), vec![], None));
        assert_eq!(read("1.0"), (vec!["1.0".into()], vec![], None));
        let (words, names, whole) = read(r#"{"b": "x y", "a": 2, "b": 3}"#);
        assert_eq!((words, names), (vec!["3".into(), "2".into()], vec!["b".into(), "a".into()]));
        assert_eq!(whole.as_deref(), Some(r#"{"b":"x y","a":2,"b":3}"#));
        assert!(Args::from_json(br#"["\ud800"]"#).is_err());
    }

    #[test]
    fn a_nul_byte_is_no_argument() {
        let template = template(&["echo"], &settings(Names::None)).expect("a template");
        let error = template.fill(&args(&["a\0b"]), 1, 1).expect_err("NUL");
        assert!(error.contains("NUL"), "{error}");
    }

    /// What a command that is run prints.
    fn output(command: &Command) -> Vec<u8> {
        let output = process::Command::new(&command.argv[0]).args(&command.argv[1..]).output();
        output.expect("it runs").stdout
    }

    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            prop::sample::select(b" \t\n'\"\\$`(){};|&<>*?~#-!%=[]".to_vec()),
            1_u8..=255
        ];
        prop_oneof![
            Just(b"$(touch pwned)'\";".to_vec()),
            Just(b"`touch pwned`".to_vec()),
            Just(b"${IFS}".to_vec()),
            prop::collection::vec(byte, 0..8)
        ]
    }

    fn of(words: &[Vec<u8>]) -> Args<'_> {
        Args { words: words.iter().map(|word| word.as_slice().into()).collect(), ..Args::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn arguments_are_what_the_template_says(words in prop::collection::vec(nasty(), 0..4)) {
            let template = template(&["printf", "%s\\0", "{}", "<{}>"], &settings(Names::None));
            let command = template.expect("a template").fill(&of(&words), 1, 1).expect("a command");
            let mut expected: Vec<u8> = words.iter().flat_map(|w| [w, &b"\0"[..]].concat()).collect();
            expected.extend([b"<", &words.join(&b' ')[..], b">\0"].concat());
            prop_assert_eq!(output(&command), expected);
        }

        #[test]
        fn a_shell_takes_nothing_of_them_for_its_own(
            words in prop::collection::vec(nasty(), 1..3),
            shell in prop::sample::select(vec!["sh", "bash"]),
        ) {
            let text = r#"printf '%s\0' {} a{}b "c{}d" 'e{}f' "$(printf %s. "{}")" "\{}" {1} # {}'"#;
            let settings = Settings { shell: true, ..settings(Names::None) };
            let template = template(&[text], &settings).expect("a template");
            let mut command = template.fill(&of(&words), 1, 1).expect("a command");
            command.argv[0] = shell.into();
            let all = words.join(&b' ');
            let mut expected: Vec<Vec<u8>> = words.clone();
            for (before, after) in [("a", "b"), ("c", "d"), ("e", "f"), ("", "."), ("\\", "")] {
                expected.push([before.as_bytes(), &all, after.as_bytes()].concat());
            }
            expected.push(words[0].clone());
            let expected: Vec<u8> = expected.iter().flat_map(|w| [w, &b"\0"[..]].concat()).collect();
            prop_assert_eq!(output(&command), expected);
        }

        #[test]
        fn args_are_appended_to_a_shell_command(words in prop::collection::vec(nasty(), 0..3)) {
            let settings = Settings { shell: true, ..settings(Names::None) };
            let template = template(&["printf '[%s]'"], &settings).expect("a template");
            let command = template.fill(&of(&words), 1, 1).expect("a command");
            let mut expected: Vec<u8> =
                words.iter().flat_map(|word| [b"[", word.as_slice(), b"]"].concat()).collect();
            if words.is_empty() {
                expected = b"[]".to_vec();
            }
            prop_assert_eq!(output(&command), expected);
        }

        #[test]
        fn a_shell_reads_quoted_words_back(words in prop::collection::vec(nasty(), 1..4)) {
            let argv = words.iter().map(|word| OsString::from_vec(word.clone())).collect();
            let line = command_line(&Command { argv, ..Command::default() });
            let script = [b"printf '%s\\0' ", line.as_slice()].concat();
            let argv = vec!["sh".into(), "-c".into(), OsString::from_vec(script)];
            let expected: Vec<u8> = words.iter().flat_map(|w| [w, &b"\0"[..]].concat()).collect();
            prop_assert_eq!(output(&Command { argv, ..Command::default() }), expected);
        }

        #[test]
        fn no_text_makes_it_panic(
            text in "[{}./#%0-9a-c\"'$()`<\\\\ \n]{0,24}",
            shell in any::<bool>(),
            any in any::<bool>(),
        ) {
            let names = if any { Names::Any } else { Names::None };
            let settings = Settings { shell, ..settings(names) };
            if let Ok(template) = template(&["echo", &text], &settings) {
                let _ = template.fill(&args(&["a", "b"]), 1, 1);
            }
        }
    }
}
