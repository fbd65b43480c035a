//! Chaos among hosts: agents are killed and frozen, links are cut and stall, the coordinator is stopped,
//! interrupted and killed, all at random, while jobs run. A run that ends before its time is resumed. In
//! the end each job has one result, the right one, in its place, and nothing is left running.
//!
//! The variables of `chaos.rs` say which seed, for how long, and which round first. The time is 6 s unless
//! it is set.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::chaos::{Random, play};
use crate::common::{Crew, Output, Running, leftovers, state, wait_for};
use crate::hosts_kit::Machines;

/// A host that is silent for this long is lost, while the run is disturbed.
const SILENCE: &str = "0.7";

/// A run is disturbed for no longer.
const LONGEST: Duration = Duration::from_secs(8);

/// What runs the jobs.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Commands,
    Workers,
    /// A filter with several requests at a time.
    Filter,
}

/// A run that is resumed until it is done.
struct Round {
    machines: Machines,
    crew: Crew,
    kind: Kind,
    count: usize,
    hosts: String,
}

impl Round {
    fn new(random: &mut Random) -> Self {
        let machines = Machines::new();
        // The link of each host is two processes of its own, which can be stopped and killed.
        let relay = "exec 3<&0; cat <&3 | \"${0%/relay}/host\" \"$@\" | cat";
        machines.script("relay", relay);
        let kind = random.pick(&[Kind::Commands, Kind::Workers, Kind::Filter]);
        let count = match kind {
            Kind::Commands | Kind::Workers => 100 + random.below(300),
            Kind::Filter => 5_000 + random.below(40_000),
        };
        let names = ["alpha", "beta", "gamma", ":"];
        let first = random.below(2);
        let last = first + 2 + random.below(names.len() - first - 1);
        let slots = 1 + random.below(3);
        let hosts: Vec<_> =
            names[first..last].iter().map(|name| format!("{slots}/{name}")).collect();
        Self { machines, crew: Crew::new(), kind, count, hosts: hosts.join(",") }
    }

    /// The lines of the jobs.
    fn input(&self) -> String {
        let line = |number| match self.kind {
            Kind::Workers => format!("nap [{number},{}]\n", 5_000 + 7_919 * number % 30_000),
            Kind::Commands | Kind::Filter => format!("{number}\n"),
        };
        (1..=self.count).map(line).collect()
    }

    fn expected(&self) -> String {
        let end = if matches!(self.kind, Kind::Filter) { "x" } else { "" };
        (1..=self.count).map(|number| format!("{number}{end}\n")).collect()
    }

    /// Starts the run, or goes on with it.
    fn spawn(&self, is_calm: bool) -> Running {
        let mark = self.crew.path("mark");
        let worker = self.crew.worker("");
        let silence = if is_calm { "15" } else { SILENCE };
        let journal = self.machines.path("journal");
        let launcher = format!("{} {{host}}", self.machines.path("relay"));
        let test = crate::common::Test::new()
            .args(["-S", &self.hosts, "--launcher", &launcher, "--host-timeout", silence])
            .args(["--grace", "0.2", "--journal", &journal, "--resume", "--format", "text"]);
        let filter = format!("sed -u -e s/$/x/ -e s,{mark},,");
        let test = match self.kind {
            Kind::Commands => test.args(["sh", "-c", "sleep 0.02; echo $0", "{}", &mark]),
            Kind::Workers => test.args(["-w", &worker]),
            Kind::Filter => test.args(["--protocol", "raw", "--pipeline", "auto", "-w", &filter]),
        };
        let test = test.stdin(self.input()).any_stdout().any_stderr().any_status();
        test.patience(60).spawn()
    }

