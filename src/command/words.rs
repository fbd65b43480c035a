//! Follows the words of a simple command, to find the values in it that the shell would evaluate.

use super::dialect::Dialect;
use super::operands::{self, Operands, assigned_name};

const SUBSCRIPT: &str = "after [ in the same word, which may be the subscript of an array";
const OPERAND: &str = "in a command whose arguments the shell may evaluate, such as let, read, unset or eval (in zsh also exit)";
const DECLARATION: &str =
    "as the name of a variable, or as the value of a number or an array (write export NAME={})";
const VARIABLE: &str = "as the value of a variable that the shell itself uses";
const NUMBER: &str =
    "as the value of a variable that is a number or an array elsewhere in the text";
const COMPARISON: &str =
    "in [[ … ]] that compares numbers or has -v, which the shell evaluates (use [ … ])";
const TESTED: &str = "after -v, -R or -t, or after an unknown word in [ … ]";
const FORMAT: &str = "as an option or the format of printf (write printf '%s' {})";
const ZSH_FORMAT: &str = "as a number of printf, which zsh evaluates (use %s in a plain format)";
const DASHES: &str = "where it may be an option (write -- before it, and only plain options)";
const HIDDEN: &str = "after a command in a variable that may be read, unset or the like";

/// A longer word has no meaning here.
const LONGEST: usize = 4096;

/// A part of a word that is a value.
const UNKNOWN: u8 = 0;

/// A word of a command, or its beginning.
#[derive(Clone, Debug, Default)]
struct ShellWord {
    text: Vec<u8>,
    has_begun: bool,
    /// The shell expands something in it.
    is_unknown: bool,
    is_quoted: bool,
    /// It has a bracket that may begin a subscript.
    has_bracket: bool,
}

/// The names and commands that a text has.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed {
    /// Variables that are numbers.
    numbers: Vec<Vec<u8>>,
    /// Variables that are arrays, or that a builtin fills.
    filled: Vec<Vec<u8>>,
    /// Variables that get a value.
    assigned: Vec<Vec<u8>>,
    /// Variables that a declaration gives a value.
    declared: Vec<Vec<u8>>,
    /// The arithmetic that the text is inside of.
    arithmetic: Vec<u8>,
    /// A value is redirected to a command.
    redirects: bool,
    /// A value is an operand of a command that a variable names.
    has_unknown_command: bool,
    /// A word may be the name of such a command.
    hides_command: bool,
    /// What comes after a value makes it code.
    late: Option<&'static str>,
}

impl Observed {
    pub(super) fn arithmetic(&mut self, byte: u8) {
        self.arithmetic.push(byte);
    }

    /// Arithmetic has ended. In zsh, its assignments make variables numbers.
    pub(super) fn end_arithmetic(&mut self) {
        let text = std::mem::take(&mut self.arithmetic);
        let is_change = |three: &[u8]| match three {
            [b'+', b'+', _] | [b'-', b'-', _] => true,
            [before, b'=', after] => !b"=!<>".contains(before) && *after != b'=',
            _ => false,
        };
        let shifts =
            [&b"<<="[..], b">>="].iter().any(|it| memchr::memmem::find(&text, it).is_some());
        if shifts
            || text.windows(3).any(is_change)
            || text.ends_with(b"++")
            || text.ends_with(b"--")
        {
            let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'_';
            self.numbers.extend(text.split(is_end).map(<[u8]>::to_vec));
        }
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        let meet = |one: &[Vec<u8>], other: &[Vec<u8>]| one.iter().any(|name| other.contains(name));
        if self.late.is_some() {
            return self.late;
        }
        let changes = meet(&self.assigned, &self.numbers)
            || meet(&self.declared, &self.numbers)
            || meet(&self.declared, &self.filled)
            || (self.redirects && meet(&self.filled, &self.numbers));
        if changes {
            return Some(NUMBER);
        }
        (self.has_unknown_command && self.hides_command).then_some(HIDDEN)
    }
}

/// Follows the words of a simple command.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// What the command does with its operands; `None`: it has not come.
    command: Option<Operands>,
    /// A variable names the command.
    is_variable: bool,
    /// The word before the command is one such as `time`, which may have options.
    has_prefix: bool,
    /// How many operands there were that are no options.
    count: usize,
    /// There was `--`.
    has_dashes: bool,
    before: ShellWord,
    word: ShellWord,
    /// The word is the target of a redirection.
    redirects: bool,
    /// An option, an operator or a format was there that makes values numbers, or that is unknown.
    is_doubtful: bool,
    has_value: bool,
    /// The command makes its variables numbers.
    makes_numbers: bool,
    /// The variables of a loop.
    names: Vec<Vec<u8>>,
    /// The words of a loop have begun.
    in_list: bool,
}

