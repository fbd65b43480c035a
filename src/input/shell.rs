//! Placeholders in the text of a shell command: where they stand between its quotes, so that what they
//! stand for can be referred to as a positional parameter, and never becomes part of the text.

/// How the place of a placeholder is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quoting {
    /// Not at all.
    Bare,
    /// It is between double quotes.
    Double,
    /// It is between single quotes.
    Single,
    /// It is in a comment, where nothing has a meaning.
    Comment,
}

/// What the scanner is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Double,
    Single,
    Comment,
    /// `$(…)` or `(…)`.
    Parens,
    Backquotes,
    /// `${…}`.
    Braces,
    /// `$((…))`, with so many open parentheses.
    Arithmetic(usize),
}

/// Follows the quoting of a text as POSIX sh does.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    inside: Vec<Inside>,
    /// The last byte was a backslash that takes away the meaning of the next one.
    is_escaped: bool,
    /// The last bytes, of which the meaning of the next may depend.
    last: [u8; 2],
    has_here_document: bool,
}

impl Scanner {
    /// Goes over text between placeholders.
    pub(super) fn text(&mut self, text: &[u8]) {
        for (index, &byte) in text.iter().enumerate() {
            let next = text.get(index + 1).copied().unwrap_or_default();
            self.byte(byte, next);
            self.last = [self.last[1], byte];
        }
    }

    /// How a placeholder is quoted that stands here, and whether a backslash stands before it.
    ///
    /// # Errors
    /// No reference to a parameter is safe here: a sentence with the remedy.
    pub(super) fn place(&mut self) -> Result<(Quoting, bool), String> {
        let unsafe_in = self.inside.iter().find_map(|inside| match inside {
            Inside::Arithmetic(_) => Some("$((…))"),
            Inside::Backquotes => Some("`…` (write $(…) instead)"),
            Inside::Braces => Some("${…}"),
            _ => None,
        });
        let unsafe_in = unsafe_in.or(self.has_here_document.then_some("or behind a here-document"));
        if let Some(place) = unsafe_in {
            return Err(format!(
                "with --shell no placeholder can stand in {place}: assign it to a variable before \
                 (x={{}}; … $x …), or use --stdin"
            ));
        }
        let is_escaped = std::mem::take(&mut self.is_escaped);
        self.last = [self.last[1], b'}'];
        let quoting = match self.inside.last() {
            Some(Inside::Double) => Quoting::Double,
            Some(Inside::Single) => Quoting::Single,
            Some(Inside::Comment) => Quoting::Comment,
            _ => Quoting::Bare,
        };
        Ok((quoting, is_escaped))
    }

    fn byte(&mut self, byte: u8, next: u8) {
        if std::mem::take(&mut self.is_escaped) {
            return;
        }
        match self.inside.last_mut() {
            Some(Inside::Single) => self.leave_at(byte == b'\''),
            Some(Inside::Comment) => self.leave_at(byte == b'\n'),
            Some(Inside::Arithmetic(depth)) => {
                match byte {
                    b'(' => *depth += 1,
                    b')' => *depth -= 1,
                    _ => {}
                }
                let is_over = *depth == 0;
                self.leave_at(is_over);
            }
            Some(Inside::Double) => match byte {
                b'"' => self.leave_at(true),
                _ => self.meaningful(byte, next),
            },
            Some(Inside::Braces) if byte == b'}' => self.leave_at(true),
            _ => self.bare(byte, next),
        }
    }

    fn leave_at(&mut self, is_over: bool) {
        if is_over {
            self.inside.pop();
        }
    }

    /// A byte that no quotes protect.
    fn bare(&mut self, byte: u8, next: u8) {
        let is_word_start = matches!(self.last[1], 0 | b' ' | b'\t' | b'\n' | b';' | b'&' | b'|')
            || matches!(self.last[1], b'(' | b')');
        match byte {
            b'\'' => self.inside.push(Inside::Single),
            b'"' => self.inside.push(Inside::Double),
            b'#' if is_word_start => self.inside.push(Inside::Comment),
            b'<' if self.last[1] == b'<' => self.has_here_document = true,
            // The one behind a `$` has been seen with that.
            b'(' if self.last[1] != b'$' => self.inside.push(Inside::Parens),
            b')' if self.inside.last() == Some(&Inside::Parens) => self.leave_at(true),
            _ => self.meaningful(byte, next),
        }
    }

    /// What has a meaning between double quotes as well.
    fn meaningful(&mut self, byte: u8, next: u8) {
        let is_dollar = self.last[1] == b'$';
        match (byte, next) {
            (b'\\', _) => self.is_escaped = true,
            (b'`', _) => match self.inside.last() == Some(&Inside::Backquotes) {
                true => self.leave_at(true),
                false => self.inside.push(Inside::Backquotes),
            },
            (b'(', b'(') if is_dollar => self.inside.push(Inside::Arithmetic(1)),
            (b'(', _) if is_dollar => self.inside.push(Inside::Parens),
            (b'{', _) if is_dollar => self.inside.push(Inside::Braces),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands where the text has an `@`.
    fn place(text: &str) -> Result<Quoting, String> {
        let mut scanner = Scanner::default();
        let (before, _) = text.split_once('@').expect("a place");
        scanner.text(before.as_bytes());
        scanner.place().map(|(quoting, _)| quoting)
    }

    #[test]
    fn quotes_are_followed() {
        use Quoting::{Bare, Comment, Double, Single};
        for (text, quoting) in [
            ("echo @", Bare),
            ("echo \"a @", Double),
            ("echo 'a @", Single),
            ("echo \"it's @", Double),
            ("echo 'a\" b' @", Bare),
            ("echo \\\" @", Bare),
            ("echo \"\\\" @", Double),
            ("echo \"$(cat @", Bare),
            ("echo \"$(cat \"@", Double),
            ("echo \"$(cat a) @", Double),
            ("(echo \"a\"; echo @", Bare),
            ("echo a#b @", Bare),
            ("echo # don't\necho @", Bare),
            ("echo # @", Comment),
            ("echo $'a' @", Bare),
            ("echo $((1 + 2)) @", Bare),
            ("echo ${x:-'}'} @", Bare),
            ("echo `date` @", Bare),
            ("echo \"`date`\" @", Bare),
            ("cat < @", Bare),
        ] {
            assert_eq!(place(text), Ok(quoting), "{text}");
        }
    }

    #[test]
    fn where_nothing_is_safe() {
        for text in [
            "echo $((@",
            "echo \"$(( (1) + @",
            "echo ${x:-@",
            "echo \"${x#\"@",
            "echo `cat @",
            "cat <<E\n@",
            "cat <<-'E'\n@",
        ] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
