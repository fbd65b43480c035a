//! Where lines come from, and why a source can't be read.

use std::io;
use std::path::PathBuf;

use rustix::fs::{Access, access};

use super::arg_lists::{ArgLists, ListSource};

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The process's stdin.
    Stdin,
    /// A file.
    File(PathBuf),
    /// Lists of args.
    Args(ArgLists),
}

impl Source {
    /// Its name in messages. Stdin and the command line have none.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin | Self::Args(_) => String::new(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Why it can't be read, if that is known before it is opened.
    pub(super) fn problem(&self) -> Option<String> {
        let path = match self {
            Self::File(path) => path,
            Self::Args(lists) => return problem(lists),
            Self::Stdin => return None,
        };
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                Some(self.unreadable(&io::ErrorKind::IsADirectory.into()))
            }
            Ok(_) => access(path, Access::READ_OK).err().map(|e| self.unreadable(&e.into())),
            Err(error) => Some(self.unreadable(&error)),
        }
    }

    /// Why it can't be read, as a sentence.
    pub(super) fn unreadable(&self, error: &io::Error) -> String {
        let name = match self {
            Self::Stdin => "stdin".to_owned(),
            Self::Args(_) => "the command line".to_owned(),
            Self::File(path) => format!("'{}'", path.display()),
        };
        let what = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::IsADirectory => "it is a directory, not a file of jobs".to_owned(),
            _ => error.to_string(),
        };
        format!("the jobs in {name} could not be read: {what}")
    }
}

/// Why a file of args can't be read, if that is known before it is opened.
fn problem(lists: &ArgLists) -> Option<String> {
    lists.lists.iter().find_map(|list| match &list.from {
        ListSource::File(path) => Source::File(path.clone()).problem(),
        ListSource::Words(_) | ListSource::Stdin => None,
    })
}
