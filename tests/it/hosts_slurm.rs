//! Jobs on the nodes of a real Slurm: four slurmd on this machine, with ports and keys of their own. All
//! tests share it, one after another, and leave four idle nodes to the next.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::{leftovers, need, wait_for};
use crate::hosts_kit::watch_over;

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

/// A cluster of four nodes, the last of which has four CPUs and the others two.
struct Cluster {
    folder: String,
    /// Ends all of it when this process is gone.
    _guard: Child,
}

/// What ends the daemons that have written the numbers of their processes to files in the folder `$1`.
/// What does not end in 2 s is killed, and so is all that runs in the folder.
const END: &str = "SLURM_CONF=$1/slurm.conf scancel --user root
     for name in n1 n2 n3 n4 slurmctld munged; do
     pid=$(cat \"$1/$name.pid\" 2>/dev/null) && kill $pid && pids=\"$pids $pid\"; done
     n=0; while kill -0 $pids 2>/dev/null && [ $n -lt 40 ]; do sleep 0.05; n=$((n + 1)); done
     kill -9 $pids 2>/dev/null; for p in /proc/[0-9]*; do
     [ \"$(readlink $p/cwd)\" = \"$1\" ] && kill -9 ${p#/proc/}; done; rm -rf \"$1\"";

impl Cluster {
    /// The cluster, for one test at a time. `None`: there is no Slurm here, or it takes root.
    fn get() -> Option<MutexGuard<'static, Self>> {
        static CLUSTER: OnceLock<Option<Mutex<Cluster>>> = OnceLock::new();
        // They may be where only root looks.
        let is_there = |name: &str| std::path::Path::new("/usr/sbin").join(name).exists();
        if !["slurmctld", "slurmd", "munged"].iter().all(|name| is_there(name)) {
            need("slurmctld");
            return None;
        }
        if !["salloc", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"]
            .iter()
            .all(|name| need(name))
        {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            println!("skipped: slurmd runs as root");
            return None;
        }
        let cluster = CLUSTER.get_or_init(|| Some(Mutex::new(Self::start())));
        let cluster = cluster.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        cluster.await_idle();
        Some(cluster)
    }

    fn start() -> Self {
        let folder = TempDir::new().expect("a folder").keep();
        let folder = folder.to_str().expect("UTF-8").to_owned();
        let guard = watch_over(END, &folder);
        let cluster = Self { folder, _guard: guard };
        for name in ["state", "spool", "home"] {
            fs::create_dir(cluster.path(name)).expect("a folder");
        }
        fs::write(cluster.path("key"), [7; 1024]).expect("there is room");
        run(Command::new("chmod").args(["400", &cluster.path("key")]));
        let at = |option: &str, name: &str| format!("--{option}={}", cluster.path(name));
        run(Command::new("/usr/sbin/munged").arg("--force").args([
            at("key-file", "key"),
            at("socket", "munge"),
            at("pid-file", "munged.pid"),
            at("log-file", "munged.log"),
            at("seed-file", "seed"),
        ]));
        let settings = cluster.path("slurm.conf");
        fs::write(&settings, cluster.settings()).expect("there is room");
        run(Command::new("/usr/sbin/slurmctld").args(["-c", "-f", &settings]));
        NODES.iter().for_each(|node| cluster.start_node(node));
        cluster
    }

    fn start_node(&self, node: &str) {
        let settings = self.path("slurm.conf");
        run(Command::new("/usr/sbin/slurmd").args(["-N", node, "-f", &settings]));
    }

    fn await_idle(&self) {
        wait_for("four nodes that are idle", || {
            let text = self.text(self.command("sinfo").args(["-h", "-N", "-o", "%T"]));
            text.lines().filter(|line| *line == "idle").count() == NODES.len()
        });
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn settings(&self) -> String {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let name = name.trim();
        let ports: Vec<TcpListener> =
            (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let port = |nth: usize| ports[nth].local_addr().expect("an address").port();
        let folder = &self.folder;
        let mut text = format!(
            "ClusterName=test\nSlurmctldHost={name}(127.0.0.1)\nSlurmctldPort={}\nSlurmUser=root\n\
             SlurmdUser=root\nAuthType=auth/munge\nAuthInfo=socket={folder}/munge,cred_expire=1\n\
             CryptoType=crypto/munge\nStateSaveLocation={folder}/state\n\
             SlurmdSpoolDir={folder}/spool/%n\nSlurmctldPidFile={folder}/slurmctld.pid\n\
             SlurmdPidFile={folder}/%n.pid\nSlurmctldLogFile={folder}/slurmctld.log\n\
             SlurmdLogFile={folder}/%n.log\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSwitchType=switch/none\n\
             MpiDefault=none\nReturnToService=2\nSlurmdParameters=config_overrides\n\
             JobRequeue=1\nSchedulerParameters=sched_min_interval=0\n\
             PartitionName=p Nodes=n[1-4] Default=YES MaxTime=INFINITE State=UP\n",
            port(0)
        );
        for nth in 1..=4 {
            let cpus = if nth == 4 { 4 } else { 2 };
            text.push_str(&format!(
                "NodeName=n{nth} NodeAddr=127.0.0.1 NodeHostname={name} Port={} CPUs={cpus} \
                 RealMemory=500\n",
                port(nth)
            ));
        }
        text
    }

    /// A program of Slurm's, for this cluster.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let bin = std::path::Path::new(env!("CARGO_BIN_EXE_procpool")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("SLURM_CONF", self.path("slurm.conf"))
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", self.path("home"))
            .current_dir(&self.folder);
        command
    }

    /// An allocation of all nodes.
    fn allocation(&self) -> Command {
        let mut command = self.command("salloc");
        command.args(["-N4", "--exclusive", "--no-kill", "--quiet"]);
        command
    }

    #[track_caller]
    fn text(&self, command: &mut Command) -> String {
        let output = command.stdin(Stdio::null()).output().expect("Slurm is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it can be run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_node_has_its_slots_and_one_step() {
    let Some(cluster) = Cluster::get() else { return };
    let script =
        "seq 60 | procpool --slurm sh -c 'sleep 0.1; echo $PROCPOOL_HOST {%} $SLURM_STEP_ID'";
    let text = cluster.text(cluster.allocation().args(["sh", "-c", script]));
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 60, "{text}");
    lines.sort_unstable();
    lines.dedup();
    let of = |node: &str| lines.iter().filter(|line| line.starts_with(node)).count();
    assert_eq!(NODES.map(of), [2, 2, 2, 4], "{text}");
    let mut steps: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    steps.sort_unstable();
    steps.dedup();
    assert_eq!(steps.len(), 4, "{text}");
}

/// The script of the guide. Slurm stops it by its time limit, again and again.
#[test]
fn a_batch_job_that_is_requeued_goes_on() {
    let Some(cluster) = Cluster::get() else { return };
    let go = cluster.path("go");
    let script = format!(
        "#!/bin/sh\n\
         #SBATCH --nodes=2 --time=1 --signal=B:TERM@59 --requeue --open-mode=append\n\
         seq 40 | procpool --slurm --journal run.journal --resume --grace 0.5 \
         sh -c 'test $0 -lt 20 || {}; echo $0' >results &\n\
         trap 'kill -TERM $!; wait $!; scontrol requeue $SLURM_JOB_ID' TERM\n\
         wait $!\necho ended >>ends\n",
        crate::common::until(&go)
    );
    fs::write(cluster.path("script"), script).expect("there is room");
    let id = cluster.text(cluster.command("sbatch").args(["--parsable", "script"]));
    let id = id.trim();
    let state =
        || cluster.text(cluster.command("squeue").args(["-h", "-o", "%T"])).trim().to_owned();
    wait_for("the job to be stopped by its time limit", || state() == "PENDING");
    fs::write(&go, "").expect("there is room");
    let results = || fs::read_to_string(cluster.path("results")).unwrap_or_default();
    wait_for("all results", || {
        // Slurm would let a requeued job wait for two minutes.
        let now = [&format!("jobid={id}"), "StartTime=now"];
        if state() == "PENDING" {
            cluster.text(cluster.command("scontrol").arg("update").args(now));
        }
        results().lines().count() == 40
    });
    let expected: String = (1..=40).map(|n| format!("{n}\n")).collect();
    assert_eq!(results(), expected);
    // Each job has succeeded once.
    let journal = fs::read_to_string(cluster.path("run.journal")).expect("a journal");
    let done = journal.lines().filter(|line| line.contains("\"ok\":true"));
    let mut keys: Vec<&str> = done.map(|line| &line[..60]).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), journal.matches("\"ok\":true").count()), (40, 40));
}

/// On one node the step is cancelled, on another slurmd and the agent are killed; a third is drained.
#[test]
fn what_happens_to_nodes_costs_no_job() {
    let Some(cluster) = Cluster::get() else { return };
    let go = cluster.path("go-on");
    let script = format!(
        "seq 60 | procpool --slurm sh -c \
         'echo $PPID $SLURM_STEP_ID >at.$PROCPOOL_HOST; {}; echo $0'",
        crate::common::until(&go)
    );
    let run = cluster
        .allocation()
        .args(["sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("salloc is there");
    let at = |node: &str| -> Vec<i32> {
        let text = fs::read_to_string(cluster.path(&format!("at.{node}"))).unwrap_or_default();
        text.split_whitespace().map(|word| word.parse().expect("a number")).collect()
    };
    wait_for("jobs on all nodes", || NODES.iter().all(|node| at(node).len() == 2));
    let slurmd = fs::read_to_string(cluster.path("n1.pid")).expect("a file");
    kill(slurmd.trim().parse().expect("a number"));
    kill(at("n1")[0]);
    let id = cluster.text(cluster.command("squeue").args(["-h", "-o", "%i"]));
    let step = format!("{}.{}", id.trim(), at("n2")[1]);
    cluster.text(cluster.command("scancel").arg(step));
    let drain = ["update", "nodename=n3", "state=drain", "reason=test"];
    cluster.text(cluster.command("scontrol").args(drain));
    fs::write(&go, "").expect("there is room");
    let output = run.wait_with_output().expect("it ends");
    let expected: String = (1..=60).map(|n| format!("{n}\n")).collect();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{said}");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("n1 is lost: ") && said.contains("n2 is lost: "), "{said}");
    cluster.text(cluster.command("scontrol").args(["update", "nodename=n3", "state=resume"]));
    cluster.start_node("n1");
}

#[test]
fn a_coordinator_that_is_killed_leaves_nothing_on_the_nodes() {
    let Some(cluster) = Cluster::get() else { return };
    let mark = cluster.path("mark");
    let script = format!(
        "seq 60 | procpool --slurm sh -c 'echo $PPID >>at; sleep 60; : {mark}' & wait; kill -9 $!"
    );
    let script = script.replace("& wait;", "& until test $(wc -l <at) -ge 8; do sleep 0.05; done;");
    cluster.text(cluster.allocation().args(["sh", "-c", &script]));
    wait_for("all jobs to be gone", || leftovers(&mark).is_empty());
    let agents = fs::read_to_string(cluster.path("at")).expect("a file");
    let agents = agents.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
    let agents: Vec<_> = agents.collect();
    wait_for("all agents to be gone", || {
        agents.iter().all(|&pid| crate::common::state(pid).is_none())
    });
}

fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a process");
    kill_process(pid, Signal::KILL).expect("it lives");
}

#[test]
fn without_an_allocation_it_is_said_how_to_get_one() {
    crate::common::Test::new()
        .env("SLURM_JOB_ID", "")
        .args(["--slurm", "echo"])
        .stderr_has("get one with 'salloc -N4 procpool --slurm ")
        .status(2)
        .run();
}
