//! A queue on a server of NATS with two workers, beside Celery and RQ on a server of Redis. All of them are started
//! here, and keep their jobs in files.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::Options;
use crate::hosts::nap;
use crate::jobs::{Input, Load, Output};
use crate::measure::command;
use crate::scenarios::Scenario;
use crate::table::{digits, median};
use crate::tools::{AUTO, Found, ONE, Tool, Tools, plain};

/// Jobs whose latency is measured.
const PINGS: usize = 200;

/// The servers, and the workers that wait at them. They end with the benchmark.
pub(crate) struct Queues {
    folder: TempDir,
    children: Vec<Child>,
    nats: u16,
    redis: Found,
    python: PathBuf,
    celery: Found,
    rq: Found,
}

impl Drop for Queues {
    fn drop(&mut self) {
        for mut child in self.children.drain(..).rev() {
            // Celery has processes of its own.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

impl Queues {
    /// Starts them all. Peers that are not installed are left out.
    pub(crate) fn start(tools: &Tools) -> Result<Self, String> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let python =
            std::env::var_os("PEERS_PYTHON").map_or_else(|| tools.python().into(), PathBuf::from);
        let has = |module: &str| {
            let found = command(&python).args(["-c", &format!("import {module}")]).output();
            let found = found.is_ok_and(|output| output.status.success());
            found.then(String::new).ok_or_else(|| format!("Python has no module {module}"))
        };
        let (celery, rq) = (has("celery"), has("rq"));
        let (nats, redis) = (free_port()?, free_port()?);
        let mut queues = Self {
            folder,
            children: Vec::new(),
            nats,
            redis: Ok(format!("redis://127.0.0.1:{redis}/0")),
            python,
            celery,
            rq,
        };
        let store = queues.folder.path().join("nats");
        let mut server = command("nats-server");
        server.args([
            "--jetstream",
            "--addr",
            "127.0.0.1",
            "--port",
            &nats.to_string(),
            "--store_dir",
        ]);
        queues
            .spawn(server.arg(store))
            .map_err(|why| format!("nats-server can't be run: {why}"))?;
        listens(nats)?;
        let double = tools.example("double", "");
        for (name, option) in [("one", "--pipeline=1"), ("auto", "--pipeline=auto")] {
            queues.machine(tools, name, &[option, "--worker", &double], "alpha")?;
        }
        let nap = tools.example("bench_worker", "--slow gamma");
        for host in ["alpha", "beta", "delta", "gamma"] {
            queues.machine(tools, "nap", &["--worker", &nap], host)?;
        }
        queues.start_redis(redis);
        Ok(queues)
    }

    fn spawn(&mut self, command: &mut Command) -> std::io::Result<()> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(quiet.process_group(0).spawn()?);
        Ok(())
    }

    /// A worker machine of a queue.
    fn machine(
        &mut self,
        tools: &Tools,
        queue: &str,
        args: &[&str],
        host: &str,
    ) -> Result<(), String> {
        let mut machine = command(tools.binary());
        machine.args(["--from", &self.url(queue), "-j2"]).args(args).env("PROCPOOL_HOST", host);
        self.spawn(&mut machine).map_err(|error| error.to_string())
    }

    fn start_redis(&mut self, port: u16) {
        let folder = self.folder.path().to_owned();
        let mut server = command("redis-server");
        server.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--appendonly",
            "yes",
            "--dir",
        ]);
        if let Err(error) = self.spawn(server.arg(folder)) {
            self.redis = Err(format!("redis-server can't be run ({error})"));
            return;
        }
        if listens(port).is_err() {
            self.redis = Err("redis-server does not listen".into());
            return;
        }
        for (file, found, count) in
            [("celery_queue.py", self.celery.is_ok(), 1), ("rq_queue.py", self.rq.is_ok(), 2)]
        {
            for _ in 0..if found { count } else { 0 } {
                let mut worker = command("env");
                worker.args(self.peer(file, "worker"));
                // What can't be started prints nothing, and is named as failed.
                let _ = self.spawn(&mut worker);
            }
        }
    }

    /// The words of `env` for a peer.
    fn peer(&self, file: &str, role: &str) -> Vec<String> {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let redis = self.redis.clone().unwrap_or_default();
        let words = [
            format!("REDIS={redis}"),
            format!("PYTHONPATH={}", peers.display()),
            self.python.display().to_string(),
            peers.join(file).display().to_string(),
            role.to_owned(),
        ];
        words.to_vec()
    }

    fn url(&self, queue: &str) -> String {
        format!("nats://127.0.0.1:{}/{queue}", self.nats)
    }

    /// Procpool as it submits to a queue.
    fn via(&self, tools: &Tools, queue: &str) -> Tool {
        let words =
            [tools.binary().to_string_lossy().into_owned(), "--via".into(), self.url(queue)];
        let tool = plain(ONE, words, Input::Jobs, &Ok(String::new()));
        Tool { output: Output::Record, ..tool }
    }

    fn submitter(&self, name: &str, file: &str, found: &Found) -> Tool {
        let found = self.redis.as_ref().and(found.as_ref()).cloned().map_err(Clone::clone);
        let words = ["env".to_owned()].into_iter().chain(self.peer(file, "submit"));
        plain(name, words, Input::Args, &found)
    }

    /// The scenarios with queues.
    pub(crate) fn scenarios(&self, tools: &Tools, options: &Options) -> Vec<Scenario> {
        let size = |whole: u64, quick: u64| if options.quick { quick } else { whole };
        let balance = Load::Nap(nap);
        vec![
            Scenario::new(
                "queue, small",
                "double [N] through a queue in files, 2 workers",
                Load::Double,
                size(500_000, 20_000),
                vec![
                    self.via(tools, "one"),
                    self.via(tools, "auto").named(AUTO),
                    self.submitter("Celery, Redis, -c2", "celery_queue.py", &self.celery)
                        .share(100),
                    self.submitter("RQ, 2 SimpleWorkers", "rq_queue.py", &self.rq).share(250),
                ],
            ),
            Scenario::new(
                "queue, balance",
                "jobs that sleep 5 to 50 ms, 2 at a time on each of 4 machines; one of them takes ten times as long",
                balance,
                size(2000, 200),
                vec![self.via(tools, "nap")],
            ),
        ]
    }

    /// How long a job takes from the line to its result, at a submitter that runs: the median, as a sentence.
    pub(crate) fn latency(&self, tools: &Tools) -> Result<String, String> {
        let failed = |error: std::io::Error| format!("the latency can't be measured: {error}");
        let mut via = command(tools.binary());
        via.args(["--via", &self.url("one")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut via = via.spawn().map_err(failed)?;
        let mut jobs = via.stdin.take().ok_or("no stdin")?;
        let mut results = BufReader::new(via.stdout.take().ok_or("no stdout")?).lines();
        let mut times = Vec::new();
        for number in 0..PINGS {
            let begin = Instant::now();
            writeln!(jobs, r#"{{"cmd":"double","args":[{number}]}}"#).map_err(failed)?;
            results.next().ok_or("a result is missing")?.map_err(failed)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        drop(jobs);
        via.wait().map_err(failed)?;
        let middle = median(times).map_or_else(String::new, digits);
        Ok(format!(
            "Latency of one job through a queue: {middle} ms, the median of {PINGS} (limit: 5).\n"
        ))
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}

fn listens(port: u16) -> Result<(), String> {
    for _ in 0..1000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("nobody listens at port {port}"))
}
