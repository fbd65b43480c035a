//! The scenarios, and the targets.

use crate::hosts::{WIDE, nap};
use crate::jobs::{Load, random};
use crate::measure::Usage;
use crate::table::digits;
use crate::tools::{AUTO, ONE, Tool, Tools};
use crate::{Options, Row};

/// The same jobs for several tools.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) load: Load,
    pub(crate) jobs: u64,
    /// How many rounds, where it is not the usual number.
    pub(crate) rounds: Option<usize>,
    /// All that is printed is looked at, which takes its time: it is not time that is measured.
    pub(crate) is_checked: bool,
    pub(crate) tools: Vec<Tool>,
}

impl Scenario {
    pub(crate) fn new(name: &str, title: &str, load: Load, jobs: u64, tools: Vec<Tool>) -> Self {
        let (name, title) = (name.to_owned(), title.to_owned());
        Self { name, title, load, jobs, rounds: None, is_checked: false, tools }
    }
}

/// How long the jobs of `slots` sleep, in microseconds.
const NAP: u64 = 50_000;

/// How many slots they have.
const SLOTS: u64 = 200;

/// From 0.1 to 500 ms, each order of magnitude as often as the others.
fn mixed(number: u64) -> u64 {
    let fraction = (random(number) >> 11) as f64 / (1_u64 << 53) as f64;
    (100.0 * 5000_f64.powf(fraction)) as u64
}

/// All scenarios that the options ask for.
pub(crate) fn all(tools: &Tools, options: &Options) -> Vec<Scenario> {
    let size = |whole: u64, quick: u64| if options.quick { quick } else { whole };
    let double = tools.example("double", "");
    let worker = tools.example("bench_worker", "");
    let python = tools.python_worker();
    let has_python = tools.imap(1).missing;
    let or_missing = |tool: Tool| Tool { missing: tool.missing.or(has_python.clone()), ..tool };
    let mut all = vec![
        Scenario::new(
            "small",
            "double [N], a worker in Rust",
            Load::Double,
            size(1_000_000, 100_000),
            vec![
                tools.procpool(&double, ""),
                tools.auto(&double, ""),
                tools.split(&double),
                tools.parallel_pipe(&double),
                tools.xargs().share(500),
                tools.parallel().share(2000),
                tools.imap(1),
                tools.imap(100),
                tools.futures(1).share(20),
                tools.futures(100),
                tools.piscina().share(10),
                tools.mce(1).share(10),
                tools.mce(100),
            ],
        ),
        Scenario::new(
            "python",
            "double [N], a worker in Python",
            Load::Double,
            size(1_000_000, 50_000),
            vec![
                or_missing(tools.procpool(&python, "")).share(4),
                or_missing(tools.auto(&python, "")),
                tools.imap(1).share(4),
                tools.imap(100),
            ],
        ),
        Scenario::new(
            "code",
            "procpool --python 'int(x) * 2', and its like",
            Load::Double,
            size(1_000_000, 50_000),
            [
                tools.code(),
                tools.imap(1).share(4),
                tools.imap(100),
                tools.xargs_python().share(5000),
            ]
            .into_iter()
            .chain(tools.code_in_others())
            .collect(),
        ),
        Scenario::new(
            "raw",
            "lines through a filter that prints them again, --protocol raw",
            Load::Lines,
            size(1_000_000, 50_000),
            tools.raw(),
        ),
        Scenario::new(
            "large",
            "echo [TEXT], 1 MiB each way",
            Load::Echo(1 << 20),
            size(2000, 100),
            vec![
                tools.procpool(&worker, ""),
                tools.auto(&worker, ""),
                tools.split(&worker),
                tools.imap(1),
                tools.futures(1),
            ],
        ),
        Scenario {
            rounds: Some(size(50, 10) as usize),
            ..Scenario::new(
                "latency",
                "one job, from the start to the end of the process",
                Load::Double,
                1,
                vec![tools.procpool(&double, ""), tools.auto(&double, ""), tools.by_hand(&double)],
            )
        },
        Scenario::new(
            "commands",
            "the command `true`, a process for each of the lines",
            Load::Lines,
            size(10_000, 1000),
            tools.commands(),
        ),
        Scenario::new(
            "slots",
            "jobs that sleep 50 ms, 200 workers",
            Load::Nap(|_| NAP),
            size(100 * SLOTS, 10 * SLOTS),
            vec![
                tools.procpool(&worker, &format!("-j{SLOTS}")),
                tools.auto(&worker, &format!("-j{SLOTS}")),
            ],
        ),
        Scenario::new(
            "mixed",
            "jobs that sleep 0.1 to 500 ms, 4 workers",
            Load::Nap(mixed),
            size(1000, 100),
            vec![tools.procpool(&worker, "-j4"), tools.auto(&worker, "-j4")],
        ),
    ];
    if options.memory {
        all.extend(memory(tools, options));
    }
    if options.recycle {
        let slow = tools.example("bench_worker", "--start 100");
        let recycled = |options: &str, name: &str| tools.procpool(&slow, options).named(name);
        all.push(Scenario::new(
            "recycle",
            "jobs that sleep 20 ms, 2 workers that need 100 ms to start",
            Load::Nap(|_| 20_000),
            size(2000, 200),
            vec![tools.procpool(&slow, ""), recycled("--max-reqs=20", RECYCLED)],
        ));
    }
    if options.growth {
        for power in 4..=size(7, 5) as u32 {
            let jobs = 10_u64.pow(power);
            all.push(Scenario {
                rounds: Some(3),
                ..Scenario::new(
                    &format!("growth {jobs}"),
                    "double [N]",
                    Load::Double,
                    jobs,
                    vec![tools.procpool(&double, ""), tools.auto(&double, "")],
                )
            });
        }
    }
    all
}

