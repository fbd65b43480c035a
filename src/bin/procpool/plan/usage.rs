//! The options that have an effect in each kind of run. Every option has a row in [`TABLE`].
//! An option without effect is refused before anything is started or read.

use procpool::engine::Kind;

use super::mode::Mode;
use crate::cli::Options;

use Mode::{Command, Expression, File, FileCommand, JobCommands, Raw, Worker, WorkerCommand};

/// The runs in which an option has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// All runs. The code that uses the option refuses the exceptions.
    Everywhere,
    /// Runs with workers or code.
    Staying,
    /// Runs with a `--worker`.
    Worker,
    /// Runs with a `--worker` or with commands.
    Programs,
    /// Runs with code.
    Code,
    /// Runs with code of a language whose interpreter can be forked.
    Forking,
    /// Runs with commands that are started for each job.
    Commands,
    /// Runs with a COMMAND that is started for each job.
    Template,
    /// Runs whose lines are args.
    Args,
    /// Runs whose lines are args or messages.
    Contents,
    /// Runs with workers or code whose lines are args.
    WorkerArgs,
    /// Runs with workers or code whose results are JSON.
    Structured,
    /// Runs whose jobs may print something before they end.
    Live,
    /// Runs that read lines, and not args after `:::`.
    Lines,
    /// Runs that read lines, and whose jobs may be any bytes.
    Blocks,
    /// All runs but dry runs.
    Run,
}

