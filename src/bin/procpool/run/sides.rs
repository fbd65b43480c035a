//! The side of a server that each option is for: the server, its callers, both, or neither. Every option has a row.

use std::fmt;

use crate::cli::Options;
use crate::cli::values::ResultFormat;
use crate::plan::Misuse;

/// The side that an option is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server: it says what a worker is, and what its jobs are. Callers plan their runs by it.
    Kind,
    /// The server: the pool of workers depends on it.
    Pool,
    /// The server and a caller: a caller's may be less. With `--keep` both have it.
    Both,
    /// The server, for all jobs; and a caller, for its own. With `--keep` the caller has it.
    Each,
    /// A caller of workers, and a server of code, which must know of it.
    Lines,
    /// The callers.
    Caller,
    /// Neither: it is for a program that is started for each job.
    Command,
    /// Neither: it is for other machines.
    Hosts,
    /// Neither: a worker is for all callers.
    Route,
    /// Neither: results come whole.
    Whole,
    /// Neither: it is for a queue.
    Queue,
    /// It says what this process is.
    Role,
    /// It is given alone.
    Alone,
}

use Side::{
    Alone, Both, Caller, Command, Each, Hosts, Kind, Lines, Pool, Queue, Role, Route, Whole,
};

/// All options, in the order of `--help`.
#[rustfmt::skip]
const SIDES: &[(&str, Side)] = &[
    ("worker", Kind), ("protocol", Kind), ("framing", Kind), ("reply_messages", Kind), ("reply_end", Kind),
    ("keep_end", Kind), ("before_request", Kind), ("after_request", Kind), ("banner", Kind), ("fail_on", Kind),
    ("pty", Pool), ("route", Route), ("init", Pool), ("notify", Pool), ("max_procs", Both), ("prestart", Pool),
    ("pipeline", Pool), ("max_reqs", Pool), ("start_limit", Pool), ("start_timeout", Pool), ("max_reply", Pool),
    ("max_reqs_jitter", Pool), ("max_age", Pool), ("max_rss", Pool), ("idle_timeout", Pool), ("standby", Pool),
    ("python", Kind), ("perl", Kind), ("node", Kind), ("ruby", Kind), ("sh", Kind), ("setup", Pool),
    ("preload", Pool),
    // It names the shell of --sh.
    ("shell", Kind),
    ("replace", Command), ("stdin", Command), ("env", Pool), ("env_only", Pool), ("env_all", Pool), ("cwd", Pool),
    ("cpu_affinity", Pool), ("dry_run", Command), ("tty", Command), ("confirm", Command),
    ("hosts", Hosts), ("launcher", Hosts), ("before", Hosts), ("slurm", Hosts), ("no_rerun", Hosts),
    // A caller gives up a server that is silent for this long.
    ("host_timeout", Caller),
    ("semaphore", Command), ("fg", Command), ("wait", Command), ("semaphore_timeout", Command),
    ("serve", Role), ("connect", Role), ("keep", Role), ("status", Role), ("stop", Role),
    ("delay", Each), ("rate", Each), ("max_load", Pool), ("min_free_memory", Pool), ("nice", Pool),
    ("arg_file", Caller), ("input", Caller), ("colsep", Caller), ("header", Caller), ("max_args", Lines),
    ("block", Caller), ("recend", Caller), ("recstart", Caller), ("each", Lines), ("no_run_if_empty", Caller),
    ("delimiter", Caller), ("null", Caller), ("link", Caller), ("arg_sep", Caller), ("arg_file_sep", Caller),
    ("shuf", Caller), ("max_line", Both),
    ("format", Caller), ("tag", Caller), ("tag_string", Caller), ("newline", Caller), ("live", Whole),
    ("skip_null", Caller), ("unpack", Caller), ("detail", Caller), ("stream", Caller), ("keep_order", Caller),
    ("buffer", Caller), ("tmpdir", Each), ("summary", Caller), ("report", Caller), ("trace", Caller),
    ("results", Caller), ("joblog", Caller), ("progress", Caller), ("bar", Caller), ("eta", Caller),
    ("no_notice", Caller), ("color", Each),
    ("timeout", Each), ("silence", Pool), ("max_memory", Pool), ("slow", Caller), ("retries", Caller),
    ("retry_on", Caller), ("ok_exit", Command), ("no_retry_exit", Command), ("retry_delay", Caller),
    ("failed", Caller), ("grace", Both), ("halt", Caller), ("fail_fast", Caller),
    ("journal", Caller), ("resume", Caller), ("fsync", Caller),
    ("to", Queue), ("from", Queue), ("via", Queue), ("dead", Queue), ("run", Queue), ("drain", Queue),
    ("queue_limit", Queue), ("ack_wait", Queue), ("replicas", Queue), ("queue_timeout", Queue),
    ("help", Alone), ("profile", Each), ("show_options", Alone), ("version", Alone), ("doctor", Alone),
    ("example_worker", Alone), ("generate", Alone),
];