const RECYCLED: &str = "procpool --max-reqs 20";
const STREAMED: &str = "procpool --pipeline auto --stream";

fn memory(tools: &Tools, options: &Options) -> [Scenario; 2] {
    let size = |whole: u64, quick: u64| if options.quick { quick } else { whole };
    let double = tools.example("double", "");
    let worker = tools.example("bench_worker", "");
    let scenario = |scenario| Scenario { rounds: Some(1), is_checked: true, ..scenario };
    [
        scenario(Scenario::new(
            "memory",
            "double [N], every result looked at",
            Load::Double,
            size(10_000_000, 100_000),
            vec![
                tools.procpool(&double, ""),
                tools.procpool(&double, "--stream").named("procpool --stream"),
                tools.auto(&double, ""),
                tools.auto(&double, "--stream").named(STREAMED),
            ],
        )),
        scenario(Scenario::new(
            "memory after a slow job",
            "first a job of 12 s, then results of 1 KB; --buffer 64M",
            Load::SlowFirst { micros: size(12_000_000, 1_200_000), size: 1000 },
            size(1_000_000, 100_000),
            vec![tools.procpool(&worker, "--buffer=64M"), tools.auto(&worker, "--buffer=64M")],
        )),
    ]
}

/// A figure that is to be reached.
pub(crate) struct Target {
    what: String,
    limit: f64,
    is_at_most: bool,
    /// `None`: it was not measured.
    measured: Option<f64>,
}

impl Target {
    pub(crate) fn cells(&self) -> Vec<String> {
        let sign = if self.is_at_most { "≤" } else { "≥" };
        let verdict = match self.measured {
            None => "",
            Some(measured) if (measured <= self.limit) == self.is_at_most => "reached",
            Some(_) => "missed",
        };
        vec![
            self.what.clone(),
            format!("{sign} {}", digits(self.limit)),
            self.measured.map_or_else(|| "–".into(), digits),
            verdict.into(),
        ]
    }
}