/// All options, in the order of `--help`.
#[rustfmt::skip]
const TABLE: &[(&str, Rule)] = &[
    ("command", Rule::Everywhere),
    ("worker", Rule::Everywhere),
    ("protocol", Rule::Worker),
    ("framing", Rule::Worker),
    ("reply_messages", Rule::Worker),
    ("reply_end", Rule::Worker),
    ("keep_end", Rule::Worker),
    ("before_request", Rule::Worker),
    ("after_request", Rule::Worker),
    ("banner", Rule::Worker),
    ("fail_on", Rule::Worker),
    ("pty", Rule::Programs),
    // `route.rs` refuses it by its key.
    ("route", Rule::Everywhere),
    ("init", Rule::Worker),
    ("notify", Rule::Worker),
    ("max_procs", Rule::Everywhere),
    ("prestart", Rule::Staying),
    ("pipeline", Rule::Staying),
    ("max_reqs", Rule::Staying),
    ("start_limit", Rule::Staying),
    ("start_timeout", Rule::Staying),
    ("max_reply", Rule::Staying),
    ("max_reqs_jitter", Rule::Staying),
    ("max_age", Rule::Staying),
    ("max_rss", Rule::Staying),
    ("idle_timeout", Rule::Staying),
    ("standby", Rule::Staying),
    ("python", Rule::Everywhere),
    ("perl", Rule::Everywhere),
    ("node", Rule::Everywhere),
    ("ruby", Rule::Everywhere),
    ("sh", Rule::Everywhere),
    ("setup", Rule::Code),
    // `build.rs` refuses it by the language.
    ("preload", Rule::Forking),
    ("shell", Rule::Template),
    ("replace", Rule::Template),
    ("stdin", Rule::Commands),
    // `surroundings.rs` refuses placeholders that a worker does not have.
    ("env", Rule::Everywhere),
    ("env_only", Rule::Everywhere),
    ("env_all", Rule::Everywhere),
    ("cwd", Rule::Everywhere),
    ("cpu_affinity", Rule::Everywhere),
    ("dry_run", Rule::Commands),
    // `tty.rs` refuses more.
    ("tty", Rule::Commands),
    ("confirm", Rule::Commands),
    // run/hosts.rs refuses options that have no meaning with other hosts, or without.
    ("hosts", Rule::Everywhere),
    ("launcher", Rule::Everywhere),
    ("before", Rule::Everywhere),
    ("slurm", Rule::Everywhere),
    ("host_timeout", Rule::Everywhere),
    ("no_rerun", Rule::Everywhere),
    // semaphore/mod.rs refuses options that have no meaning with one.
    ("semaphore", Rule::Commands),
    ("fg", Rule::Commands),
    ("wait", Rule::Everywhere),
    ("semaphore_timeout", Rule::Everywhere),
    // run/server.rs looks after these: which options go with them.
    ("serve", Rule::Everywhere),
    ("connect", Rule::Everywhere),
    ("keep", Rule::Staying),
    ("status", Rule::Everywhere),
    ("stop", Rule::Everywhere),
    ("delay", Rule::Everywhere),
    ("rate", Rule::Everywhere),
    ("max_load", Rule::Everywhere),
    ("min_free_memory", Rule::Everywhere),
    ("nice", Rule::Everywhere),
    // `sources.rs` refuses two places for args.
    ("arg_file", Rule::Everywhere),
    ("input", Rule::Contents),
    ("colsep", Rule::Args),
    ("header", Rule::Args),
    ("max_args", Rule::Args),
    ("block", Rule::Blocks),
    ("recend", Rule::Blocks),
    ("recstart", Rule::Blocks),
    ("each", Rule::WorkerArgs),
    ("no_run_if_empty", Rule::Everywhere),
    ("delimiter", Rule::Lines),
    ("null", Rule::Lines),
    // `sources.rs` refuses the next three by the lists.
    ("link", Rule::Everywhere),
    ("arg_sep", Rule::Everywhere),
    ("arg_file_sep", Rule::Everywhere),
    ("shuf", Rule::Everywhere),
    ("max_line", Rule::Lines),
    ("format", Rule::Everywhere),
    // `results.rs` refuses the next five by the format.
    ("tag", Rule::Everywhere),
    ("tag_string", Rule::Everywhere),
    ("newline", Rule::Everywhere),
    ("live", Rule::Live),
    ("skip_null", Rule::Staying),
    ("unpack", Rule::Structured),
    ("detail", Rule::Everywhere),
    ("stream", Rule::Everywhere),
    ("keep_order", Rule::Everywhere),
    ("buffer", Rule::Everywhere),
    ("tmpdir", Rule::Everywhere),
    ("summary", Rule::Everywhere),
    // cli/report.rs refuses the next three in a dry run, with other advice.
    ("report", Rule::Everywhere),
    ("trace", Rule::Everywhere),
    ("results", Rule::Everywhere),
    ("joblog", Rule::Run),
    ("progress", Rule::Everywhere),
    ("bar", Rule::Everywhere),
    ("eta", Rule::Everywhere),
    ("no_notice", Rule::Everywhere),
    ("color", Rule::Everywhere),
    ("timeout", Rule::Everywhere),
    ("silence", Rule::Everywhere),
    ("max_memory", Rule::Everywhere),
    ("slow", Rule::Everywhere),
    ("retries", Rule::Everywhere),
    ("retry_on", Rule::Everywhere),
    ("ok_exit", Rule::Commands),
    ("no_retry_exit", Rule::Commands),
    ("retry_delay", Rule::Everywhere),
    ("failed", Rule::Run),
    ("grace", Rule::Everywhere),
    ("halt", Rule::Everywhere),
    ("fail_fast", Rule::Everywhere),
    ("journal", Rule::Run),
    ("resume", Rule::Everywhere),
    ("fsync", Rule::Everywhere),
    // queue.rs refuses options that have no meaning with a queue, or without.
    ("to", Rule::Everywhere),
    ("from", Rule::Everywhere),
    ("via", Rule::Everywhere),
    ("dead", Rule::Everywhere),
    ("run", Rule::Everywhere),
    ("drain", Rule::Everywhere),
    ("queue_limit", Rule::Everywhere),
    ("ack_wait", Rule::Everywhere),
    ("replicas", Rule::Everywhere),
    ("queue_timeout", Rule::Everywhere),
    ("help", Rule::Everywhere),
    ("profile", Rule::Everywhere),
    ("show_options", Rule::Everywhere),
    ("version", Rule::Everywhere),
    // These are given alone.
    ("doctor", Rule::Everywhere),
    ("example_worker", Rule::Everywhere),
    ("generate", Rule::Everywhere),
];

