//! Follows the quoting in the text of a shell command, to find the quotes around each placeholder. Then a
//! placeholder can become a reference to a positional parameter. Uncertain quoting is an error.

use super::dialect::Dialect;
use super::error::CommandError;
use super::evaluation::Evaluation;

/// The quotes around a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    /// No quotes.
    Bare,
    /// Double quotes.
    Double,
    /// Double quotes, and a backslash before the placeholder. It must not escape the dollar sign.
    Backslash,
    /// Single quotes, which must be closed before the reference.
    Single,
    /// `$'…'`, of bash and zsh.
    DollarSingle,
}

impl Quoting {
    /// The texts before and after the reference, so that its value is taken literally.
    pub(super) fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Bare => (b"\"", b"\""),
            Self::Double => (b"", b""),
            Self::Backslash => (b"\\", b""),
            Self::Single => (b"'\"", b"\"'"),
            Self::DollarSingle => (b"'\"", b"\"$'"),
        }
    }
}

/// The meaning of a placeholder at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Its value.
    Value(Quoting),
    /// Plain text: it is in a comment, or escaped.
    Literal,
    /// The shell's own syntax: a dollar sign is before it.
    Dollar,
}

/// A construct of the shell that the scanner is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Double,
    /// `'…'` or `$'…'`.
    Single {
        dollar: bool,
    },
    Comment,
    /// `$(…)`, with this many open parentheses.
    Command(usize),
    Backquotes,
    /// `${…}`, perhaps between double quotes.
    Braces {
        quoted: bool,
    },
    /// `$((…))` or `((…))`, with this many open parentheses.
    Arithmetic(usize),
}

/// Follows the quoting of a text as its shell does. Shells of POSIX sh disagree about some texts: after such a text
/// the scanner is unsure, and says why.
#[derive(Debug)]
pub(super) struct Scanner {
    dialect: Dialect,
    /// What the shell evaluates.
    evaluation: Evaluation,
    inside: Vec<Inside>,
    /// A backslash escapes the next byte.
    escaped: bool,
    /// A dollar sign gives a meaning to the next byte.
    dollar: bool,
    /// The last byte, if it has a meaning for the next one.
    last: u8,
    /// The next word is the target of a redirection.
    redirects: bool,
    /// Why the scanner is unsure.
    unsure: Option<&'static str>,
}

/// A last byte without a meaning for the next one.
const PART_OF_WORD: u8 = b'x';

