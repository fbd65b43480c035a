//! The interpreters that procpool has workers for: their programs, and the code of the workers.

/// An interpreter that procpool has a worker for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python 3.
    Python,
    /// Perl 5.
    Perl,
    /// Node.js.
    Node,
    /// Ruby.
    Ruby,
    /// A POSIX shell.
    Sh,
}

impl Language {
    /// The language's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Perl => "Perl",
            Self::Node => "Node.js",
            Self::Ruby => "Ruby",
            Self::Sh => "sh",
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [Self::Python, Self::Perl, Self::Node, Self::Ruby, Self::Sh];

    /// The name of the interpreter's program, which is looked for in `PATH`.
    pub fn interpreter(self) -> &'static str {
        self.program().0
    }

    /// The program, and its options. The code of the worker follows them.
    pub(super) fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Python => ("python3", &["-c"]),
            Self::Perl => ("perl", &["-e"]),
            Self::Node => ("node", &["-e"]),
            Self::Ruby => ("ruby", &["-e"]),
            Self::Sh => ("sh", &["-c"]),
        }
    }

    /// The code of a worker that forks others; `None`: there is none for this language.
    pub(super) fn preload(self) -> Option<&'static str> {
        match self {
            Self::Python => Some(include_str!("preload.py")),
            Self::Ruby => Some(include_str!("preload.rb")),
            Self::Perl | Self::Node | Self::Sh => None,
        }
    }

    /// Whether workers can be forked from one that has loaded the code.
    pub fn has_preload(self) -> bool {
        self.preload().is_some()
    }

    /// The code of the worker.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Python => include_str!("worker.py"),
            Self::Perl => include_str!("worker.pl"),
            Self::Node => include_str!("worker.js"),
            Self::Ruby => include_str!("worker.rb"),
            Self::Sh => include_str!("worker.sh"),
        }
    }
}
