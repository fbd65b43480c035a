//! The machines of a run: from the options, a file, or Slurm's allocation to names, slots and launchers.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;
use procpool::engine::{Host, Hosts, ServerLine, THIS_HOST, Visit};

use super::host_list::{self, NamedHost};
use super::{keys, slurm};
use crate::cli::Options;
use crate::plan::Misuse;

/// The placeholder for the name of a host.
const HOST: &str = "{host}";

/// The machines that run jobs; `None`: this one alone. `server`: the server that runs them instead.
///
/// # Errors
/// They are not named as they should be, or can't be found out.
pub fn find(options: &mut Options, server: Option<Visit>) -> anyhow::Result<Option<Hosts>> {
    let given = &options.commands.hosts;
    if let Some(server) = server {
        return of_server(options, server).map(Some);
    }
    check(options)?;
    if !given.are_given() || options.commands.dry_run {
        return Ok(None);
    }
    let named = if given.slurm { slurm::nodes()? } else { host_list::read(&given.hosts)? };
    let slots = options.workers.max_procs;
    let launcher = if given.slurm { slurm::launcher() } else { launcher(options)? };
    let before = before(options)?;
    let mut hosts = Hosts {
        hosts: Vec::new(),
        local_slots: 0,
        task: task(options)?,
        folder: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        program: std::env::current_exe().context("this program can't be found")?,
        timeout: given.host_timeout,
        rerun: !given.no_rerun,
    };
    for NamedHost { slots: own, name } in named {
        // Each node has as many slots as the allocation has CPUs there, unless the user says otherwise.
        let own = own.filter(|_| !given.slurm || slots.is_none());
        if name == THIS_HOST {
            hosts.local_slots = own.or(slots).unwrap_or_else(num_cpus::get);
        } else {
            let [launcher, before] = [&launcher, &before].map(|words: &Vec<String>| {
                words.iter().map(|word| word.replace(HOST, &name).into()).collect()
            });
            hosts.hosts.push(Host { name, slots: own.or(slots), launcher, before, line: None });
        }
    }
    name_host(options, THIS_HOST);
    Ok(Some(hosts))
}

/// The one host of a caller of a server: the server.
fn of_server(options: &Options, server: Visit) -> anyhow::Result<Hosts> {
    if options.commands.hosts.host_timeout.is_zero() {
        return Err(Misuse::from("--host-timeout must be more than 0").into());
    }
    let slots = options.workers.max_procs;
    let slots = slots.map_or(server.slots, |slots| slots.min(server.slots));
    let host = Host {
        name: server.path().display().to_string(),
        slots: Some(slots),
        launcher: Vec::new(),
        before: Vec::new(),
        line: Some(line_to(server)),
    };
    Ok(Hosts {
        hosts: vec![host],
        local_slots: 0,
        task: Vec::new(),
        folder: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        program: std::env::current_exe().unwrap_or_default(),
        timeout: options.commands.hosts.host_timeout,
        rerun: false,
    })
}

/// The connection to a server for the jobs of a pool.
fn line_to(server: Visit) -> ServerLine {
    let longest = keys::longest_message(keys::longest_line(&server.words));
    server.into_line(longest)
}

/// Refuses options that have no meaning on other machines, or on this one alone.
///
/// # Errors
/// Such an option is given.
pub fn check(options: &Options) -> Result<(), Misuse> {
    let given = &options.commands.hosts;
    if !given.are_given() {
        let alone = [
            ("--launcher", given.launcher.is_some()),
            ("--before", given.before.is_some()),
            ("--no-rerun", given.no_rerun),
            ("--host-timeout", options.line.given.iter().any(|id| id == "host_timeout")),
        ];
        return match alone.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(Misuse::new(format!("{name} is for other machines: name them with -S")))
            }
            None => Ok(()),
        };
    }
    if options.commands.confirm {
        return Err("--confirm asks on this terminal, and has no meaning on other hosts".into());
    }
    if options.throttling.procs_file.is_some() {
        return Err(
            "--max-procs @FILE has no meaning on several hosts: each has its own number".into()
        );
    }
    if options.workers.route.is_some() {
        return Err("--route has no meaning on several hosts: each key needs one worker".into());
    }
    if options.commands.hosts.host_timeout.is_zero() {
        return Err("--host-timeout must be more than 0".into());
    }
    Ok(())
}

