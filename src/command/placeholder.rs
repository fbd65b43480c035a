//! Placeholders: finds them in a word, and replaces them with the args of a job.

use std::borrow::Cow;
use std::ffi::OsString;

use super::args::Args;
use super::cut::Cut;
use super::dialect::Shell;
use super::error::{CommandError, PlaceholderProblem};
use super::foreign::{is_foreign, is_name, no_expression, unknown};

/// The names that placeholders may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// None: a name is an error.
    #[default]
    None,
    /// Any name. The header or the job shows whether it exists.
    Any,
}

/// How the words of a template are read.
#[derive(Clone, Debug, Default)]
pub struct TemplateSettings {
    /// The words are the text of a command for this shell.
    pub shell: Option<Shell>,
    /// The text that is the placeholder instead of `{}`. Then there is no other placeholder.
    pub replace: Option<Vec<u8>>,
    /// The names that placeholders may use.
    pub names: Names,
    /// Args go to the command's stdin, so none are appended.
    pub stdin: bool,
    /// Additions to the environment, each `NAME=VALUE`; values may have placeholders.
    pub env: Vec<OsString>,
    /// The directory to run in; it may have placeholders.
    pub cwd: Option<OsString>,
}

pub(super) type TemplateWord = Vec<WordPart>;

#[derive(Clone, Debug)]
pub(super) enum WordPart {
    Text(Vec<u8>),
    Placeholder(Placeholder),
}

/// A placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    pub(super) which: PlaceholderKind,
    pub(super) cut: Cut,
    /// Its text in the template.
    pub(super) spelled: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlaceholderKind {
    All,
    /// From 1.
    Nth(usize),
    Named(Vec<u8>),
    /// The arg of this name, or else of its beginning of this length, which is cut. Plain text if there is none.
    NameIfPresent(Vec<u8>, usize),
    Number,
    Slot,
    /// The slot, counted from 0.
    SlotFromZero,
    /// The number of all jobs.
    Total,
}

/// The values of the placeholders for one job.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) args: &'a Args<'a>,
    pub(super) seq: u64,
    pub(super) slot: usize,
    /// Args up to this number are empty if the job has fewer.
    pub(super) count: usize,
    /// The number of all jobs, once it is known.
    pub(super) total: Option<u64>,
}

pub(super) fn places(word: &[WordPart]) -> impl Iterator<Item = &Placeholder> {
    word.iter().filter_map(|piece| match piece {
        WordPart::Placeholder(place) => Some(place),
        WordPart::Text(_) => None,
    })
}

/// Names as texts, for a message.
pub(super) fn texts(names: &[impl AsRef<[u8]>]) -> Vec<String> {
    names.iter().map(|name| String::from_utf8_lossy(name.as_ref()).into_owned()).collect()
}

impl Placeholder {
    /// Whether it is always replaced with args.
    pub(super) fn is_arg(&self) -> bool {
        matches!(
            self.which,
            PlaceholderKind::All | PlaceholderKind::Nth(_) | PlaceholderKind::Named(_)
        )
    }

    /// Whether it is replaced only if there is an arg of its name.
    pub(super) fn is_uncertain(&self) -> bool {
        matches!(self.which, PlaceholderKind::NameIfPresent(..))
    }

    /// The error that it has this problem.
    pub(super) fn error(&self, problem: PlaceholderProblem) -> CommandError {
        CommandError::placeholder(&self.spelled, problem)
    }
}