/// Why an option for commands is refused.
const FOR_COMMANDS: &str =
    "is for a program that is started for each job, and a server keeps workers: leave it out";

/// Refuses the options for commands.
///
/// # Errors
/// There is one.
pub fn refuse_commands(options: &Options) -> Result<(), Misuse> {
    match options.line.given.iter().find(|id| side_of(id) == Command) {
        Some(id) => Err(Misuse::new(format!("--{} {FOR_COMMANDS}", id.replace('_', "-")))),
        None => Ok(()),
    }
}

/// The side of an option.
pub fn side_of(id: &str) -> Side {
    SIDES.iter().find(|(row, _)| *row == id).map_or(Caller, |(_, side)| *side)
}

/// What this process has to do with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRole {
    Serve,
    Connect,
    Keep,
    Status,
    Stop,
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "--serve",
            Self::Connect => "--connect",
            Self::Keep => "--keep",
            Self::Status => "--status",
            Self::Stop => "--stop",
        })
    }
}

impl ServerRole {
    /// The role that the options give this process; `None`: it has nothing to do with a server.
    pub fn of(options: &Options) -> Option<Self> {
        let server = &options.commands.server;
        let roles = [
            (Self::Status, server.status.is_some()),
            (Self::Stop, server.stop.is_some()),
            // With --keep it is a server that ends by itself.
            (Self::Serve, server.serve.is_some()),
            (Self::Keep, server.keep.is_some()),
            (Self::Connect, server.connect.is_some()),
        ];
        roles.into_iter().find(|(_, is_given)| *is_given).map(|(role, _)| role)
    }

    /// Refuses the options that mean nothing in this role.
    ///
    /// # Errors
    /// An option means nothing: which one, and what to do.
    pub fn check(self, options: &Options) -> Result<(), Misuse> {
        for id in &options.line.given {
            if let Some(why) = self.refusal(id, options) {
                return Err(Misuse::new(format!("--{} {why}", id.replace('_', "-"))));
            }
        }
        Ok(())
    }

    /// The given options that mean nothing in this role.
    pub fn without_effect(self, options: &Options) -> Vec<String> {
        let is_idle = |id: &&String| side_of(id) == Command || self.refusal(id, options).is_some();
        options.line.given.iter().filter(is_idle).cloned().collect()
    }

    /// Why an option means nothing in this role, and what to do; `None`: it means something.
    fn refusal(self, id: &str, options: &Options) -> Option<String> {
        if id == "command" {
            return None;
        }
        let side = side_of(id);
        let is_prometheus = options.output.format == Some(ResultFormat::Prometheus);
        if self == Self::Status && id == "format" {
            let why = "is prometheus, or is left out: --status prints JSON without it";
            return (!is_prometheus).then(|| why.to_owned());
        }
        if matches!(self, Self::Status | Self::Stop) {
            let is_fine = matches!(side, Role | Alone) || matches!(id, "color" | "profile");
            return (!is_fine).then(|| format!("has no effect with {self}: leave it out"));
        }
        if id == "max_procs" && options.throttling.procs_file.is_some() {
            return Some(format!("@FILE has no effect with {self}: give a number"));
        }
        self.refusal_of_side(side, id, options.code.sh.is_some())
    }