impl Scanner {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            evaluation: Evaluation::new(dialect),
            inside: Vec::new(),
            escaped: false,
            dollar: false,
            last: b'\n',
            redirects: false,
            unsure: None,
        }
    }

    /// Scans `text[from..to]`. It may look at the bytes after `to`.
    pub(super) fn text(&mut self, text: &[u8], from: usize, to: usize) {
        for (at, &byte) in text.iter().enumerate().take(to).skip(from) {
            let before = (self.inside.last().copied(), self.inside.len(), self.escaped);
            self.byte(byte, &text[at + 1..]);
            self.evaluate(byte, before, &text[at + 1..]);
        }
    }

    /// Follows what the shell evaluates. `before`: where the scanner was before this byte. `rest` is the text after it.
    fn evaluate(&mut self, byte: u8, before: (Option<Inside>, usize, bool), rest: &[u8]) {
        let (context, depth, was_escaped) = before;
        let now = self.inside.len();
        self.evaluation.leave(now);
        match context {
            _ if now > depth => match self.inside.last() {
                Some(Inside::Command(_) | Inside::Backquotes) => self.evaluation.enter(now, true),
                Some(Inside::Double | Inside::Single { .. }) => self.evaluation.quote(),
                Some(Inside::Comment) => {}
                _ => self.evaluation.enter(now, false),
            },
            Some(Inside::Comment) if now < depth => self.evaluation.bare(byte, rest),
            Some(Inside::Arithmetic(_)) if now < depth => self.evaluation.end_arithmetic(),
            _ if now < depth => {}
            _ if was_escaped => {
                if byte != b'\n' {
                    self.evaluation.quoted(byte, true);
                }
            }
            _ if self.escaped => {}
            Some(Inside::Single { .. }) => self.evaluation.quoted(byte, true),
            Some(Inside::Double) => self.evaluation.quoted(byte, false),
            Some(Inside::Arithmetic(_)) => self.evaluation.arithmetic(byte),
            Some(Inside::Comment | Inside::Braces { .. }) => {}
            _ => self.evaluation.bare(byte, rest),
        }
    }

    /// The meaning of a placeholder at this place.
    ///
    /// # Errors
    /// No value is safe here. The sentence says what to do.
    pub(super) fn spot(&self) -> Result<Spot, CommandError> {
        let quoting = match self.inside.last() {
            Some(Inside::Comment) => return Ok(Spot::Literal),
            Some(Inside::Single { dollar: true }) if self.dialect != Dialect::Posix => {
                // The backslash would escape the end of the quotes.
                if self.escaped {
                    return Ok(Spot::Literal);
                }
                Quoting::DollarSingle
            }
            Some(Inside::Single { .. }) => Quoting::Single,
            Some(Inside::Double) if self.escaped => Quoting::Backslash,
            Some(Inside::Double) => Quoting::Double,
            _ if self.escaped => return Ok(Spot::Literal),
            _ => Quoting::Bare,
        };
        if self.dollar {
            return Ok(Spot::Dollar);
        }
        if let Some(place) = self.unsure {
            return Err(CommandError::UnsafePlace(place));
        }
        let enclosing = self.inside.iter().find_map(|inside| match inside {
            Inside::Arithmetic(_) => Some(CommandError::EvaluatedPlace("inside $((…)) or ((…))")),
            Inside::Braces { .. } => Some(CommandError::UnsafePlace("inside ${…}")),
            _ => None,
        });
        let evaluated = || self.evaluation.problem().map(CommandError::EvaluatedPlace);
        enclosing.or_else(evaluated).map_or(Ok(Spot::Value(quoting)), Err)
    }

    /// Whether a placeholder here begins a word that several words may replace.
    pub(super) fn begins_word(&self) -> bool {
        is_boundary(self.last) && !self.redirects && self.evaluation.takes_many()
    }

    /// Scans a placeholder that is replaced with a value.
    pub(super) fn value(&mut self) {
        self.evaluation.value();
        self.escaped = false;
        self.dollar = false;
        self.redirects = false;
        self.last = PART_OF_WORD;
    }

    /// Whether arguments can be appended to the text. It has no blanks at its end.
    fn is_open(&self) -> bool {
        self.inside.is_empty()
            && !self.escaped
            && !self.redirects
            && self.unsure.is_none()
            && !matches!(self.last, b';' | b'&' | b'|' | b'(' | b'\n')
    }

    /// Checks that args can be appended to the text.
    ///
    /// # Errors
    /// No value is safe there.
    pub(super) fn check_end(&self) -> Result<(), CommandError> {
        if !self.is_open() {
            return Err(CommandError::ClosedText);
        }
        self.evaluation
            .problem_at_end()
            .map_or(Ok(()), |place| Err(CommandError::EvaluatedPlace(place)))
    }

    /// Checks that the text after each value leaves it data.
    ///
    /// # Errors
    /// The shell would evaluate a value.
    pub(super) fn check_values(&mut self) -> Result<(), CommandError> {
        self.evaluation.end().map_or(Ok(()), |place| Err(CommandError::EvaluatedPlace(place)))
    }

    fn byte(&mut self, byte: u8, rest: &[u8]) {
        if std::mem::take(&mut self.escaped) {
            return self.escaped_byte(byte);
        }
        let dollar = std::mem::take(&mut self.dollar);
        let last = std::mem::replace(&mut self.last, byte);
        let is_blank = matches!(byte, b' ' | b'\t');
        let joins = matches!(byte, b'&' | b'|') && matches!(last, b'<' | b'>');
        self.redirects &= is_blank || joins || byte == b'\\';
        if let Some(at) = self.inside.iter().position(|inside| *inside == Inside::Backquotes) {
            // The shell looks for the second backquote before it parses the text between them.
            match byte {
                b'`' => return self.leave(at),
                b'\\' => self.unsure = Some("after a backslash inside `…` (write $(…) instead)"),
                _ => {}
            }
        }
        let depth = self.inside.len().saturating_sub(1);
        match (self.inside.last_mut(), byte) {
            (Some(Inside::Single { .. }), b'\'') | (Some(Inside::Double), b'"') => {
                self.leave(depth);
            }
            (Some(Inside::Single { dollar: true }), b'\\') if self.dialect != Dialect::Posix => {
                self.escaped = true;
            }
            (Some(Inside::Single { dollar: true }), b'\\') => {
                self.unsure = Some("after a backslash inside $'…', which is not POSIX");
            }
            (Some(Inside::Single { .. }), _) => {}
            (Some(Inside::Comment), b'\n') => {
                self.inside.pop();
            }
            (Some(Inside::Comment), _) => {}
            (Some(Inside::Arithmetic(open)), _) => {
                match byte {
                    b'(' => *open += 1,
                    // It was at least 1: at 0 the scanner has left it.
                    b')' => *open -= 1,
                    b'\'' | b'"' | b'`' | b'\\' => {
                        self.unsure = Some("after $((…)) or ((…)) that has quotes");
                    }
                    _ => {}
                }
                if matches!(self.inside.last(), Some(Inside::Arithmetic(0))) {
                    self.leave(depth);
                }
            }
            (Some(Inside::Braces { .. }), b'}') => self.leave(depth),
            (Some(Inside::Braces { quoted: true }), b'\'' | b'"') => {
                self.unsure = Some("after quotes inside \"${…}\", which shells read differently");
            }
            (Some(Inside::Braces { .. }), b'\'' | b'"') => self.quote(byte, dollar),
            (Some(Inside::Double | Inside::Braces { .. }), _) => {
                self.meaningful(byte, dollar, last, rest);
            }
            _ => self.bare(byte, dollar, last, rest),
        }
    }

    fn escaped_byte(&mut self, byte: u8) {
        // The shell removes a backslash together with a line's end.
        if byte != b'\n' {
            self.last = PART_OF_WORD;
            self.dollar = false;
            self.redirects = false;
        } else if self.dollar || matches!(self.last, b'$' | b'<' | b'(') {
            self.unsure = Some("after a line end within an operator such as $( or <<");
        }
    }

    /// Leaves this depth and all depths below it.
    fn leave(&mut self, depth: usize) {
        self.inside.truncate(depth);
        self.last = PART_OF_WORD;
    }

    fn quote(&mut self, byte: u8, dollar: bool) {
        self.inside.push(match byte {
            b'"' => Inside::Double,
            _ => Inside::Single { dollar },
        });
    }

    /// Scans a byte that is not in quotes.
    fn bare(&mut self, byte: u8, dollar: bool, last: u8, rest: &[u8]) {
        match byte {
            b'\'' | b'"' => self.quote(byte, dollar),
            b'#' if is_boundary(last) => self.inside.push(Inside::Comment),
            b'<' if last == b'<' && self.is_here_string(rest) => {
                self.last = PART_OF_WORD;
                self.redirects = true;
            }
            b'<' if last == b'<' => self.unsure = Some("after a here-document (<<)"),
            b'<' | b'>' => self.redirects = true,
            b'(' if !dollar && rest.first() == Some(&b'(') => {
                self.inside.push(Inside::Arithmetic(1));
            }
            b'(' if self.begins_qualifier(last, rest) => {
                self.unsure = Some("after a pattern with (…), which zsh may evaluate");
            }
            b'(' | b')' if !dollar => self.parenthesis(byte),
            b'c' if is_boundary(last) && is_case(rest) && !self.inside.is_empty() => {
                // Its patterns have a closing parenthesis without an opening one.
                self.unsure = Some("after `case` inside $(…)");
            }
            _ => self.meaningful(byte, dollar, last, rest),
        }
    }

    /// Whether a here-string (`<<<`) and no here-document begins.
    fn is_here_string(&self, rest: &[u8]) -> bool {
        self.dialect != Dialect::Posix && rest.first() == Some(&b'<')
    }

    /// Whether the qualifiers of a pattern of zsh begin: `*(e:code:)`.
    fn begins_qualifier(&self, last: u8, rest: &[u8]) -> bool {
        let follows_word = !is_boundary(last) && !matches!(last, b'=' | b'$');
        self.dialect == Dialect::Zsh && follows_word && rest.first() != Some(&b')')
    }

    fn parenthesis(&mut self, byte: u8) {
        if let Some(Inside::Command(open)) = self.inside.last_mut() {
            match byte {
                b'(' => *open += 1,
                _ if *open > 1 => *open -= 1,
                _ => self.leave(self.inside.len() - 1),
            }
        }
    }

    /// Scans a byte that also has a meaning between double quotes.
    fn meaningful(&mut self, byte: u8, dollar: bool, last: u8, rest: &[u8]) {
        match byte {
            b'\\' => {
                self.escaped = true;
                // The shell may remove it together with a line's end.
                self.last = last;
            }
            b'`' => self.inside.push(Inside::Backquotes),
            // `$$` is the number of the process.
            b'$' => self.dollar = !dollar,
            b'(' if dollar && rest.first() == Some(&b'(') => {
                self.inside.push(Inside::Arithmetic(1));
            }
            b'(' if dollar => self.inside.push(Inside::Command(1)),
            b'[' if dollar => self.unsure = Some("after $[, which is arithmetic to some shells"),
            b'{' if dollar => {
                let quoted = matches!(
                    self.inside.last(),
                    Some(Inside::Double | Inside::Braces { quoted: true })
                );
                self.inside.push(Inside::Braces { quoted });
            }
            _ => {}
        }
    }
}

