//! procpool beside tools that a user would pick instead, on the same jobs: `cargo bench --bench peers`.
//!
//! It times nothing that anybody's machine could fail: it measures and prints a table. `README.md`,
//! beside this file, says what the rows mean.

#[path = "peers/hosts.rs"]
mod hosts;
#[path = "peers/jobs.rs"]
mod jobs;
#[path = "peers/measure.rs"]
mod measure;
#[path = "peers/queues.rs"]
mod queues;
#[path = "peers/scenarios.rs"]
mod scenarios;
#[path = "peers/table.rs"]
mod table;
#[path = "peers/tools.rs"]
mod tools;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use jobs::Files;
use measure::Usage;
use scenarios::Scenario;
use table::{Table, digits, grouped, median, time};
use tools::{Tool, Tools};

const HELP: &str = "\
Usage: cargo bench --bench peers -- [OPTIONS]

  --quick          a few jobs only: to see that all works; the figures mean little
  --rounds N       N rounds instead of 5
  --only TEXT      only scenarios in whose name TEXT occurs
  --markdown       the tables as Markdown
  --memory         also: peak memory with 10,000,000 jobs, and after a slow first job
  --recycle        also: what replacing workers costs
  --growth         also: the cost per job with 10⁴ to 10⁷ jobs
  --hosts          only what runs on hosts: two sshd sessions of this machine
  --queue          only queues: a server of NATS, Celery and RQ with Redis; give --procpool one with the feature nats
  --procpool PATH  measure this binary instead of building one
  --list           only name the scenarios and the tools
";

/// CPU time is known to 10 ms: less than this says nothing.
const LEAST_CPU: f64 = 0.1;

#[derive(Debug, Default)]
struct Options {
    rounds: Option<usize>,
    quick: bool,
    only: Option<String>,
    markdown: bool,
    memory: bool,
    recycle: bool,
    growth: bool,
    hosts: bool,
    queue: bool,
    procpool: Option<PathBuf>,
    list: bool,
}

impl Options {
    /// `Ok(None)`: nothing is to be measured.
    fn parse(args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut args = args.peekable();
        let (mut is_bench, mut is_test) = (false, false);
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                // Cargo says so when it is `cargo bench`, and does not when it is `cargo test`.
                "--bench" => is_bench = true,
                "--test" => is_test = true,
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|&rounds| rounds > 0);
                    options.rounds = Some(rounds.ok_or("--rounds needs a number, 1 or more")?);
                }
                "--quick" => options.quick = true,
                "--only" => options.only = Some(value()?),
                "--markdown" => options.markdown = true,
                "--memory" => options.memory = true,
                "--recycle" => options.recycle = true,
                "--growth" => options.growth = true,
                "--hosts" => options.hosts = true,
                "--queue" => options.queue = true,
                "--procpool" => options.procpool = Some(value()?.into()),
                "--list" => options.list = true,
                "--help" | "-h" => {
                    print!("{HELP}");
                    return Ok(None);
                }
                unknown => return Err(format!("unknown option {unknown}\n\n{HELP}")),
            }
        }
        Ok(Some(options).filter(|_| is_bench && !is_test))
    }
}

/// What was measured of one tool in one scenario.
struct Row {
    tool: Tool,
    jobs: u64,
    /// One for each round.
    rounds: Vec<Usage>,
    failure: Option<String>,
}

impl Row {
    /// The median of something in all rounds.
    fn median(&self, what: impl Fn(&Usage) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(what))
    }

    /// Seconds per job.
    fn per_job(&self, round: usize) -> Option<f64> {
        self.rounds.get(round).map(|usage| usage.wall / self.jobs as f64)
    }

    /// How many times as long a job takes as with another tool: the median of what each round says
    /// by itself, since what disturbs a machine for a while disturbs all of a round.
    fn against(&self, other: &Self) -> Option<f64> {
        let ratio = |round| Some(self.per_job(round)? / other.per_job(round)?);
        median((0..self.rounds.len()).filter_map(ratio))
    }
}

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| match options {
        Some(options) => bench(&options),
        None => Ok(ExitCode::SUCCESS),
    });
    outcome.unwrap_or_else(|message| {
        eprintln!("peers: {message}");
        ExitCode::FAILURE
    })
}

