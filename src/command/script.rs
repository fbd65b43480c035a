//! The text of a shell command: its placeholders become positional parameters, so that no value is ever
//! a part of the text.

use std::borrow::Cow;
use std::ops::Range;

use super::cut::Cut;
use super::dialect::{Dialect, Shell};
use super::error::{CommandError, PlaceholderProblem};
use super::foreign::no_expression;
use super::placeholder::{
    Placeholder, PlaceholderKind, TemplateSettings, Values, check_replace, next_place, resolve,
};
use super::shell::{Quoting, Scanner, Spot};

/// If a text may change its positional parameters, variables get their values first. The name of each is
/// this and a number.
const VARIABLE: &str = "procpool_";

/// The text of a shell command.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) shell: Shell,
    pub(super) pieces: Vec<ScriptPart>,
    /// Whether args may be appended to the text.
    end: Result<(), CommandError>,
}

#[derive(Clone, Debug)]
pub(super) enum ScriptPart {
    Text(Vec<u8>),
    /// A reference to a value. If it is a word by itself, it becomes one reference for each arg.
    Placeholder {
        place: Placeholder,
        quoting: Quoting,
        is_word: bool,
    },
}

impl Script {
    pub(super) fn new(
        text: &[u8],
        shell: &Shell,
        settings: &TemplateSettings,
    ) -> Result<Self, CommandError> {
        check_replace(settings)?;
        if settings.replace.is_none() {
            no_expression(text)?;
        }
        // Args that are appended after a line end would be a command of their own.
        let text = if settings.stdin { text } else { text.trim_ascii_end() };
        let mut scanner = Scanner::new(shell.dialect);
        let mut pieces = Vec::new();
        let mut done = 0;
        let mut seen = 0;
        let mut from = 0;
        while let Some((begin, end)) = next_place(text, from, settings) {
            scanner.text(text, seen, begin);
            seen = begin;
            from = end;
            if let Some((place, quoting)) = place_in_script(&text[begin..end], &scanner, settings)?
            {
                let ends = text.get(end).is_none_or(|next| b" \t\n;&|)<>`".contains(next));
                let is_word = quoting == Quoting::Bare && scanner.begins_word() && ends;
                pieces.push(ScriptPart::Text(text[done..begin].to_vec()));
                pieces.push(ScriptPart::Placeholder { place, quoting, is_word });
                scanner.value();
                done = end;
                seen = end;
            }
        }
        scanner.text(text, seen, text.len());
        pieces.push(ScriptPart::Text(text[done..].to_vec()));
        let end = scanner.check_end();
        scanner.check_values()?;
        Ok(Self { shell: shell.clone(), pieces, end })
    }

    /// Checks that args can be appended.
    pub(super) fn check_open(&self) -> Result<(), CommandError> {
        self.end.clone()
    }

    /// Whether the text may change the positional parameters: by `set`, by `shift`, or in a
    /// function, which has its own.
    fn rebinds(&self) -> bool {
        if self.shell.dialect == Dialect::Zsh {
            // There `argv=(x)`, `1=x` and `for 1 in x` change them too.
            return true;
        }
        let signs: [&[u8]; 4] = [b"()", b"set", b"shift", b"function"];
        self.pieces.iter().any(|piece| match piece {
            ScriptPart::Text(text) => {
                // The shell ignores blanks between these signs.
                let text: Vec<u8> =
                    text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
                signs.iter().any(|sign| memchr::memmem::find(&text, sign).is_some())
            }
            ScriptPart::Placeholder { .. } => false,
        })
    }

