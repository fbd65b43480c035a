//! Where in the text of a shell command a placeholder stands: between which quotes, so that it can
//! become a reference to a positional parameter. Where that is not certain, it is an error.

use super::error::CommandError;

/// What stands around a reference to a parameter, so that its value is taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    /// No quotes.
    Bare,
    /// Double quotes.
    Double,
    /// Double quotes, and a backslash before it, which must not act on the dollar sign.
    Backslash,
    /// Single quotes, which must end for it.
    Single,
}

impl Quoting {
    /// What comes before the reference, and what behind it.
    pub(super) fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Bare => (b"\"", b"\""),
            Self::Double => (b"", b""),
            Self::Backslash => (b"\\", b""),
            Self::Single => (b"'\"", b"\"'"),
        }
    }
}

/// What a placeholder is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// It stands for its value.
    Value(Quoting),
    /// It is plain text: in a comment, or escaped.
    Literal,
    /// A dollar sign before it makes it the shell's own.
    Dollar,
}

/// What the scanner is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Double,
    /// `'…'` or `$'…'`.
    Single {
        dollar: bool,
    },
    Comment,
    /// `$(…)`, with so many open parentheses.
    Command(usize),
    Backquotes,
    /// `${…}`, maybe between double quotes.
    Braces {
        quoted: bool,
    },
    /// `$((…))` or `((…))`, with so many open parentheses.
    Arithmetic(usize),
}

/// Follows the quoting of a text as POSIX sh does. Shells disagree about some texts: behind such a
/// place it is unsure, and says so.
#[derive(Debug)]
pub(super) struct Scanner {
    inside: Vec<Inside>,
    /// A backslash takes away the meaning of the next byte.
    escaped: bool,
    /// A dollar sign gives a meaning to the next byte.
    dollar: bool,
    /// The last byte, as far as it has a meaning for the next.
    last: u8,
    /// What comes next is the target of a redirection.
    redirects: bool,
    /// What made it unsure.
    unsure: Option<&'static str>,
}

