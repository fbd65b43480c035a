//! The user's code as the job, and the command line of the worker that runs it.

use std::ffi::OsString;
use std::path::Path;

use super::language::Language;
use crate::protocol::{self, Protocol};

/// Code that is run for each job, in warm interpreters: an expression, or a file of functions.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procpool::{Code, Pool};
///
/// # if std::process::Command::new("python3").arg("-V").output().is_err() { return Ok(()); }
/// // `x` is the only arg, or the first one; `args` are all of them.
/// let squares = Pool::code(&Code::python("x ** e").setup("e = 2")).build()?;
/// assert_eq!(squares.blocking().process::<u64>("", [7])?, 49);
/// # Ok(()) }
/// ```
///
/// The functions of a file are the commands: `pool.process("resize", ("a.png", 100))` calls
/// `resize("a.png", 100)` of the file `ops.py` in a pool of `Code::file("ops.py")`. An object as args
/// becomes keyword arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The language of the code.
    #[doc(hidden)]
    pub language: Language,
    /// An expression or the path of a file.
    #[doc(hidden)]
    pub text: String,
    /// Code that runs once in each process, before the first job.
    #[doc(hidden)]
    pub setup: Vec<String>,
    /// An expression gets all args of a job as a list.
    #[doc(hidden)]
    pub lists: bool,
    /// Each call gets a list, and returns a list with a result for each element.
    #[doc(hidden)]
    pub each: bool,
    /// What a generator yields is sent at once.
    #[doc(hidden)]
    pub live: bool,
    /// Workers are forked from a process that has loaded the code and run the setup.
    #[doc(hidden)]
    pub preload: bool,
    /// The shell that runs the code, if it is code of a shell; `None`: `sh`.
    #[doc(hidden)]
    pub shell: Option<OsString>,
    pub(super) form: CodeForm,
}

/// The kinds of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeForm {
    Expression,
    File,
    /// A file whose name has no ending that tells the language.
    FileOfUnknownLanguage,
    /// A file if there is one of this name, otherwise an expression.
    Guess,
}

impl Code {
    /// A Python expression. `x` is the only arg or, of several, the first one; `args` are all of them.
    pub fn python(expression: impl Into<String>) -> Self {
        Self::expression(Language::Python, expression)
    }

    /// A Perl expression. `$_` is the only arg or, of several, the first one; `@_` are all of them.
    pub fn perl(expression: impl Into<String>) -> Self {
        Self::expression(Language::Perl, expression)
    }

    /// A JavaScript expression for Node.js. `x` is the only arg or, of several, the first one; `args` are all
    /// of them.
    pub fn node(expression: impl Into<String>) -> Self {
        Self::expression(Language::Node, expression)
    }

    /// A Ruby expression. `x` is the only arg or, of several, the first one; `args` are all of them.
    pub fn ruby(expression: impl Into<String>) -> Self {
        Self::expression(Language::Ruby, expression)
    }

    /// A command of a POSIX shell, whose stdout is the result. `$1` and so on are the args.
    pub fn sh(command: impl Into<String>) -> Self {
        Self::expression(Language::Sh, command)
    }

    /// An expression in a language. In a shell it is a command, whose stdout is the result.
    #[doc(hidden)]
    pub fn expression(language: Language, expression: impl Into<String>) -> Self {
        Self::with(language, expression.into(), CodeForm::Expression)
    }

    /// A file whose functions are the commands. The end of its name tells the language: `.py`, `.pl`, `.pm`,
    /// `.js`, `.mjs`, `.cjs`, `.rb` or `.sh`.
    pub fn file(path: impl AsRef<Path>) -> Self {
        let ending = path.as_ref().extension().and_then(|ending| ending.to_str());
        Self::file_as(&path, ending.unwrap_or_default())
    }