fn bench(options: &Options) -> Result<ExitCode, String> {
    let tools = Tools::find(options.procpool.as_deref())?;
    let sshd = if options.hosts { Some(hosts::Sshd::start()?) } else { None };
    let queues = if options.queue { Some(queues::Queues::start(&tools)?) } else { None };
    let mut all = match (&sshd, &queues) {
        (_, Some(queues)) => queues.scenarios(&tools, options),
        (Some(sshd), None) => hosts::scenarios(&tools, options, sshd),
        (None, None) => scenarios::all(&tools, options),
    };
    if let Some(only) = &options.only {
        all.retain(|scenario| scenario.name.contains(only.as_str()));
        if all.is_empty() {
            return Err(format!("no scenario has '{only}' in its name"));
        }
    }
    if options.list {
        for scenario in all {
            println!("{}: {}", scenario.name, scenario.title);
            for tool in scenario.tools {
                println!(
                    "    {}{}",
                    tool.name,
                    if tool.missing.is_some() { " (missing)" } else { "" }
                );
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let default_rounds = if options.quick { 2 } else { 5 };
    let mut measured = Vec::new();
    for scenario in all {
        let rounds = scenario.rounds.or(options.rounds).unwrap_or(default_rounds);
        let rows = measure_scenario(&scenario, rounds)?;
        measured.push((scenario, rows));
    }
    print!("{}", report(options, &tools, &measured));
    if let Some(queues) = &queues {
        print!("\n{}", queues.latency(&tools)?);
    }
    let failures = measured.iter().flat_map(|(_, rows)| rows).filter(|row| row.failure.is_some());
    Ok(if failures.count() > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs all tools of a scenario in turn, round by round. The first time they are watched: a tool
/// that does not do its jobs right is not measured.
fn measure_scenario(scenario: &Scenario, rounds: usize) -> Result<Vec<Row>, String> {
    let mut files = Files::new(&scenario.load)?;
    let new_row = |tool: &Tool| Row {
        tool: tool.clone(),
        jobs: (scenario.jobs / tool.share).max(1),
        rounds: Vec::new(),
        failure: None,
    };
    let mut rows: Vec<Row> = scenario.tools.iter().map(new_row).collect();
    let samples = if scenario.is_checked { 0 } else { 1 };
    for round in 0..samples + rounds {
        let is_sample = round < samples;
        let watched = is_sample || scenario.is_checked;
        for row in rows.iter_mut().filter(|row| row.tool.missing.is_none()) {
            if row.failure.is_some() {
                continue;
            }
            let jobs = match is_sample {
                true if row.tool.is_mixing => 1,
                true => (row.jobs / 100).max(20).min(row.jobs),
                false => row.jobs,
            };
            let stage = match is_sample {
                true => "is it right?".to_owned(),
                false => format!("round {} of {rounds}", round - samples + 1),
            };
            announce(&format!("{}, {stage}: {}", scenario.name, row.tool.name));
            let input = files.path(row.tool.input, jobs)?;
            let usage = match watched {
                true => jobs::checked(&scenario.load, &row.tool, jobs, |check| {
                    measure::run(&row.tool.argv, &input, Some(check))
                }),
                false => measure::run(&row.tool.argv, &input, None),
            };
            match usage {
                Ok(_) if is_sample => {}
                Ok(usage) => row.rounds.push(usage),
                Err(message) => {
                    announce("");
                    eprintln!("peers: {}: {}: {message}", scenario.name, row.tool.name);
                    row.failure = Some(message);
                }
            }
        }
    }
    announce("");
    Ok(rows)
}

/// Says on a terminal what is being done.
fn announce(what: &str) {
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K{what}");
    } else if !what.is_empty() {
        eprintln!("{what}");
    }
}

fn report(options: &Options, tools: &Tools, measured: &[(Scenario, Vec<Row>)]) -> String {
    let mut text = format!("{}\n", machine());
    if options.quick {
        text.push_str("A quick run: the figures mean little.\n");
    }
    text.push_str(&match options.markdown {
        true => format!("\n{}\n", tools.versions().replace('\n', "  \n")),
        false => format!("\n{}\n", tools.versions()),
    });
    let mut table = Table {
        is_markdown: options.markdown,
        head: ["", "jobs", "wall", "jobs/s", "× one", "× auto", "CPU s", "own µs/job", "peak MiB"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    for (scenario, rows) in measured {
        if !options.markdown && !table.rows.is_empty() {
            table.rows.push(Vec::new());
        }
        let title = format!("{}: {}", scenario.name, scenario.title);
        table.rows.push(vec![if options.markdown { format!("**{title}**") } else { title }]);
        let reference = |name: &str| rows.iter().find(|row| row.tool.name == name);
        let (one, auto) = (reference(tools::ONE), reference(tools::AUTO));
        table.rows.extend(rows.iter().map(|row| cells(row, one, auto)));
    }
    text.push_str(&format!("{table}\n"));
    let targets = scenarios::targets(measured);
    if !targets.is_empty() {
        let head = ["target", "limit", "measured", ""].map(String::from).to_vec();
        let rows = targets.iter().map(scenarios::Target::cells).collect();
        text.push_str(&Table { is_markdown: options.markdown, head, rows }.to_string());
    }
    text
}

/// A row of the table.
fn cells(row: &Row, one: Option<&Row>, auto: Option<&Row>) -> Vec<String> {
    let mut cells = vec![format!("  {}", row.tool.name)];
    if row.tool.missing.is_some() || row.failure.is_some() {
        let why = if row.failure.is_some() { "failed" } else { "missing" };
        cells.extend(["".into(), why.into()]);
        return cells;
    }
    let none = || "–".to_owned();
    let wall = row.median(|usage| Some(usage.wall));
    let own = row.median(|usage| usage.own.filter(|&own| own >= LEAST_CPU));
    let cpu = row.median(|usage| usage.cpu.filter(|&cpu| cpu >= LEAST_CPU));
    let ratio = |other: Option<&Row>| other.and_then(|other| row.against(other)).map(digits);
    cells.push(grouped(row.jobs as f64));
    cells.push(wall.map_or_else(none, time));
    cells.push(
        wall.filter(|_| row.jobs > 1).map_or_else(none, |wall| grouped(row.jobs as f64 / wall)),
    );
    cells.push(ratio(one).unwrap_or_else(none));
    cells.push(ratio(auto).unwrap_or_else(none));
    cells.push(cpu.map_or_else(none, digits));
    cells.push(own.map_or_else(none, |own| digits(own / row.jobs as f64 * 1e6)));
    let peak = row.median(|usage| usage.peak.map(|peak| peak as f64 / f64::from(1 << 20)));
    cells.push(peak.map_or_else(none, |peak| format!("{peak:.1}")));
    cells
}

/// Date and machine.
fn machine() -> String {
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<&str> = kernel.trim().split('.').take(2).collect();
    format!(
        "{}, {} CPUs ({}), {} {}",
        date.split('T').next().unwrap_or(&date),
        num_cpus::get(),
        model.map_or(std::env::consts::ARCH, |(_, model)| model),
        if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS },
        kernel.join("."),
    )
}
