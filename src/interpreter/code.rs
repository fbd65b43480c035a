//! The user's code as the job, and the command line of the worker that runs it.

use std::ffi::OsString;
use std::path::Path;

use super::language::Language;
use crate::protocol::{self, Protocol};

/// Code that is run for each job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The language of the code.
    pub language: Language,
    /// An expression or the path of a file. An expression is evaluated for each job. The functions of a
    /// file are the commands.
    pub text: String,
    /// Code that runs once in each process, before the first job.
    pub setup: Vec<String>,
    /// An expression gets all args of a job as a list.
    pub lists: bool,
}

impl Code {
    /// Whether the code is a file, whose functions are the commands.
    pub fn is_file(&self) -> bool {
        Path::new(&self.text).is_file()
    }

    /// The worker's command line.
    pub fn worker(&self) -> Vec<OsString> {
        let is_list = self.lists && !self.is_file() && self.language != Language::Sh;
        self.command_line(if is_list { "list-" } else { "" })
    }

    /// The protocol of the worker.
    pub fn protocol(&self) -> Protocol {
        match self.language {
            // A shell can't read JSON.
            Language::Sh => protocol::OF_SH,
            _ => Protocol::default(),
        }
    }

    /// The command line of the worker. The mode is `before`, then `file` or `expression`.
    pub(super) fn command_line(&self, before: &str) -> Vec<OsString> {
        let (program, options) = self.language.program();
        let mode = if self.is_file() { "file" } else { "expression" };
        let mut line = vec![OsString::from(program)];
        line.extend(options.iter().map(OsString::from));
        line.push(self.language.source().into());
        match self.language {
            // With -c, Python's own options end. The others would take an argument for an option.
            Language::Python => {}
            // The name of the shell in its messages.
            Language::Sh => line.push("sh".into()),
            _ => line.push("--".into()),
        }
        line.push(format!("{before}{mode}").into());
        line.push(self.text.clone().into());
        line.extend(self.setup.iter().map(OsString::from));
        line
    }
}