impl ShellWord {
    fn push(&mut self, byte: u8) {
        self.has_begun = true;
        if self.text.len() < LONGEST {
            self.text.push(byte);
        } else {
            self.is_unknown = true;
        }
    }

    /// Its text, if the shell expands nothing in it.
    fn known(&self) -> Option<&[u8]> {
        (!self.is_unknown).then_some(self.text.as_slice())
    }

    /// The word, if it is not quoted.
    fn is_sign(&self, sign: &[u8]) -> bool {
        !self.is_quoted && self.known() == Some(sign)
    }

    /// Whether a value at its end may be an option or operator.
    fn may_be_option(&self) -> bool {
        matches!(self.text.first(), None | Some(&(UNKNOWN | b'-' | b'+' | b'$')))
    }

    /// The number or variable before the sign of a redirection.
    fn is_descriptor(&self) -> bool {
        let is_name = self.text.first() == Some(&b'{') && self.text.last() == Some(&b'}');
        !self.is_quoted && (is_name || self.text.iter().all(u8::is_ascii_digit))
    }
}

impl Words {
    /// The words of a list, which are no commands.
    pub(super) fn of_list() -> Self {
        Self { command: Some(Operands::Data), in_list: true, ..Self::default() }
    }

    pub(super) fn is_condition(&self) -> bool {
        self.command == Some(Operands::Condition)
    }

    /// Whether the parentheses that begin here have a list.
    pub(super) fn is_list(&self) -> bool {
        let is_array =
            self.word.text.last() == Some(&b'=') && assigned_name(&self.word.text).is_some();
        self.command == Some(Operands::Loop) || is_array
    }

    /// Whether a new command begins after parentheses in this one.
    pub(super) fn ends_after_parenthesis(&self) -> bool {
        matches!(self.command, Some(Operands::Loop | Operands::Case | Operands::Names))
    }

    pub(super) fn begin_word(&mut self) {
        self.word.has_begun = true;
    }

    pub(super) fn quote(&mut self) {
        self.word.has_begun = true;
        self.word.is_quoted = true;
    }

    /// Takes a part of a word whose text is unknown.
    pub(super) fn unknown(&mut self) {
        self.word.push(UNKNOWN);
        self.word.is_unknown = true;
    }

    /// Takes a byte that is not in quotes, and no parenthesis.
    pub(super) fn bare(&mut self, byte: u8, rest: &[u8], dialect: Dialect, found: &mut Observed) {
        let after_sign = self.redirects && !self.word.has_begun;
        match byte {
            b' ' | b'\t' => self.end_word(dialect, found),
            // `>&2`, `>|`, and `>!` of zsh
            b'&' | b'|' if after_sign => {}
            b'!' if after_sign && dialect == Dialect::Zsh => {}
            // `&>`
            b'&' if rest.first() == Some(&b'>') && !self.is_condition() => {
                self.end_word(dialect, found)
            }
            b'<' | b'>' if self.is_condition() => self.end_word(dialect, found),
            // A process substitution is a word.
            b'<' | b'>' if rest.first() == Some(&b'(') => self.unknown(),
            b'<' | b'>' => {
                if self.word.is_descriptor() {
                    self.word = ShellWord::default();
                }
                self.end_word(dialect, found);
                self.redirects = true;
            }
            b'\n' | b';' | b'&' | b'|' | b'(' | b')' if self.is_condition() => {
                self.end_word(dialect, found);
            }
            b'\n' | b';' | b'&' | b'|' => self.end(dialect, found),
            b'[' => {
                self.word.has_bracket |= !self.word.text.is_empty() || self.in_list;
                self.word.push(byte);
            }
            b'$' | b'*' | b'?' | b'{' | b'~' => {
                // A brace alone is a word of the shell.
                let is_alone = byte == b'{' && rest.first().is_none_or(u8::is_ascii_whitespace);
                self.word.is_unknown |= !is_alone || self.word.has_begun;
                self.word.push(byte);
            }
            _ => self.word.push(byte),
        }
        if self.word.text == b"[" && byte == b'[' {
            // `[{}]` may be an element of a list.
            self.word.has_bracket = self.in_list;
        } else if self.word.text == b"[[" {
            self.word.has_bracket = self.in_list;
        }
    }