/// A last byte that means nothing.
const PART_OF_WORD: u8 = b'x';

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            inside: Vec::new(),
            escaped: false,
            dollar: false,
            last: b'\n',
            redirects: false,
            unsure: None,
        }
    }

    /// Goes over `text[from..to]`; what follows may be looked at.
    pub(super) fn text(&mut self, text: &[u8], from: usize, to: usize) {
        for (at, &byte) in text.iter().enumerate().take(to).skip(from) {
            self.byte(byte, &text[at + 1..]);
        }
    }

    /// What a placeholder would be here.
    ///
    /// # Errors
    /// No value is safe here: a sentence with the remedy.
    pub(super) fn spot(&self) -> Result<Spot, CommandError> {
        let quoting = match self.inside.last() {
            Some(Inside::Comment) => return Ok(Spot::Literal),
            Some(Inside::Single { .. }) => Quoting::Single,
            Some(Inside::Double) if self.escaped => Quoting::Backslash,
            Some(Inside::Double) => Quoting::Double,
            _ if self.escaped => return Ok(Spot::Literal),
            _ => Quoting::Bare,
        };
        if self.dollar {
            return Ok(Spot::Dollar);
        }
        let enclosing = self.inside.iter().find_map(|inside| match inside {
            Inside::Arithmetic(_) => Some("inside $((…)) or ((…))"),
            Inside::Braces { .. } => Some("inside ${…}"),
            _ => None,
        });
        match self.unsure.or(enclosing) {
            None => Ok(Spot::Value(quoting)),
            Some(place) => Err(format!(
                "with --shell no placeholder can stand {place}; assign it to a variable before \
                 that (x={{}}; … \"$x\" …), or feed it to the command with --stdin"
            )
            .into()),
        }
    }

    /// Whether a word can begin here that becomes several.
    pub(super) fn begins_word(&self) -> bool {
        is_boundary(self.last) && !self.redirects
    }

    /// Goes over a placeholder that stands for a value.
    pub(super) fn value(&mut self) {
        (self.escaped, self.dollar, self.redirects) = (false, false, false);
        self.last = PART_OF_WORD;
    }

    /// Whether arguments can be added at the end of the text, which has no blanks there.
    pub(super) fn is_open(&self) -> bool {
        self.inside.is_empty()
            && !self.escaped
            && !self.redirects
            && self.unsure.is_none()
            && !matches!(self.last, b';' | b'&' | b'|' | b'(' | b'\n')
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
            // The shell looks for the second backquote before it looks at what is inside.
            match byte {
                b'`' => return self.leave(at),
                b'\\' => self.unsure = Some("behind a backslash inside `…` (write $(…) instead)"),
                _ => {}
            }
        }
        let depth = self.inside.len().saturating_sub(1);
        match (self.inside.last_mut(), byte) {
            (Some(Inside::Single { .. }), b'\'') | (Some(Inside::Double), b'"') => {
                self.leave(depth);
            }
            (Some(Inside::Single { dollar: true }), b'\\') => {
                self.unsure = Some("behind a backslash inside $'…', which POSIX does not know");
            }
            (Some(Inside::Single { .. }), _) => {}
            (Some(Inside::Comment), b'\n') => {
                self.inside.pop();
            }
            (Some(Inside::Comment), _) => {}
            (Some(Inside::Arithmetic(open)), _) => {
                match byte {
                    b'(' => *open += 1,
                    // It was 1 at least: at 0 it is left.
                    b')' => *open -= 1,
                    b'\'' | b'"' | b'`' | b'\\' => {
                        self.unsure = Some("behind $((…)) or ((…)) that has quotes");
                    }
                    _ => {}
                }
                if matches!(self.inside.last(), Some(Inside::Arithmetic(0))) {
                    self.leave(depth);
                }
            }
            (Some(Inside::Braces { .. }), b'}') => self.leave(depth),
            (Some(Inside::Braces { quoted: true }), b'\'' | b'"') => {
                self.unsure = Some("behind quotes inside \"${…}\", of which shells differ");
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
            (self.last, self.dollar, self.redirects) = (PART_OF_WORD, false, false);
        } else if self.dollar || matches!(self.last, b'$' | b'<' | b'(') {
            self.unsure = Some("behind a line that ends between two signs that belong together");
        }
    }

    /// Ends what is at this depth and all that is inside of it.
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

    /// A byte that no quotes protect.
    fn bare(&mut self, byte: u8, dollar: bool, last: u8, rest: &[u8]) {
        match byte {
            b'\'' | b'"' => self.quote(byte, dollar),
            b'#' if is_boundary(last) => self.inside.push(Inside::Comment),
            b'<' if last == b'<' => self.unsure = Some("behind a here-document (<<)"),
            b'<' | b'>' => self.redirects = true,
            b'(' if !dollar && rest.first() == Some(&b'(') => {
                self.inside.push(Inside::Arithmetic(1));
            }
            b'(' | b')' if !dollar => self.parenthesis(byte),
            b'c' if is_boundary(last) && is_case(rest) && !self.inside.is_empty() => {
                // Its patterns have a closing parenthesis only.
                self.unsure = Some("behind `case` inside $(…)");
            }
            _ => self.meaningful(byte, dollar, last, rest),
        }
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

    /// What has a meaning between double quotes as well.
    fn meaningful(&mut self, byte: u8, dollar: bool, last: u8, rest: &[u8]) {
        match byte {
            b'\\' => {
                self.escaped = true;
                // It may go together with a line's end, as if neither had been there.
                self.last = last;
            }
            b'`' => self.inside.push(Inside::Backquotes),
            // Two of them are the number of the process.
            b'$' => self.dollar = !dollar,
            b'(' if dollar && rest.first() == Some(&b'(') => {
                self.inside.push(Inside::Arithmetic(1));
            }
            b'(' if dollar => self.inside.push(Inside::Command(1)),
            b'[' if dollar => self.unsure = Some("behind $[, which is arithmetic to some shells"),
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

/// Whether a word begins behind this byte.
fn is_boundary(byte: u8) -> bool {
    b" \t\n;&|()<>`".contains(&byte)
}

/// Whether what follows a `c` makes it the word `case`.
fn is_case(rest: &[u8]) -> bool {
    let after = rest.strip_prefix(b"ase");
    after.is_some_and(|rest| rest.first().is_none_or(|next| b" \t\n\\".contains(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands where the text has an `@`.
    fn spot(text: &str) -> Result<Spot, CommandError> {
        let (before, _) = text.split_once('@').expect("a place");
        let mut scanner = Scanner::new();
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
            let error = spot(text).expect_err(text);
            assert!(error.contains("variable") && error.contains("--stdin"), "{error}");
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
            let mut scanner = Scanner::new();
            scanner.text(text.as_bytes(), 0, text.len());
            assert_eq!(scanner.begins_word(), begins, "{text}");
        }
    }
}