/// The words that start a program on a host.
fn launcher(options: &Options) -> anyhow::Result<Vec<String>> {
    let Some(line) = &options.commands.hosts.launcher else { return Ok(ssh(options)) };
    let words = shell_words::split(line)
        .map_err(|_| Misuse::new(format!("--launcher has an unclosed quote: {line}")))?;
    if !words.iter().any(|word| word.contains(HOST)) {
        return Err(Misuse::from(
            "--launcher must say where the name of the host goes: --launcher 'ssh {host}'",
        )
        .into());
    }
    Ok(words)
}

/// The words of the command that prepares a host; none: there is no such command.
fn before(options: &Options) -> Result<Vec<String>, Misuse> {
    let line = options.commands.hosts.before.as_deref().unwrap_or_default();
    let words = shell_words::split(line)
        .map_err(|_| Misuse::new(format!("--before has an unclosed quote: {line}")))?;
    if words.is_empty() && options.commands.hosts.before.is_some() {
        return Err("--before names no command".into());
    }
    Ok(words)
}

/// OpenSSH without a terminal, without questions, and with signs of life.
fn ssh(options: &Options) -> Vec<String> {
    let seconds = options.commands.hosts.host_timeout.as_secs().max(1);
    let settings = [
        "BatchMode=yes".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        format!("ConnectTimeout={seconds}"),
        format!("ServerAliveInterval={}", seconds.div_ceil(3)),
        "ServerAliveCountMax=3".to_owned(),
    ];
    let mut words = vec!["ssh".to_owned(), "-T".to_owned(), "-x".to_owned()];
    words.extend(settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]));
    words.extend(["--".to_owned(), HOST.to_owned()]);
    words
}

/// The hosts of the pool with this index: their agents learn which one it is.
pub fn of_pool(hosts: &Hosts, index: usize) -> anyhow::Result<Hosts> {
    let task = [format!("{index}\0").as_bytes(), &hosts.task].concat();
    let mut hosts = Hosts { task, ..hosts.clone() };
    for host in hosts.hosts.iter_mut().filter(|host| index > 0 && host.line.is_some()) {
        // The first pool has the line of the first visit.
        host.line = Some(line_to(Visit::to(Path::new(&host.name))?));
    }
    Ok(hosts)
}

/// The program that agents run: the words of this command line, each with a NUL byte after it. Of each
/// list of args the first is enough.
fn task(options: &Options) -> anyhow::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let words = &options.commands.hosts.words;
    let command = words.len() - options.command.len();
    let is_sign = |word: &OsString| options.input.lists.sign(word).is_some();
    let lists = options.command.iter().position(is_sign);
    let lists = command + lists.unwrap_or(options.command.len());
    let mut task = Vec::new();
    let (mut is_first, mut has_files) = (false, false);
    for (index, word) in words.iter().enumerate() {
        let sign = options.input.lists.sign(word).filter(|_| index >= lists);
        has_files = sign.map_or(has_files, |sign| sign.has_files);
        // Each file is a list.
        if index < lists || sign.is_some() || is_first || has_files {
            task.extend_from_slice(word.as_bytes());
            task.push(0);
        }
        is_first = sign.is_some();
    }
    Ok(task)
}

/// Puts the name of a machine into a command in place of `{host}`, unless that may be the name of an arg.
pub fn name_host(options: &mut Options, name: &str) {
    let has_names = options.input.header || !options.workers.worker.is_empty();
    if has_names || options.commands.replace.is_some() {
        return;
    }
    let lists = options.command.iter().position(|word| options.input.lists.sign(word).is_some());
    let end = lists.unwrap_or(options.command.len());
    let words = options.command[..end].iter_mut();
    for word in words.chain(&mut options.commands.env).chain(&mut options.commands.cwd) {
        if let Some(text) = word.to_str()
            && text.contains(HOST)
        {
            *word = text.replace(HOST, name).into();
        }
    }
}