    /// The shell, with its text and the parameters of the text.
    pub(super) fn argv(
        &self,
        values: Values<'_>,
        appends: bool,
    ) -> Result<Vec<Vec<u8>>, CommandError> {
        let mut pieces: Vec<&ScriptPart> = self.pieces.iter().collect();
        let space = ScriptPart::Text(b" ".to_vec());
        let all =
            Placeholder { which: PlaceholderKind::All, cut: Cut::default(), spelled: Vec::new() };
        let appended =
            ScriptPart::Placeholder { place: all, quoting: Quoting::Bare, is_word: true };
        if appends {
            self.check_open()?;
            pieces.extend([&space, &appended]);
        }
        let name = if self.rebinds() { VARIABLE } else { "" };
        let has_arrays = self.shell.dialect != Dialect::Posix;
        let mut held = Parameters { name, has_arrays, ..Parameters::default() };
        for part in &pieces {
            if let ScriptPart::Placeholder { place, is_word, .. } = part {
                held.add(place, *is_word, values)?;
            }
        }
        let mut text = held.bindings();
        for part in &pieces {
            match part {
                ScriptPart::Text(bytes) => text.extend_from_slice(bytes),
                ScriptPart::Placeholder { place, quoting, is_word } => {
                    held.refer(&mut text, place, *is_word, *quoting);
                }
            }
        }
        let mut argv = self.shell.argv(&text);
        argv.append(&mut held.parameters);
        Ok(argv)
    }
}

/// The positional parameters of a shell command. Equal placeholders share their parameters.
#[derive(Default)]
struct Parameters<'a> {
    /// The name of the variables that get their values, without the number. Empty: there are no variables.
    name: &'static str,
    /// An array can hold all args.
    has_arrays: bool,
    parameters: Vec<Vec<u8>>,
    known: Vec<(ParameterKey<'a>, Range<usize>)>,
}

/// Equal placeholders have equal keys. The bool says whether each arg is a word of its own.
type ParameterKey<'a> = (&'a PlaceholderKind, &'a Cut, bool);

impl<'a> Parameters<'a> {
    fn key(place: &'a Placeholder, is_word: bool) -> ParameterKey<'a> {
        (&place.which, &place.cut, is_word && place.which == PlaceholderKind::All)
    }

    fn add(
        &mut self,
        place: &'a Placeholder,
        is_word: bool,
        values: Values<'_>,
    ) -> Result<(), CommandError> {
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

    /// The beginning of the text, which sets the variables.
    fn bindings(&self) -> Vec<u8> {
        let name = self.name;
        let mut text = String::new();
        let known = if name.is_empty() { &[][..] } else { self.known.as_slice() };
        for ((_, _, is_all), numbers) in known {
            if *is_all && self.has_arrays {
                let (first, count) = (numbers.start, numbers.len());
                text += &format!("{name}all{first}=(\"${{@:{first}:{count}}}\"); ");
            } else {
                text.extend(numbers.clone().map(|n| format!("{name}{n}=${{{n}}}; ")));
            }
        }
        text.into_bytes()
    }

    fn refer(&self, text: &mut Vec<u8>, place: &Placeholder, is_word: bool, quoting: Quoting) {
        let key = Parameters::key(place, is_word);
        let Some((_, numbers)) = self.known.iter().find(|(known, _)| *known == key) else {
            return text.extend_from_slice(&place.spelled);
        };
        if key.2 && self.known.len() == 1 && self.name.is_empty() {
            // The text stays short, however many parameters there are.
            return text.extend_from_slice(b"\"$@\"");
        }
        if key.2 && self.has_arrays && !self.name.is_empty() {
            let reference = format!("\"${{{}all{}[@]}}\"", self.name, numbers.start);
            return text.extend_from_slice(reference.as_bytes());
        }
        let (before, after) = quoting.around();
        for number in numbers.clone() {
            if number > numbers.start {
                text.push(b' ');
            }
            let reference = format!("${{{}{number}}}", self.name);
            text.extend([before, reference.as_bytes(), after].concat());
        }
    }
}

/// Reads a text that may be a placeholder in the text of a shell command. `None`: it is plain text.
fn place_in_script(
    spelled: &[u8],
    scanner: &Scanner,
    settings: &TemplateSettings,
) -> Result<Option<(Placeholder, Quoting)>, CommandError> {
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
    // Quotes in a placeholder that stays plain text would change the quoting.
    let is_neutral =
        |&byte: &u8| byte.is_ascii_alphanumeric() || byte > 127 || b" -_.:/+@%,=".contains(&byte);
    if let PlaceholderKind::NameIfPresent(name, _) = &place.which
        && (!name.iter().all(is_neutral) || !matches!(spot, Ok(Spot::Value(_))))
    {
        return Ok(None);
    }
    match spot? {
        Spot::Value(quoting) => Ok(Some((place, quoting))),
        _ => Err(place.error(PlaceholderProblem::AfterDollar)),
    }
}
