//! Places in the text of bash or zsh where a quoted value is more than data: these shells evaluate the names
//! and numbers that some commands get, and run the code in a subscript such as `a[$(code)]`.

use super::dialect::Dialect;

/// Commands whose arguments are names that the shell evaluates.
const TAKE_NAMES: [&[u8]; 9] = [
    b"let",
    b"read",
    b"unset",
    b"mapfile",
    b"readarray",
    b"getopts",
    b"wait",
    b"vared",
    b"zparseopts",
];

/// Commands whose arguments are names, or names and values. A value is safe, unless it is a number.
const DECLARE: [&[u8]; 7] =
    [b"declare", b"typeset", b"local", b"readonly", b"export", b"integer", b"float"];

/// Commands with an option `-v` that takes a name.
const TAKE_NAME_AFTER_V: [&[u8]; 5] = [b"printf", b"print", b"test", b"[", b"[["];

/// Words before a command.
const PREFIXES: [&[u8]; 14] = [
    b"if", b"then", b"elif", b"else", b"do", b"while", b"until", b"!", b"{", b"time", b"command",
    b"builtin", b"exec", b"noglob",
];

/// Comparisons of numbers in `[[ … ]]`.
const COMPARISONS: [&[u8]; 6] = [b"-eq", b"-ne", b"-lt", b"-le", b"-gt", b"-ge"];

/// A longer word has no meaning here.
const LONGEST: usize = 64;

/// Whether the current word has a bracket that may begin a subscript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Bracket {
    #[default]
    None,
    /// The word is `[` or `[[` so far: a command.
    Command,
    Subscript,
}

/// Follows the words of a simple command.
#[derive(Clone, Debug, Default)]
pub(super) struct Evaluation {
    /// The first word of the command; empty: it has not come.
    command: Vec<u8>,
    /// The word before the current one.
    before: Vec<u8>,
    word: Vec<u8>,
    in_word: bool,
    bracket: Bracket,
    /// Variables are declared as numbers.
    is_number: bool,
    /// Numbers are compared.
    compares: bool,
}

impl Evaluation {
    /// Takes a byte that is not in quotes.
    pub(super) fn bare(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'<' | b'>' => self.end_word(),
            // These do not end `[[ … ]]`.
            b'\n' | b';' | b'&' | b'|' | b'(' | b')' if self.command == b"[[" => self.end_word(),
            b'\n' | b';' | b'&' | b'|' | b'(' | b')' => *self = Self::default(),
            b'[' if !self.in_word || (self.bracket == Bracket::Command && self.word == b"[") => {
                self.push(byte);
                self.bracket = Bracket::Command;
            }
            b'[' => {
                self.push(byte);
                self.bracket = Bracket::Subscript;
            }
            _ => self.push(byte),
        }
    }

    /// Takes a byte in quotes, or an escaped one.
    pub(super) fn quoted(&mut self, byte: u8, dialect: Dialect) {
        let follows_name = self
            .word
            .last()
            .is_some_and(|last| last.is_ascii_alphanumeric() || b"_}]".contains(last));
        // zsh: "$a[1]"
        self.push(byte);
        if dialect == Dialect::Zsh && byte == b'[' && follows_name {
            self.bracket = Bracket::Subscript;
        }
    }

    /// Takes a value or a part of a word whose text is unknown.
    pub(super) fn unknown(&mut self) {
        self.push(b'?');
    }

    /// The current word has begun, with a quote.
    pub(super) fn begin_word(&mut self) {
        if self.bracket == Bracket::Command {
            self.bracket = Bracket::Subscript;
        }
        self.in_word = true;
    }

    fn push(&mut self, byte: u8) {
        self.begin_word();
        if self.word.len() < LONGEST {
            self.word.push(byte);
        }
    }

    fn end_word(&mut self) {
        if !std::mem::take(&mut self.in_word) {
            return;
        }
        self.bracket = Bracket::None;
        self.before = std::mem::take(&mut self.word);
        let word = self.before.as_slice();
        if self.command == b"[[" && word == b"]]" {
            self.command = word.to_vec();
        }
        if self.command.is_empty() {
            let is_before = PREFIXES.contains(&word) || word.contains(&b'=');
            if !is_before {
                self.command = word.to_vec();
            }
        } else {
            self.is_number |= word.starts_with(b"-") && word.contains(&b'i');
            self.compares |= COMPARISONS.contains(&word);
        }
    }

    /// Why a value here would be evaluated; `None`: it is data. `rest` is the text after it.
    pub(super) fn problem(&self, rest: &[u8]) -> Option<&'static str> {
        let command = self.command.as_slice();
        let is_number = self.is_number || matches!(command, b"integer" | b"float");
        if self.bracket != Bracket::None {
            return Some("after [ in the same word, which may be the subscript of an array");
        }
        if TAKE_NAMES.contains(&command) {
            return Some(
                "in a command whose arguments the shell evaluates, such as let, read or unset",
            );
        }
        if DECLARE.contains(&command) && (is_number || !self.word.contains(&b'=')) {
            return Some("as the name of a variable, or as its number (write declare NAME={})");
        }
        if TAKE_NAME_AFTER_V.contains(&command) && matches!(self.before.as_slice(), b"-v" | b"-R") {
            return Some("after -v, where it would be the name of a variable");
        }
        let compares = || self.compares || compares_before_end(rest);
        if command == b"[[" && compares() {
            return Some("in [[ … ]] that compares numbers, which the shell evaluates (use [ … ])");
        }
        None
    }
}

