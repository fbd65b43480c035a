//! Places in the text of a shell command where a quoted value is more than data: bash and zsh evaluate the names
//! and numbers that some commands get, and run the code in a subscript such as `a[$(code)]`. `sh` may be bash.

use super::dialect::Dialect;
use super::words::{Observed, Words};

/// Follows the commands of a text, and the commands inside of their words.
#[derive(Clone, Debug)]
pub(super) struct Evaluation {
    dialect: Dialect,
    /// The innermost is the last one.
    stack: Vec<Level>,
    found: Observed,
}

/// The commands at one place of the text.
#[derive(Clone, Debug, Default)]
struct Level {
    /// How many quotes and constructs are around it.
    depth: usize,
    /// Parentheses that are around it and nothing else.
    inside: Parentheses,
    words: Words,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parentheses {
    /// None, but perhaps `$(…)`.
    #[default]
    None,
    /// Those of an array or of the list of a loop: there are no commands.
    List,
    /// Those of a subshell, a process substitution or a pattern. The command before them goes on after them.
    Word,
    /// A new command begins after them.
    Command,
}

impl Evaluation {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, stack: vec![Level::default()], found: Observed::default() }
    }

    fn words(&mut self) -> (&mut Words, &mut Observed) {
        if self.stack.is_empty() {
            self.stack.push(Level::default());
        }
        let last = self.stack.len() - 1;
        (&mut self.stack[last].words, &mut self.found)
    }

    /// Leaves all constructs that are deeper than this.
    pub(super) fn leave(&mut self, depth: usize) {
        self.stack.retain(|level| level.depth <= depth);
    }

    /// A construct of this depth has begun, which is a part of the current word. `has_commands`: it is `$(…)`.
    pub(super) fn enter(&mut self, depth: usize, has_commands: bool) {
        let (words, _) = self.words();
        words.begin_word();
        if has_commands {
            words.unknown();
            self.stack.push(Level { depth, ..Level::default() });
        }
    }

    /// Takes a byte that is not in quotes. `rest` is the text after it.
    pub(super) fn bare(&mut self, byte: u8, rest: &[u8]) {
        let dialect = self.dialect;
        let is_list = self.stack.last().is_some_and(|level| level.inside == Parentheses::List);
        let (words, found) = self.words();
        match byte {
            b'(' if !words.is_condition() => self.open(rest),
            b')' if !words.is_condition() => self.close(),
            b'\n' | b';' | b'&' | b'|' if is_list => words.bare(b' ', rest, dialect, found),
            _ => words.bare(byte, rest, dialect, found),
        }
    }

    /// Takes a byte in quotes, or an escaped one. `is_single`: they are single quotes.
    pub(super) fn quoted(&mut self, byte: u8, is_single: bool) {
        let is_zsh = self.dialect == Dialect::Zsh;
        self.words().0.quoted(byte, is_single, is_zsh);
    }

    /// The current word has begun, with a quote.
    pub(super) fn quote(&mut self) {
        self.words().0.quote();
    }

    /// Takes a byte of arithmetic.
    pub(super) fn arithmetic(&mut self, byte: u8) {
        if self.dialect == Dialect::Zsh {
            self.found.arithmetic(byte);
        }
    }

    /// Arithmetic has ended.
    pub(super) fn end_arithmetic(&mut self) {
        self.found.end_arithmetic();
    }

    /// An opening parenthesis.
    fn open(&mut self, rest: &[u8]) {
        let depth = self.stack.last().map_or(0, |level| level.depth);
        let (words, found) = self.words();
        let is_list = words.is_list();
        let inside = match words.before_parenthesis(rest.first() == Some(&b')'), found) {
            None => return,
            Some(_) if is_list => Parentheses::List,
            Some(true) => Parentheses::Word,
            Some(false) => Parentheses::Command,
        };
        let words = if inside == Parentheses::List { Words::of_list() } else { Words::default() };
        self.stack.push(Level { depth, inside, words });
    }

    /// A closing parenthesis.
    fn close(&mut self) {
        let dialect = self.dialect;
        let inside = self.stack.last().map_or(Parentheses::None, |level| level.inside);
        let (words, found) = self.words();
        words.end(dialect, found);
        if inside == Parentheses::None {
            return;
        }
        self.stack.pop();
        let (words, _) = self.words();
        if inside == Parentheses::Command || words.ends_after_parenthesis() {
            *words = Words::default();
        }
    }

    /// Why a value here would be evaluated; `None`: it is data, as far as the text before it shows.
    pub(super) fn problem(&self) -> Option<&'static str> {
        self.stack.iter().find_map(|level| level.words.problem(self.dialect))
    }

    /// Whether several words can be here instead of one.
    pub(super) fn takes_many(&self) -> bool {
        self.stack.last().is_none_or(|level| level.words.takes_many())
    }

    /// Takes a value, which is data.
    pub(super) fn value(&mut self) {
        for level in &mut self.stack {
            level.words.value(&mut self.found);
        }
        self.words().0.unknown();
    }

    /// Why the text after a value makes the shell evaluate it.
    pub(super) fn end(&mut self) -> Option<&'static str> {
        let dialect = self.dialect;
        for level in self.stack.iter_mut().rev() {
            level.words.end(dialect, &mut self.found);
        }
        self.found.problem()
    }

    /// Why args can't be appended to the text.
    pub(super) fn problem_at_end(&self) -> Option<&'static str> {
        let mut after = self.clone();
        after.bare(b' ', b"");
        if let Some(problem) = after.problem() {
            return Some(problem);
        }
        if !after.takes_many() {
            return Some("at the end of a condition");
        }
        after.value();
        after.end()
    }
}

#[cfg(test)]
mod tests;