    /// Takes a byte in quotes.
    pub(super) fn quoted(&mut self, byte: u8, is_single: bool, is_zsh: bool) {
        if !is_single {
            self.word.is_unknown |= byte == b'$';
            // zsh: "$a[1]"
            self.word.has_bracket |= is_zsh && byte == b'[' && self.word.is_unknown;
        }
        self.word.push(byte);
        self.word.is_quoted = true;
    }

    /// What an opening parenthesis is. `None`: a function begins here. `Some(true)`: a part of a word. `Some(false)`:
    /// it is before a command.
    pub(super) fn before_parenthesis(
        &mut self,
        is_empty: bool,
        found: &mut Observed,
    ) -> Option<bool> {
        if let (Some(name), true) = (assigned_name(&self.word.text), self.is_list()) {
            found.filled.push(name.to_vec());
        } else if is_empty {
            *self = Self::default();
            return None;
        }
        if self.command.is_none() && !self.word.has_begun {
            return Some(false);
        }
        if self.command == Some(Operands::Loop) {
            self.in_list = true;
        } else {
            self.unknown();
        }
        Some(true)
    }

    /// Ends the command.
    pub(super) fn end(&mut self, dialect: Dialect, found: &mut Observed) {
        self.end_word(dialect, found);
        let in_list = self.in_list && self.command == Some(Operands::Data);
        *self = if in_list { Self::of_list() } else { Self::default() };
    }

    fn end_word(&mut self, dialect: Dialect, found: &mut Observed) {
        let word = std::mem::take(&mut self.word);
        let is_nothing = word.text.is_empty() && !word.is_quoted;
        if !word.has_begun || is_nothing || std::mem::take(&mut self.redirects) {
            return;
        }
        match self.command {
            None => self.command_word(&word, dialect, found),
            Some(command) => self.operand(command, &word, dialect, found),
        }
        self.before = word;
    }

    /// Takes a word where a command may begin.
    fn command_word(&mut self, word: &ShellWord, dialect: Dialect, found: &mut Observed) {
        let text = word.text.as_slice();
        if assigned_name(text).is_some() {
            let at = memchr::memchr(b'=', text).map_or(0, |at| at + 1);
            found.hides_command |= operands::is_hideable(&text[at..]);
        } else if self.has_prefix && text.len() > 1 && text.starts_with(b"-") {
            let is_plain = !word.is_unknown && text.iter().all(|byte| b"-pvVcl".contains(byte));
            self.command = (!is_plain).then_some(Operands::Evaluated);
        } else if word.is_unknown && !text.contains(&b'/') {
            let is_pattern = !word.is_quoted && text.iter().any(|byte| b"*?{".contains(byte));
            self.command = Some(if is_pattern { Operands::Evaluated } else { Operands::Data });
            // A value that is the command itself may be any command.
            self.is_variable = !text.contains(&UNKNOWN) || text.contains(&b'$');
        } else {
            let operands = operands::of(text, dialect);
            self.has_prefix = operands == Operands::Prefix;
            self.command = (operands != Operands::Prefix).then_some(operands);
            self.makes_numbers = operands::makes_numbers(text, dialect);
        }
    }

    /// Takes an operand or an option.
    fn operand(
        &mut self,
        command: Operands,
        word: &ShellWord,
        dialect: Dialect,
        found: &mut Observed,
    ) {
        let text = word.text.as_slice();
        let is_option =
            text.len() > 1 && matches!(text[0], b'-' | b'+') && self.count == 0 && !self.has_dashes;
        let is_end = matches!(word.known(), Some(b"--" | b"-")) && self.count == 0;
        found.hides_command |= word.known().is_some_and(operands::is_hideable);
        match command {
            Operands::Condition if word.is_sign(b"]]") => *self = Self::default(),
            Operands::Condition => {
                self.is_doubtful |= operands::evaluates(text);
                if self.is_doubtful && self.has_value {
                    found.late = Some(COMPARISON);
                }
            }
            Operands::Case if word.is_sign(b"in") => *self = Self::default(),
            Operands::Loop if word.is_sign(b"in") => self.in_list = true,
            Operands::Loop if word.is_sign(b"do") => *self = Self::default(),
            Operands::Data | Operands::Names | Operands::Loop
                if (word.is_sign(b"{") || word.is_sign(b"}")) =>
            {
                *self = Self::default();
            }
            Operands::Loop if !self.in_list => self.names.push(text.to_vec()),
            Operands::Declaration => self.declared(word, is_option, found),
            Operands::Evaluated => {
                let name = assigned_name(text).unwrap_or(text).to_vec();
                if self.makes_numbers {
                    found.numbers.push(name.clone());
                }
                found.filled.push(name);
            }
            Operands::Format if self.is_after_v() => found.filled.push(text.to_vec()),
            Operands::Format if is_end || is_option => self.has_dashes |= is_end,
            Operands::Format => {
                let is_plain = self.count > 0 || word.known().is_some_and(operands::is_of_text);
                self.is_doubtful |= dialect == Dialect::Zsh && !is_plain;
                self.count += 1;
            }
            Operands::Print | Operands::Parameters if is_end => self.has_dashes = true,
            Operands::Print if is_option => self.is_doubtful |= !operands::is_plain_print(text),
            Operands::Parameters if is_option => self.is_doubtful |= !operands::is_plain_set(text),
            Operands::Print | Operands::Parameters => {
                self.is_doubtful |= word.is_unknown && !self.has_dashes;
                self.count += 1;
            }
            _ => {}
        }
    }

