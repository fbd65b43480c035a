//! `--generate`: the man page, and completions for shells, from the definition of the command line.

mod bash;
mod fish;
mod man;
mod powershell;
mod words;
mod zsh;

use crate::cli::help::Generated;

/// The text that `--generate` prints.
pub fn generate(what: Generated) -> String {
    match what {
        Generated::Man => man::page(),
        Generated::Bash => bash::script(&words::options()),
        Generated::Zsh => zsh::script(&words::options()),
        Generated::Fish => fish::script(&words::options()),
        Generated::Powershell => powershell::script(&words::options()),
    }
}