/// Options that have no effect without one of the options in the list, and the message for that.
const NEEDS: &[(&str, &[&str], &str)] = &[
    ("each", &["max_args"], "is for several lines at a time: say how many with -n N"),
    ("max_reqs_jitter", &["max_reqs"], "adds to --max-reqs <N>: give that as well"),
    (
        "standby",
        &["max_reqs", "max_age", "max_rss", "idle_timeout"],
        "is for workers that are replaced, but none is: give --max-reqs, --max-age or --max-rss as \
         well",
    ),
    ("recend", &["block"], "is for blocks of records: say how long they are with --block SIZE"),
    ("recstart", &["block"], "is for blocks of records: say how long they are with --block SIZE"),
    ("retry_on", &["retries"], "is for jobs that are tried again: say how often with --retries N"),
    (
        "no_retry_exit",
        &["retries"],
        "is for jobs that are tried again: say how often with --retries N",
    ),
    (
        "retry_delay",
        &["retries"],
        "is for jobs that are tried again: say how often with --retries N",
    ),
];

/// The options that need facts that only Linux has.
const LINUX: &[(&str, &str)] = &[
    ("max_load", "the load average (/proc/loadavg)"),
    ("min_free_memory", "the free memory (/proc/meminfo)"),
    ("max_rss", "the memory of a process (/proc/PID/statm)"),
    ("max_memory", "the memory of processes (/proc/PID/stat)"),
    ("cpu_affinity", "the CPUs of a process (sched_setaffinity)"),
    (
        "preload",
        "how a process becomes its child that another one has forked (PR_SET_CHILD_SUBREAPER)",
    ),
];

/// Refuses the options that have no effect on this system.
fn check_system(options: &Options) -> Result<(), String> {
    let given = |(id, _): &&(&str, &str)| options.line.given.iter().any(|given| given == id);
    match LINUX.iter().find(given) {
        Some((id, what)) if !cfg!(target_os = "linux") => Err(format!(
            "{} has no effect on this system: procpool knows {what} on Linux only",
            spelled(id)
        )),
        _ => Ok(()),
    }
}

/// Checks that each given option has an effect. `has_lists`: args come after `:::`.
///
/// # Errors
/// An option has no effect: why, and what to do.
pub fn check(options: &Options, mode: Mode, has_lists: bool) -> Result<(), String> {
    check_system(options)?;
    for id in &options.line.given {
        if let Some(why) = refusal(id, options, mode, has_lists) {
            return Err(format!("{} {why}", spelled(id)));
        }
    }
    let given = |id: &str| options.line.given.iter().any(|given| given == id);
    let is_command = matches!(mode, Command | JobCommands);
    let can_be = |kind: Kind| match kind {
        Kind::Exit => is_command,
        Kind::Error | Kind::Crash | Kind::Protocol => !is_command,
        Kind::Memory => given("max_memory"),
        _ => true,
    };
    if given("retry_on") && !options.failures.retry_on.iter().any(|kind| can_be(kind.0)) {
        let memory = if given("max_memory") { ", memory" } else { "" };
        return Err(if is_command {
            format!(
                "--retry-on names no failure of a command: those are exit, timeout{memory} and spawn"
            )
        } else {
            format!(
                "--retry-on names no failure of a worker: those are error, crash, timeout{memory} and \
                 protocol"
            )
        });
    }
    Ok(())
}

/// Why an option has no effect, and what to do; `None`: it has one.
fn refusal(id: &str, options: &Options, mode: Mode, has_lists: bool) -> Option<String> {
    let given = |id: &str| options.line.given.iter().any(|given| given == id);
    let rule = TABLE.iter().find(|(row, _)| *row == id).map_or(Rule::Everywhere, |row| row.1);
    // A block of a raw worker may be CSV records.
    let is_of_blocks = given("block") && mode == Raw && (id == "input" || id == "header");
    let why = rule.refusal(mode, has_lists, options.commands.dry_run);
    // It names the shell of --sh.
    if id == "shell" && options.code.sh.is_some() {
        return None;
    }
    // The callers of a server give the COMMAND.
    if matches!(id, "max_args" | "each") && mode == File && options.commands.server.serve.is_some()
    {
        return None;
    }
    if why.is_some() && !is_of_blocks {
        return why;
    }
    // A job line may say how often it is tried again.
    let says_itself = id.contains("retry")
        && (matches!(mode, JobCommands | Worker | File) || options.queue.from.is_some());
    let (_, others, why) = NEEDS.iter().find(|(option, ..)| *option == id)?;
    (!says_itself && !others.iter().any(|other| given(other))).then(|| (*why).to_owned())
}