    fn refusal_of_side(self, side: Side, id: &str, is_sh: bool) -> Option<String> {
        let why = match (side, self) {
            (Kind, Self::Connect) if id == "shell" => {
                "is for the server, and there it names the shell of --sh: leave it out here".to_owned()
            }
            (Kind | Pool, Self::Connect) => "is for the server: give it with --serve".to_owned(),
            (Caller, Self::Serve) => "is for callers: give it with --connect".to_owned(),
            (Command, Self::Serve) => FOR_COMMANDS.to_owned(),
            (Kind, Self::Serve) if id == "shell" && !is_sh => {
                "is for commands, and a server keeps workers: leave it out, or give code with --sh"
                    .to_owned()
            }
            (Hosts, Self::Keep) => {
                "names or reaches other machines, and --keep is for workers on this machine: leave it out"
                    .to_owned()
            }
            (Hosts, _) => "is for other machines, and a server runs jobs itself: leave it out".to_owned(),
            (Route, _) => {
                format!("has no meaning with {self}: the workers are for all callers")
            }
            (Whole, _) => {
                format!("prints parts of results as they come, and with {self} results come whole: leave it out")
            }
            (Queue, _) => format!("is for a queue, and {self} is for a server: leave it out"),
            _ => return None,
        };
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::{definition, parse_words};

    /// With an option in the wrong row, a call would meet workers that are not its own.
    #[test]
    fn each_option_has_its_side() {
        let definition = definition();
        let ids: Vec<&str> = definition
            .get_arguments()
            .filter(|arg| !arg.is_positional())
            .map(|arg| arg.get_id().as_str())
            .collect();
        for id in &ids {
            assert_eq!(SIDES.iter().filter(|(row, _)| row == id).count(), 1, "{id}");
        }
        for (id, _) in SIDES {
            assert!(ids.contains(id), "{id}");
        }
    }

    #[test]
    fn an_option_is_refused_where_it_would_do_nothing() {
        let check = |words: &[&str]| {
            let words: Vec<_> =
                [&["procpool"], words].concat().into_iter().map(Into::into).collect();
            let options = parse_words(&words).expect("options");
            ServerRole::of(&options).expect("a role").check(&options).is_ok()
        };
        // The word, and whether --serve, --connect and --keep take it.
        for (word, fine) in [
            ("-j2", [true, true, true]),
            ("--max-load=1", [true, false, true]),
            ("--min-free-memory=1M", [true, false, true]),
            ("--delay=1", [true, true, true]),
            ("--timeout=1", [true, true, true]),
            ("--max-line=1000", [true, true, true]),
            ("--tag", [false, true, true]),
            ("--host-timeout=5", [false, true, true]),
            ("--launcher=x {host}", [false, false, false]),
            ("--before=x", [false, false, false]),
            ("--no-rerun", [false, false, false]),
            ("--route=1", [false, false, false]),
            ("--live", [false, false, false]),
            ("--setup=x", [true, false, true]),
            ("-n2", [true, true, true]),
            ("--profile=x", [true, true, true]),
        ] {
            let taken = [&["--serve", "s"][..], &["--connect", "s"], &["--keep", "1m"]]
                .map(|role| check(&[role, &[word]].concat()));
            assert_eq!(taken, fine, "{word}");
        }
        assert!(check(&["--status", "s", "--format", "prometheus", "--color", "never"]));
        assert!(!check(&["--stop", "s", "--format", "prometheus"]));
    }
}