    /// As [`Code::file`], for a file whose name does not tell the language: it is read as if its name had this
    /// ending, such as `py`.
    pub fn file_as(path: impl AsRef<Path>, ending: &str) -> Self {
        let language = match ending.strip_prefix('.').unwrap_or(ending) {
            "py" => Some(Language::Python),
            "pl" | "pm" => Some(Language::Perl),
            "js" | "mjs" | "cjs" => Some(Language::Node),
            "rb" => Some(Language::Ruby),
            "sh" => Some(Language::Sh),
            _ => None,
        };
        let form =
            if language.is_some() { CodeForm::File } else { CodeForm::FileOfUnknownLanguage };
        let text = path.as_ref().to_string_lossy().into_owned();
        Self::with(language.unwrap_or(Language::Sh), text, form)
    }

    /// Code of the command's user, which may be an expression or the name of a file.
    #[doc(hidden)]
    pub fn guess(language: Language, text: String, setup: Vec<String>, lists: bool) -> Self {
        Self { setup, lists, ..Self::with(language, text, CodeForm::Guess) }
    }

    fn with(language: Language, text: String, form: CodeForm) -> Self {
        Self {
            language,
            text,
            setup: Vec::new(),
            lists: false,
            each: false,
            live: false,
            preload: false,
            shell: None,
            form,
        }
    }

    /// Code that runs once in each process, before the first job: it may import modules, or load a model.
    #[must_use]
    pub fn setup(mut self, code: impl Into<String>) -> Self {
        self.setup.push(code.into());
        self
    }

    /// Whether the code is a file, whose functions are the commands.
    #[doc(hidden)]
    pub fn is_file(&self) -> bool {
        match self.form {
            CodeForm::Expression => false,
            CodeForm::File | CodeForm::FileOfUnknownLanguage => true,
            CodeForm::Guess => Path::new(&self.text).is_file(),
        }
    }

    /// The same with a path that does not depend on the current directory.
    pub(crate) fn absolute(self) -> Self {
        if self.form == CodeForm::File { self.with_absolute_path() } else { self }
    }

    /// The same with an absolute path, if the text is the path of a file.
    #[doc(hidden)]
    #[must_use]
    pub fn with_absolute_path(mut self) -> Self {
        if self.is_file()
            && let Ok(path) = std::path::absolute(&self.text)
            && let Ok(text) = path.into_os_string().into_string()
        {
            self.text = text;
        }
        self
    }

    /// The worker's command line.
    #[doc(hidden)]
    pub fn worker(&self) -> Vec<OsString> {
        if self.language == Language::Sh {
            return self.command_line("");
        }
        let is_list = self.lists && !self.is_file();
        let ways = [
            (self.preload, "preload-"),
            (is_list, "list-"),
            (self.each, "each-"),
            (self.live, "live-"),
        ];
        let ways: String = ways.iter().filter(|(is_so, _)| *is_so).map(|(_, way)| *way).collect();
        self.command_line(&ways)
    }

    /// The protocol of the worker.
    #[doc(hidden)]
    pub fn protocol(&self) -> Protocol {
        match self.language {
            // A shell can't read JSON.
            Language::Sh => protocol::OF_SH.clone(),
            _ => protocol::OF_CODE.clone(),
        }
    }

    /// The code of the worker, and before it the code that forks others.
    fn source(&self) -> String {
        let source = self.language.source();
        let before = self.preload.then(|| self.language.preload()).flatten();
        [before.unwrap_or_default(), source].concat()
    }

    /// The command line of the worker. The mode is `before`, then `file` or `expression`.
    pub(super) fn command_line(&self, before: &str) -> Vec<OsString> {
        let (program, options) = self.language.program();
        let mode = if self.is_file() { "file" } else { "expression" };
        let shell = self.shell.as_ref().filter(|_| self.language == Language::Sh);
        let program = shell.cloned().unwrap_or_else(|| program.into());
        let mut line = vec![program.clone()];
        line.extend(options.iter().map(OsString::from));
        line.push(self.source().into());
        match self.language {
            // With -c, Python's own options end. The others would take an argument for an option.
            Language::Python => {}
            // The name of the shell in its messages. The code starts it again for a check.
            Language::Sh => line.push(program),
            _ => line.push("--".into()),
        }
        line.push(format!("{before}{mode}").into());
        line.push(self.text.clone().into());
        line.extend(self.setup.iter().map(OsString::from));
        line
    }
}