/// Whether numbers are compared before the end of `[[ … ]]`.
fn compares_before_end(rest: &[u8]) -> bool {
    let end = memchr::memmem::find(rest, b"]]").unwrap_or(rest.len());
    let mut words = rest[..end].split(u8::is_ascii_whitespace);
    words.any(|word| COMPARISONS.contains(&word))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use crate::command::{Shell, Template, TemplateSettings};

    fn is_refused(shell: &str, text: &str) -> bool {
        let shell = Shell::named(shell.as_ref());
        let settings = TemplateSettings { shell, stdin: true, ..TemplateSettings::default() };
        Template::new(&[OsString::from(text)], &settings).is_err()
    }

    #[test]
    fn where_a_value_would_be_evaluated() {
        for text in [
            "[[ {} -eq 1 ]]",
            "[[ 1 -lt 2 && x == {} ]]",
            "[[ x == y && {} -eq 1 ]]",
            "[[ ( x == y ) || ( {} -eq 1 ) ]]",
            "[[ x\n&& {} -eq 1 ]]",
            "if [[ 0 -ne {} ]]; then :; fi",
            "[[ -v {} ]]",
            "test -v {}",
            "[ -v {} ]",
            "printf -v {} x",
            "a[{}]=1",
            "a=([{}]=x)",
            "a=([x{}]=x)",
            "declare {}",
            "declare -i x={}",
            "typeset -gi x={}",
            "x=1 local {}=1",
            "command declare {}",
            "builtin 'declare' {}",
            "\\declare {}",
            "read {} < f",
            "unset {}",
            "let {}",
            "echo \"$(let {})\"",
            "x=$(y) declare \"$(z)\" {}",
            "(( {} ))",
            "echo $(( {} ))",
            "echo ${a[{}]}",
            "cat <<E\n{}\nE",
        ] {
            assert!(is_refused("bash", text), "bash: {text}");
            assert!(is_refused("zsh", text), "zsh: {text}");
        }
        for text in ["echo *(e{})", "echo *(e:{}:)", "echo \"$a[{}]\"", "float x={}", "vared {}"] {
            assert!(is_refused("zsh", text), "{text}");
        }
    }

    #[test]
    fn where_it_is_data() {
        for text in [
            "[[ -n {} ]]",
            "[[ {} == *.png ]] && echo {}",
            "[[ x =~ {} ]]",
            "[ {} -eq 1 ]",
            "printf '%d' {}",
            "declare x={}",
            "export x={} y={}",
            "a=({} {}); a+=({})",
            "echo let {}",
            "echo declare; echo {}",
            "if [[ 1 -eq 2 ]]; then echo {}; fi",
            "[[ 1 -eq 2 ]] || echo {}",
            "declare -i x=1; echo {}",
            "diff <(sort {}) <(sort {1})",
            "cat <<< {}",
            "echo \"[{}]\" '[{}]'",
            "for x in {}; do echo $x; done",
            "f() { echo {}; }; f",
            "case {} in a) echo {};; esac",
            "x={} y={} echo {}",
        ] {
            assert!(!is_refused("bash", text), "bash: {text}");
            assert!(!is_refused("zsh", text), "zsh: {text}");
        }
        assert!(!is_refused("bash", "shopt -s extglob; echo @({}|x)"));
    }
}
