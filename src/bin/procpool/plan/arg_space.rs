//! `-n max`: the number of lines that fit into the arguments of a command.

use procpool::engine::command::Template;
use procpool::engine::input::plain_lines::Pack;

use super::invocation::Invocation;
use super::machine::arg_size;

/// The largest size of an argument or a variable on Linux.
const LONGEST_ARG: usize = (128 << 10) - 1;

/// The largest size of a reference to an argument in the text of a shell command.
const SHELL_REFERENCE: usize = 64;

/// Packs as many lines into a job as the arguments of its command have room for.
pub fn pack(invocation: &Invocation<'_>, template: Option<&Template>) -> Pack {
    let (commands, machine) = (&invocation.options.commands, invocation.machine);
    let pointer = size_of::<usize>();
    let more: usize = commands.env.iter().map(|text| arg_size(text) + pointer).sum();
    let fixed = template.map_or(0, Template::fixed_size) + machine.environment + more;
    let most = machine.arg_space.saturating_sub(fixed);
    let most_joined = LONGEST_ARG.saturating_sub(fixed - machine.environment);
    let is_joined = template.is_some_and(Template::joins);
    Pack::Bytes {
        most: if is_joined { most.min(most_joined) } else { most },
        longest: LONGEST_ARG,
        overhead: 1 + pointer + if commands.shell.is_some() { SHELL_REFERENCE } else { 0 },
        copies: template.map_or(1, Template::copies).max(1),
    }
}