/// Whether a word begins after this byte.
fn is_boundary(byte: u8) -> bool {
    b" \t\n;&|()<>`".contains(&byte)
}

/// Whether the text after a `c` makes it the word `case`.
fn is_case(rest: &[u8]) -> bool {
    let after = rest.strip_prefix(b"ase");
    after.is_some_and(|rest| rest.first().is_none_or(|next| b" \t\n\\".contains(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The meaning of a placeholder at the `@` of the text.
    fn spot(text: &str) -> Result<Spot, CommandError> {
        let (before, _) = text.split_once('@').expect("a place");
        let mut scanner = Scanner::new(Dialect::Posix);
        scanner.text(text.as_bytes(), 0, before.len());
        scanner.spot()
    }

    #[test]
    fn quotes_are_followed() {
        use Quoting::{Backslash, Bare, Double, Single};
        for (text, quoting) in [
            ("echo @", Bare),
            ("echo \"a @", Double),
            ("echo 'a @", Single),
            ("echo \"it's @", Double),
            ("echo 'a\" b' @", Bare),
            ("echo \\\" @", Bare),
            ("echo \\\\@", Bare),
            ("echo 'a\\@", Single),
            ("echo \"\\\" @", Double),
            ("echo \"\\@", Backslash),
            ("echo \"\\\\@", Double),
            ("echo \"$(cat @", Bare),
            ("echo \"$(cat \"@", Double),
            ("echo \"$(cat '@", Single),
            ("echo \"$(cat a) @", Double),
            ("echo \"$( (cat a); @", Bare),
            ("echo \"$( (cat a) ) @", Double),
            ("echo \"\\$(@", Double),
            ("echo \"$$(@", Double),
            ("echo \"\\${@", Double),
            ("echo \"`cat @", Bare),
            ("echo \"`cat \"@", Double),
            ("echo \"`echo '`@", Double),
            ("(echo \"a\"; echo @", Bare),
            ("echo a#b' @", Single),
            ("echo $(x)#' @", Single),
            ("echo # don't\necho @", Bare),
            ("echo a\\\n#' @", Single),
            ("echo $# ' @", Single),
            ("echo $'@", Single),
            ("echo $'a' @", Bare),
            ("echo $((1 << 2)) @", Bare),
            ("echo \"$((1 + (2)))@", Double),
            ("echo ${x:-'}'} @", Bare),
            ("echo \"${x:-a}@", Double),
            ("case @", Bare),
            ("case a in a) echo \"@", Double),
            ("cat < @", Bare),
            ("echo '<<' \"<<\" \\<\\< @", Bare),
        ] {
            assert_eq!(spot(text), Ok(Spot::Value(quoting)), "{text}");
        }
    }

    #[test]
    fn places_that_are_not_for_values() {
        for text in ["# @", "echo # '@", "echo;# @", "$(# @", "echo \\@", "echo a \\\n# @"] {
            assert_eq!(spot(text), Ok(Spot::Literal), "{text}");
        }
        for text in ["echo $@", "echo \"$@", "echo \"$(echo $@"] {
            assert_eq!(spot(text), Ok(Spot::Dollar), "{text}");
        }
        for text in [
            "echo $((@",
            "echo \"$(( (1) + @",
            "((@",
            "echo $[@",
            "echo ${x:-@",
            "echo ${x:-\"@",
            "echo \"${x#\"@",
            "echo \"${x:-'a'} @",
            "echo `echo \\`@",
            "cat <<E\n@",
            "cat <<-'E'\n@",
            "cat <\\\n<E\n@",
            "echo \"$\\\n(@",
            "echo $'\\'@",
            "echo $(case a in a) echo @",
        ] {
            let error = spot(text).expect_err(text).to_string();
            assert!(
                error.contains("variable") && error.contains("TemplateSettings::stdin"),
                "{error}"
            );
        }
    }

    #[test]
    fn where_words_begin() {
        for (text, begins) in [
            ("", true),
            ("echo ", true),
            ("echo;", true),
            ("echo a", false),
            ("x=", false),
            ("echo >", false),
            ("echo 2>> ", false),
            ("echo >& ", false),
            ("echo > a ", true),
            ("echo \"a\"", false),
            ("echo \\ ", false),
            ("echo $(x)", false),
        ] {
            let mut scanner = Scanner::new(Dialect::Posix);
            scanner.text(text.as_bytes(), 0, text.len());
            assert_eq!(scanner.begins_word(), begins, "{text}");
        }
    }
}