/// All targets of the scenarios that were measured.
pub(crate) fn targets(measured: &[(Scenario, Vec<Row>)]) -> Vec<Target> {
    let mut targets = Vec::new();
    for (scenario, rows) in measured {
        let row = |name: &str| rows.iter().find(|row| row.tool.name == name);
        let ratio = |a, b| row(a)?.against(row(b)?);
        let mut target = |what: &str, limit, is_at_most, measured| {
            let what = format!("{}: {what}", scenario.name);
            targets.push(Target { what, limit, is_at_most, measured });
        };
        let own = |name| {
            let row = row(name)?;
            row.median(|usage| usage.own).map(|own| own / row.jobs as f64 * 1e6)
        };
        let peak = |name| {
            let row = row(name)?;
            row.median(|usage| usage.peak.map(|peak| peak as f64 / f64::from(1 << 20)))
        };
        const IMAP: &str = "Python imap, chunksize 1";
        const IMAP_100: &str = "Python imap, chunksize 100";
        match scenario.name.as_str() {
            "small" => {
                target(
                    "auto, times the wall time of split",
                    5.0,
                    true,
                    ratio(AUTO, "split -n r/2 --filter"),
                );
                target("one in flight, times the rate of imap", 4.0, false, ratio(IMAP, ONE));
                target("procpool's own CPU, auto, µs a job", 1.0, true, own(AUTO));
                target("procpool's own CPU, one in flight, µs a job", 6.0, true, own(ONE));
            }
            "python" => target("auto, times the rate of imap", 4.0, false, ratio(IMAP, AUTO)),
            "code" => {
                let times = |peer| ratio(peer, ONE);
                target("times the rate of imap", 10.0, false, times(IMAP));
                target("times that with chunks of 100", 1.5, false, times(IMAP_100));
                target("times that of xargs", 100.0, false, times("xargs -n1 python3 -c"));
            }
            "raw" => {
                let split = "split -n r/2 --filter";
                target("auto, times the wall time of split", 2.0, true, ratio(AUTO, split));
            }
            "large" => {
                target("one in flight, times the rate of imap", 4.0, false, ratio(IMAP, ONE))
            }
            "latency" => {
                let wall = |name| row(name)?.median(|usage| Some(usage.wall * 1e3));
                let more = |name| Some(wall(name)? - wall("the worker by hand")?);
                target("ms more than the worker by hand", 5.0, true, more(ONE));
            }
            "commands" => {
                let ratio = |peer| ratio(peer, ONE);
                target("times the rate of xargs", 1.2, false, ratio("xargs -P2 -n1 true"));
                target("times the rate of parallel", 4.0, false, ratio("parallel -k -j2 true"));
            }
            "slots" => {
                let ideal = (scenario.jobs / SLOTS * NAP) as f64 / 1e6;
                let rate = |name| row(name)?.median(|usage| Some(100.0 * ideal / usage.wall));
                target("one in flight, % of the ideal rate", 95.0, false, rate(ONE));
                target("auto, % of the ideal rate", 95.0, false, rate(AUTO));
            }
            "mixed" => {
                target("auto, times the wall time of one in flight", 1.05, true, ratio(AUTO, ONE))
            }
            "memory" => {
                for name in [ONE, "procpool --stream", AUTO, STREAMED] {
                    target(&format!("{name}, peak MiB"), 24.0, true, peak(name));
                }
            }
            "memory after a slow job" => {
                for name in [ONE, AUTO] {
                    target(&format!("{name}, peak MiB"), 64.0 + 24.0, true, peak(name));
                }
            }
            "hosts, one connection" => {
                let rate =
                    |name| row(name)?.median(|usage| Some(scenario.jobs as f64 / usage.wall));
                let share = |name| Some(row(name)?.jobs as f64 / scenario.jobs as f64);
                let wide = || Some(rate(WIDE)? * share(WIDE)?);
                target("auto, jobs/s", 500_000.0, false, rate(AUTO));
                target("one in flight, 16 slots, jobs/s", 20_000.0, false, wide());
            }
            "hosts, large" => {
                let rate = |usage: &Usage| Some(scenario.jobs as f64 * 1.048_576 / usage.wall);
                target("results, MB/s", 200.0, false, row(ONE).and_then(|row| row.median(rate)));
            }
            "hosts, one slow" => {
                // Two fast slots each do in a second what the slow ones do in ten.
                let work: u64 = (1..=scenario.jobs).map(nap).sum();
                let ideal = work as f64 / 1e6 / (2.0 + 2.0 + 0.2);
                let over = |usage: &Usage| Some(100.0 * (usage.wall / ideal - 1.0));
                let over = row(ONE).and_then(|row| row.median(over));
                target("% above the ideal", 10.0, true, over);
            }
            "queue, small" => {
                let rate = |usage: &Usage| Some(scenario.jobs as f64 / usage.wall);
                let rate = row(ONE).and_then(|row| row.median(rate));
                target("one in flight, jobs a second", 50_000.0, false, rate);
            }
            "queue, balance" => {
                let work: u64 = (1..=scenario.jobs).map(nap).sum();
                let ideal = work as f64 / 1e6 / (3.0 * 2.0 + 0.2);
                let over = |usage: &Usage| Some(100.0 * (usage.wall / ideal - 1.0));
                let over = row(ONE).and_then(|row| row.median(over));
                target("% above the ideal", 10.0, true, over);
            }
            "hosts, 1600 slots" => {
                let ideal = scenario.jobs as f64 / 1600.0;
                let busy = |usage: &Usage| Some(100.0 * ideal / usage.wall);
                let busy = row(ONE).and_then(|row| row.median(busy));
                target("% of the slots at work", 95.0, false, busy);
                target("coordinator, peak MiB", 100.0, true, peak(ONE));
                target("coordinator, CPU, µs a job", 20.0, true, own(ONE));
            }
            "hosts, commands" | "hosts, python" => {
                let parallel = "parallel -k -S 2/alpha,2/beta";
                target("times the rate of parallel", 4.0, false, ratio(parallel, ONE));
            }
            "recycle" => target("times the wall time without", 1.1, true, ratio(RECYCLED, ONE)),
            _ => {}
        }
    }
    targets
}