impl<'a> Values<'a> {
    /// The values of a placeholder: one for each arg if it means all of them. `None`: it is plain text.
    pub(super) fn of(
        self,
        place: &Placeholder,
    ) -> Result<Option<Vec<Cow<'a, [u8]>>>, CommandError> {
        let one = |value: &'a [u8], cut: &Cut| Ok(Some(vec![cut.apply(value)]));
        let number = |number: u64| Ok(Some(vec![number.to_string().into_bytes().into()]));
        let nth = |index: usize| self.args.words.get(index).map_or(&b""[..], AsRef::as_ref);
        match &place.which {
            PlaceholderKind::All => {
                Ok(Some(self.args.all().map(|arg| place.cut.apply(arg)).collect()))
            }
            PlaceholderKind::Nth(number) if *number > self.args.words.len().max(self.count) => {
                let count = self.args.words.len();
                Err(place.error(PlaceholderProblem::Beyond { job: "this job", count }))
            }
            // `resolve` refuses 0.
            PlaceholderKind::Nth(number) => one(nth(number - 1), &place.cut),
            PlaceholderKind::Number => number(self.seq),
            PlaceholderKind::Slot => number(self.slot as u64),
            PlaceholderKind::SlotFromZero => number(self.slot.saturating_sub(1) as u64),
            PlaceholderKind::Total => match self.total {
                Some(total) => number(total),
                None => Err(place.error(PlaceholderProblem::NoTotal)),
            },
            PlaceholderKind::Named(name) => match self.args.position(name) {
                Some(index) => one(nth(index), &place.cut),
                None => Err(place.error(PlaceholderProblem::NoField(texts(&self.args.names)))),
            },
            PlaceholderKind::NameIfPresent(name, stem) => {
                let (stem, cut) = (&name[..*stem], &place.cut);
                match (self.args.position(name), self.args.position(stem)) {
                    (Some(index), _) => one(nth(index), &Cut::default()),
                    (None, Some(index)) => one(nth(index), cut),
                    // No column is called so: it is an ending, `{%.gz}`.
                    (None, None) if stem.is_empty() && !cut.is_nothing() => {
                        Ok(Some(self.args.all().map(|arg| cut.apply(arg)).collect()))
                    }
                    (None, None) => Ok(None),
                }
            }
        }
    }

    /// Whether a placeholder is replaced with args of this job.
    pub(super) fn uses_args(self, place: &Placeholder) -> bool {
        place.is_arg() || (place.is_uncertain() && matches!(self.of(place), Ok(Some(_))))
    }

    /// Fills all words of a command.
    pub(super) fn argv(
        self,
        words: &[TemplateWord],
        appends: bool,
    ) -> Result<Vec<Vec<u8>>, CommandError> {
        let mut argv = Vec::with_capacity(words.len() + self.args.words.len());
        for word in words {
            match word.as_slice() {
                [
                    WordPart::Placeholder(place @ Placeholder { which: PlaceholderKind::All, .. }),
                ] => {
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

    /// Fills a word that stays one word.
    pub(super) fn one(self, word: &[WordPart]) -> Result<Vec<u8>, CommandError> {
        let mut text = Vec::new();
        for piece in word {
            match piece {
                WordPart::Text(bytes) => text.extend_from_slice(bytes),
                WordPart::Placeholder(place) => match self.of(place)? {
                    Some(values) => text.extend(values.join(&b' ')),
                    None => text.extend_from_slice(&place.spelled),
                },
            }
        }
        Ok(text)
    }
}

/// Finds the next part of `text`, from `from` on, that may be a placeholder. Returns its begin and its end:
/// `from` <= begin < end. The part has both braces, unless another placeholder was chosen.
pub(super) fn next_place(
    text: &[u8],
    from: usize,
    settings: &TemplateSettings,
) -> Option<(usize, usize)> {
    if let Some(replace) = &settings.replace {
        let at = from + memchr::memmem::find(&text[from..], replace)?;
        return Some((at, at + replace.len()));
    }
    let mut begin = from + memchr::memchr(b'{', &text[from..])?;
    loop {
        #[cfg(feature = "unstable-engine")]
        if let Some(length) = super::substitution::end(&text[begin + 1..]) {
            return Some((begin, begin + 1 + length + 1));
        }
        let next = begin + 1 + memchr::memchr2(b'{', b'}', &text[begin + 1..])?;
        if text[next] == b'}' {
            return Some((begin, next + 1));
        }
        begin = next;
    }
}

/// Reads a word that is not the text of a shell command.
pub(super) fn parse(
    text: &[u8],
    settings: &TemplateSettings,
) -> Result<TemplateWord, CommandError> {
    check_replace(settings)?;
    if settings.replace.is_none() {
        no_expression(text)?;
    }
    let mut word = Vec::new();
    let mut done = 0;
    let mut from = 0;
    while let Some((begin, end)) = next_place(text, from, settings) {
        from = end;
        let is_shells = begin > 0 && text[begin - 1] == b'$';
        if let Some(place) = resolve(&text[begin..end], is_shells, settings)? {
            if begin > done {
                word.push(WordPart::Text(text[done..begin].to_vec()));
            }
            word.push(WordPart::Placeholder(place));
            done = end;
        }
    }
    if done < text.len() || word.is_empty() {
        word.push(WordPart::Text(text[done..].to_vec()));
    }
    Ok(word)
}

pub(super) fn check_replace(settings: &TemplateSettings) -> Result<(), CommandError> {
    if settings.replace.as_ref().is_some_and(Vec::is_empty) {
        Err(CommandError::EmptyPlaceholder)
    } else {
        Ok(())
    }
}

/// Reads a text that may be a placeholder. `None`: it is plain text. `is_shells`: it may be a variable
/// of the shell, `${x%.gz}`.
pub(super) fn resolve(
    spelled: &[u8],
    is_shells: bool,
    settings: &TemplateSettings,
) -> Result<Option<Placeholder>, CommandError> {
    let place = |which, cut| Ok(Some(Placeholder { which, cut, spelled: spelled.to_vec() }));
    if settings.replace.is_some() {
        return place(PlaceholderKind::All, Cut::default());
    }
    // It has its two braces, since `next_place` found it.
    let inner = &spelled[1..spelled.len() - 1];
    let (stem, cut) = Cut::split(inner)?;
    if is_shells && cut.may_be_shells() {
        return Ok(None);
    }
    if !is_shells && is_foreign(inner) {
        return match settings.names {
            // There may be a column of this name.
            Names::Any => place(PlaceholderKind::Named(inner.to_vec()), Cut::default()),
            Names::None => Err(unknown(spelled)),
        };
    }
    match stem {
        // There may be a column of this name.
        b"" if settings.names == Names::Any && cut.is_suffix() => {
            place(PlaceholderKind::NameIfPresent(inner.to_vec(), 0), cut)
        }
        b"" => place(PlaceholderKind::All, cut),
        b"#" if cut.is_nothing() => place(PlaceholderKind::Number, cut),
        b"%" if cut.is_nothing() => place(PlaceholderKind::Slot, cut),
        b"%0" if cut.is_nothing() => place(PlaceholderKind::SlotFromZero, cut),
        b"total" if cut.is_nothing() && settings.names == Names::None => {
            place(PlaceholderKind::Total, cut)
        }
        digits if digits.iter().all(u8::is_ascii_digit) => {
            let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
            match number {
                Some(0) => Err(CommandError::placeholder(spelled, PlaceholderProblem::Zeroth)),
                // No job has that many args.
                number => place(PlaceholderKind::Nth(number.unwrap_or(usize::MAX)), cut),
            }
        }
        name if is_name(name) && settings.names == Names::Any => {
            place(PlaceholderKind::Named(name.to_vec()), cut)
        }
        name if is_name(name) => {
            Err(CommandError::placeholder(spelled, PlaceholderProblem::Unknown))
        }
        _ if settings.names == Names::Any => {
            let (stem, cut) = Cut::split_any(inner)?;
            place(PlaceholderKind::NameIfPresent(inner.to_vec(), stem.len()), cut)
        }
        _ => Ok(None),
    }
}
