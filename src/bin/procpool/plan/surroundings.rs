//! The environment and the directory of workers, in which only the number of the slot is known.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::misuse::Misuse;
use crate::cli::Options;

/// The environment and the directory of workers, with placeholders for the slot.
#[derive(Clone, Debug, Default)]
pub struct WorkerPlace {
    pub env: Vec<(OsString, OsString)>,
    pub cwd: Option<WorkerFolder>,
}

/// A directory.
#[derive(Clone, Debug)]
pub enum WorkerFolder {
    /// The same for all workers.
    One(PathBuf),
    /// One for each slot: a text with placeholders.
    OfSlot(OsString),
}

/// The surroundings of workers.
pub fn surroundings(options: &Options) -> Result<WorkerPlace, Misuse> {
    let commands = &options.commands;
    let env = commands.env.iter().map(|text| {
        check_placeholders("--env", text)?;
        let bytes = text.as_bytes();
        match bytes.iter().position(|&byte| byte == b'=') {
            Some(at) if at > 0 => Ok((owned(&bytes[..at]), owned(&bytes[at + 1..]))),
            _ => Err(Misuse::new(format!("--env '{}': expected NAME=VALUE", text.display()))),
        }
    });
    let cwd = commands.cwd.as_ref().map(|text| {
        check_placeholders("--cwd", text)?;
        let has_slot = find(text, b"{%}") || find(text, b"{%0}");
        Ok::<_, Misuse>(if has_slot {
            WorkerFolder::OfSlot(text.clone())
        } else {
            WorkerFolder::One(text.into())
        })
    });
    Ok(WorkerPlace { env: env.collect::<Result<_, _>>()?, cwd: cwd.transpose()? })
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

fn find(text: &OsStr, part: &[u8]) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window == part)
}

/// Refuses placeholders for a job: a worker is started before it has one.
fn check_placeholders(option: &str, text: &OsStr) -> Result<(), Misuse> {
    const OF_JOBS: [&str; 9] = ["{}", "{#}", "{.}", "{/}", "{//}", "{/.}", "{1}", "{2}", "{3}"];
    match OF_JOBS.iter().find(|placeholder| find(text, placeholder.as_bytes())) {
        Some(placeholder) => Err(Misuse::new(format!(
            "{option} '{}': a worker is started before it has a job, so it has no {placeholder}; it has \
             {{%}}, the number of its slot from 1, and {{%0}}, the same from 0",
            text.display()
        ))),
        None => Ok(()),
    }
}