/// The given options that have no effect.
pub fn without_effect(options: &Options, mode: Mode, has_lists: bool) -> Vec<String> {
    let is_idle = |id: &&String| refusal(id, options, mode, has_lists).is_some();
    options.line.given.iter().filter(is_idle).cloned().collect()
}

/// The usual spelling of an option.
fn spelled(id: &str) -> String {
    match id {
        "replace" => "-I".to_owned(),
        "max_args" => "-n".to_owned(),
        "null" => "-0".to_owned(),
        "delimiter" => "-d".to_owned(),
        _ => format!("--{}", id.replace('_', "-")),
    }
}

/// Why an option for code that is forked has no effect.
const FOR_FORKS: &str =
    "is for code that is forked (--python or --ruby): give some, or leave it out";

impl Rule {
    /// Why an option has no effect, and what to do; `None`: it has one.
    fn refusal(self, mode: Mode, has_lists: bool, is_dry: bool) -> Option<String> {
        let is_code = matches!(mode, Expression | File | FileCommand);
        let is_command = matches!(mode, Command | JobCommands);
        let has_args = matches!(mode, Command | WorkerCommand | Expression | FileCommand);
        let started = match mode {
            JobCommands => "here a program is started for each job",
            _ => "a COMMAND is started for each job",
        };
        let why = match self {
            Self::Staying | Self::WorkerArgs | Self::Structured if is_command => format!(
                "is for workers, which stay alive between jobs, but {started}: leave it out, or name a \
                 --worker or give code (--python …)"
            ),
            Self::Worker if is_command => {
                "is for a --worker: name one (--worker <CMDLINE>), or leave it out"
                    .to_owned()
            }
            Self::Worker | Self::Programs if is_code => {
                "is for a --worker, but code runs in a worker of procpool: leave it out"
                    .to_owned()
            }
            Self::Code if !is_code => "is for code (--python, --perl, --node, --ruby or --sh): give \
                                       some, or leave it out"
                .to_owned(),
            Self::Forking if !is_code => FOR_FORKS.to_owned(),
            Self::Commands | Self::Template if is_code => {
                "has no effect with code, only with commands: leave it out".to_owned()
            }
            Self::Commands | Self::Template if !is_command => {
                "has no effect with a --worker, only with commands: leave it out".to_owned()
            }
            Self::Template if mode == JobCommands => {
                "is for a COMMAND, but here each line is a whole job: name a COMMAND ('sh -c' runs each \
                 line as a shell command), or have the jobs name it: sh [\"-c\", \"…\"]"
                    .to_owned()
            }
            Self::Structured | Self::Live if mode == Raw => {
                "has no effect with --protocol raw, where a result is bytes: leave it out".to_owned()
            }
            Self::Args | Self::WorkerArgs if mode == Raw => {
                "has no effect with --protocol raw, where each line is a message without args: leave it out"
                    .to_owned()
            }
            Self::Args | Self::Contents | Self::WorkerArgs if !has_args && mode != Raw => "is about the args of a COMMAND, but without a COMMAND each \
                                        line is a whole job: name a COMMAND, or leave it out"
                .to_owned(),
            Self::Blocks if !matches!(mode, Command | Raw) => {
                "is for the stdin of a COMMAND, and for a --worker with --protocol raw: leave it out"
                    .to_owned()
            }
            Self::Lines | Self::Blocks if has_lists => {
                "says how lines are read, but args after ::: are not lines: leave it out".to_owned()
            }
            Self::Run if is_dry => {
                "is about jobs that are run, and --dry-run runs none: leave one of them out".to_owned()
            }
            _ => return None,
        };
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::{definition, parse_words};

    const MODES: [Mode; 8] =
        [Command, JobCommands, Worker, WorkerCommand, Raw, Expression, File, FileCommand];

    fn rule(id: &str) -> Rule {
        TABLE.iter().find(|row| row.0 == id).expect("each option has a row").1
    }

    #[test]
    fn each_option_has_its_row() {
        let definition = definition();
        for arg in definition.get_arguments() {
            let id = arg.get_id().as_str();
            assert_eq!(TABLE.iter().filter(|row| row.0 == id).count(), 1, "{id}");
        }
        for (id, needed, _) in NEEDS {
            assert!(needed.iter().all(|id| TABLE.iter().any(|row| row.0 == *id)), "{id}");
        }
    }

    #[test]
    fn each_rule_in_each_mode() {
        use Mode::*;
        for (rule, fine) in [
            (Rule::Everywhere, &MODES[..]),
            (Rule::Staying, &[Worker, WorkerCommand, Raw, Expression, File, FileCommand]),
            (Rule::Worker, &[Worker, WorkerCommand, Raw]),
            (Rule::Programs, &[Command, JobCommands, Worker, WorkerCommand, Raw]),
            (Rule::Code, &[Expression, File, FileCommand]),
            (Rule::Forking, &[Expression, File, FileCommand]),
            (Rule::Commands, &[Command, JobCommands]),
            (Rule::Template, &[Command]),
            (Rule::Args, &[Command, WorkerCommand, Expression, FileCommand]),
            (Rule::WorkerArgs, &[WorkerCommand, Expression, FileCommand]),
            (Rule::Structured, &[Worker, WorkerCommand, Expression, File, FileCommand]),
            (
                Rule::Live,
                &[Command, JobCommands, Worker, WorkerCommand, Expression, File, FileCommand],
            ),
            (Rule::Contents, &[Command, WorkerCommand, Raw, Expression, FileCommand]),
            (Rule::Lines, &MODES),
            (Rule::Blocks, &[Command, Raw]),
            (Rule::Run, &MODES),
        ] {
            for mode in MODES {
                let refusal = rule.refusal(mode, false, false);
                assert_eq!(
                    refusal.is_none(),
                    fine.contains(&mode),
                    "{rule:?} {mode:?}: {refusal:?}"
                );
                let with_lists = rule.refusal(mode, true, false).is_none();
                let reads = matches!(rule, Rule::Lines | Rule::Blocks);
                assert_eq!(with_lists, fine.contains(&mode) && !reads, "{rule:?}");
                let shown = rule.refusal(mode, false, true).is_none();
                assert_eq!(shown, fine.contains(&mode) && rule != Rule::Run, "{rule:?}");
            }
        }
    }

    /// No refusal tells to give an option that would be refused there as well.
    #[test]
    fn what_is_advised_is_not_refused() {
        for (id, _) in TABLE {
            for mode in MODES {
                let Some(why) = rule(id).refusal(mode, false, false) else { continue };
                let end = [' ', ',', ':', ')'];
                let advised = why.split("--").skip(1).filter_map(|rest| rest.split(end).next());
                for name in advised.filter(|name| *name != "worker" && *name != "protocol") {
                    assert!(
                        rule(&name.replace('-', "_")).refusal(mode, false, false).is_none(),
                        "{id} in {mode:?}: {why}"
                    );
                }
            }
        }
    }

    #[test]
    fn options_that_say_more_of_others() {
        let check = |words: &[&str], mode: Mode| {
            let words: Vec<_> = [&["procpool"], words, &["x"]].concat();
            let words: Vec<_> = words.into_iter().map(Into::into).collect();
            let options = parse_words(&words).expect("options");
            check(&options, mode, false)
        };
        for words in [
            &["--retry-on", "exit"][..],
            &["--retry-delay", "1s"],
            &["--retries", "1", "--retry-on", "crash,error"],
        ] {
            assert!(check(words, Command).is_err(), "{words:?}");
        }
        for words in [
            &["--max-reqs-jitter", "1"][..],
            &["--standby", "1"],
            &["--retries", "1", "--retry-on", "exit"],
        ] {
            assert!(check(words, WorkerCommand).is_err(), "{words:?}");
        }
        assert_eq!(check(&["--retries", "1", "--retry-on", "exit,crash"], Command), Ok(()));
        assert_eq!(check(&["--retry-delay", "1s"], JobCommands), Ok(()));
        assert_eq!(check(&["--max-reqs", "0", "--max-reqs-jitter", "1"], Worker), Ok(()));
        assert_eq!(check(&["--max-rss", "1M", "--standby", "0"], Raw), Ok(()));
    }
}