    /// All agents and their links that are alive.
    fn processes(&self) -> (Vec<Pid>, Vec<Pid>) {
        let text = fs::read_to_string(self.machines.path("host.pids")).unwrap_or_default();
        let agents = text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
        let agents = agents.filter(|&pid| {
            let line = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
            line.is_ok_and(|line| line.contains("--agent")) && state(pid).is_some()
        });
        // A relay is the parent of the pipes of its link.
        let relays = self.machines.path("relay");
        let relays = leftovers(&relays).iter().filter_map(|line| pid_of(line)).collect::<Vec<_>>();
        let pipes = relays.into_iter().flat_map(children_of);
        let is_pipe = |pid: &Pid| {
            fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))
                .is_ok_and(|line| line == b"cat\0")
        };
        (agents.collect(), pipes.filter(is_pipe).collect())
    }

    /// Does something to an agent or its link.
    fn disturb(&self, random: &mut Random, run: &Running) {
        let (agents, pipes) = self.processes();
        let (one, signal) = match random.below(5) {
            0 => (agents, Signal::KILL),
            1 => (agents, Signal::STOP),
            2 => (pipes, Signal::KILL),
            3 => (pipes, Signal::STOP),
            _ => return stop_for_a_while(random, run, run.pid(), Signal::TSTP),
        };
        if one.is_empty() {
            return;
        }
        let pid = random.pick(&one);
        eprintln!("    {signal:?} to {pid:?}");
        if signal == Signal::STOP && random.one_in(2) {
            stop_for_a_while(random, run, pid, signal);
        } else {
            let _ = kill_process(pid, signal);
        }
    }

    /// Holds the results of a run that has ended by itself against what they must be: of a job that was
    /// lost time and again there is none.
    fn check(&self, output: &Output) {
        let expected = self.expected();
        let mut expected = expected.lines();
        for line in output.lines() {
            assert!(expected.any(|one| one == line), "{line:?} is wrong, or not in its place");
        }
    }

    /// What is frozen goes on, so that it can end; then all must be gone.
    fn assert_gone(&self) {
        let (agents, pipes) = self.processes();
        for pid in agents.into_iter().chain(pipes) {
            let _ = kill_process(pid, Signal::CONT);
        }
        wait_for("all agents to be gone", || {
            let (agents, pipes) = self.processes();
            agents.is_empty() && pipes.is_empty()
        });
        self.crew.assert_gone();
        let mark = self.crew.path("mark");
        wait_for("all jobs to be gone", || leftovers(&mark).is_empty());
    }
}

fn pid_of(line: &str) -> Option<Pid> {
    let digits = line.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().ok().and_then(Pid::from_raw)
}

fn children_of(pid: Pid) -> Vec<Pid> {
    let pid = pid.as_raw_nonzero();
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}

/// Stops a process, and lets it go on before it would count as lost, or after.
fn stop_for_a_while(random: &mut Random, run: &Running, pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
    run.ends_within(Duration::from_millis(random.pick(&[50, 200, 900])));
    let _ = kill_process(pid, Signal::CONT);
}

/// Runs for a while and is disturbed. It may be ended before its time.
fn be_disturbed(random: &mut Random, round: &Round) -> Output {
    let run = round.spawn(false);
    let begin = Instant::now();
    let end = [None, None, Some(Signal::KILL), Some(Signal::INT)];
    let end = random.pick(&end).map(|signal| (signal, 300 + random.next() % 1_500));
    while begin.elapsed() < LONGEST && !run.has_ended() {
        run.ends_within(Duration::from_millis(random.next() % 250));
        if let Some((signal, after)) = end
            && begin.elapsed() > Duration::from_millis(after)
        {
            eprintln!("    {signal:?} to the coordinator");
            let _ = kill_process(run.pid(), signal);
            break;
        }
        round.disturb(random, &run);
    }
    if begin.elapsed() >= LONGEST {
        // It is slow, or all of its hosts wait for another try.
        let _ = kill_process(run.pid(), Signal::TERM);
    }
    let mut output = run.finish();
    // The last line of a run that was killed may be torn.
    let whole = output.stdout.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    output.stdout.truncate(whole);
    output
}

fn one_round(random: &mut Random) {
    let round = Round::new(random);
    eprintln!("  {} {:?} on {}", round.count, round.kind, round.hosts);
    for _ in 0..1 + random.below(2) {
        let output = be_disturbed(random, &round);
        assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
        eprintln!("  {} lines after {:?}", output.lines().len(), output.elapsed);
        round.check(&output);
        round.assert_gone();
    }
    let output = round.spawn(true).finish();
    let is_calm = output.stderr.is_empty() || output.stderr.contains("nothing was run");
    assert!(is_calm, "{}", output.stderr);
    let expected = round.expected();
    let first = expected.lines().zip(output.lines()).find(|(expected, line)| expected != line);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed == expected, "{} lines: {first:?}", output.lines().len());
    round.assert_gone();
}

#[test]
fn chaos_among_hosts() {
    if crate::common::heavy() {
        play(6, one_round);
    }
}