    /// Takes a word of a declaration.
    fn declared(&mut self, word: &ShellWord, is_option: bool, found: &mut Observed) {
        let text = word.text.as_slice();
        let name = assigned_name(text);
        if is_option {
            self.is_doubtful |= !operands::is_plain_option(text);
            self.makes_numbers |= text.iter().any(|byte| b"iEF".contains(byte));
        } else if word.is_unknown && name.is_none() {
            self.is_doubtful = true;
        }
        let name = name.unwrap_or(text).to_vec();
        if self.makes_numbers {
            found.numbers.push(name);
        } else if self.is_doubtful {
            found.filled.push(name);
        }
    }

    fn is_after_v(&self) -> bool {
        self.count == 0 && self.before.known() == Some(b"-v")
    }

    /// Why a value here would be evaluated; `None`: it is data.
    pub(super) fn problem(&self, dialect: Dialect) -> Option<&'static str> {
        let word = &self.word;
        let is_subscript = match self.command {
            None | Some(Operands::Declaration) => true,
            _ => self.in_list || (dialect == Dialect::Zsh && word.is_unknown),
        };
        if word.has_bracket && is_subscript {
            return Some(SUBSCRIPT);
        }
        if self.redirects {
            return None;
        }
        let name = assigned_name(&word.text);
        let is_special = |name: &[u8]| operands::is_special(name, dialect);
        let when = |is_wrong: bool, why: &'static str| is_wrong.then_some(why);
        match self.command {
            None if self.has_prefix && word.text.first() == Some(&b'-') => Some(OPERAND),
            None => when(name.is_some_and(is_special), VARIABLE),
            Some(Operands::Evaluated | Operands::Names) => Some(OPERAND),
            Some(Operands::Loop) if !self.in_list => Some(DECLARATION),
            Some(Operands::Loop) => when(self.names.iter().any(|name| is_special(name)), VARIABLE),
            Some(Operands::Declaration) if self.is_doubtful || name.is_none() => Some(DECLARATION),
            Some(Operands::Declaration) => when(name.is_some_and(is_special), VARIABLE),
            Some(Operands::Condition) => when(self.is_doubtful, COMPARISON),
            Some(Operands::Test) => when(!self.is_tested_as_text(), TESTED),
            Some(Operands::Format) if self.count > 0 => when(self.is_doubtful, ZSH_FORMAT),
            Some(Operands::Format) => {
                when(self.is_after_v() || (word.may_be_option() && !self.has_dashes), FORMAT)
            }
            Some(Operands::Print | Operands::Parameters) => {
                let is_operand = self.has_dashes || self.count > 0 || !word.may_be_option();
                when(self.is_doubtful || !is_operand, DASHES)
            }
            Some(Operands::Data | Operands::Case | Operands::Prefix) => None,
        }
    }

    /// Whether a value here is text to `[ … ]`, and no operator.
    fn is_tested_as_text(&self) -> bool {
        match self.before.known() {
            Some(before) => {
                !matches!(before, b"-v" | b"-R" | b"-t") && !self.word.text.starts_with(b"-")
            }
            None => !self.word.may_be_option(),
        }
    }

    /// Whether several words can be here instead of one.
    pub(super) fn takes_many(&self) -> bool {
        !matches!(self.command, Some(Operands::Test | Operands::Condition))
    }

    /// Takes a value, which is data.
    pub(super) fn value(&mut self, found: &mut Observed) {
        self.has_value = true;
        if self.redirects {
            found.redirects = true;
            return;
        }
        found.has_unknown_command |= self.is_variable;
        let name = assigned_name(&self.word.text).map(<[u8]>::to_vec);
        match self.command {
            None => found.assigned.extend(name),
            Some(Operands::Declaration) => found.declared.extend(name),
            Some(Operands::Loop) => found.assigned.append(&mut self.names.clone()),
            _ => {}
        }
    }
}
