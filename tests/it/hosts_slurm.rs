//! Jobs on the nodes of a real Slurm: four slurmd on this machine, with ports and keys of their own.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::common::{need, wait_for};

/// A cluster of four nodes, the last of which has four CPUs and the others two.
struct Cluster {
    folder: TempDir,
}

impl Cluster {
    /// `None`: there is no Slurm here, or it takes root.
    fn start() -> Option<Self> {
        // They may be where only root looks.
        let is_there = |name: &str| std::path::Path::new("/usr/sbin").join(name).exists();
        if !["slurmctld", "slurmd", "munged"].iter().all(|name| is_there(name)) {
            need("slurmctld");
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            println!("skipped: slurmd runs as root");
            return None;
        }
        let folder = TempDir::new().expect("a folder");
        let cluster = Self { folder };
        for name in ["state", "spool"] {
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
        fs::write(cluster.path("slurm.conf"), cluster.settings()).expect("there is room");
        let settings = cluster.path("slurm.conf");
        run(Command::new("/usr/sbin/slurmctld").args(["-c", "-f", &settings]));
        for node in ["n1", "n2", "n3", "n4"] {
            run(Command::new("/usr/sbin/slurmd").args(["-N", node, "-f", &settings]));
        }
        wait_for("four nodes that are idle", || {
            let text = cluster.text(cluster.command("sinfo").args(["-h", "-N", "-o", "%T"]));
            text.lines().filter(|line| *line == "idle").count() == 4
        });
        Some(cluster)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn settings(&self) -> String {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let name = name.trim();
        let ports: Vec<TcpListener> =
            (0..5).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let port = |nth: usize| ports[nth].local_addr().expect("an address").port();
        let folder = self.folder.path().display();
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
            .current_dir(self.folder.path());
        command
    }

    #[track_caller]
    fn text(&self, command: &mut Command) -> String {
        let output = command.stdin(Stdio::null()).output().expect("Slurm is there");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.text(self.command("scancel").args(["--user", "root"]));
        for name in ["n1", "n2", "n3", "n4", "slurmctld", "munged"] {
            let pid = fs::read_to_string(self.path(&format!("{name}.pid"))).unwrap_or_default();
            if !pid.trim().is_empty() {
                let _ = Command::new("kill").arg(pid.trim()).output();
            }
        }
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it can be run");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_node_has_its_slots_and_one_step() {
    let Some(cluster) = Cluster::start() else { return };
    let script =
        "seq 60 | procpool --slurm sh -c 'sleep 0.2; echo $PROCPOOL_HOST {%} $SLURM_STEP_ID'";
    let text = cluster.text(cluster.command("salloc").args([
        "-N4",
        "--exclusive",
        "--quiet",
        "sh",
        "-c",
        script,
    ]));
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 60, "{text}");
    lines.sort_unstable();
    lines.dedup();
    let of = |node: &str| lines.iter().filter(|line| line.starts_with(node)).count();
    assert_eq!(["n1", "n2", "n3", "n4"].map(of), [2, 2, 2, 4], "{text}");
    let mut steps: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    steps.sort_unstable();
    steps.dedup();
    assert_eq!(steps.len(), 4, "{text}");
}

#[test]
fn a_batch_job_that_is_requeued_goes_on() {
    let Some(cluster) = Cluster::start() else { return };
    // As in the guide, but that the signal comes from the test.
    let script = "#!/bin/sh\n\
        #SBATCH --nodes=2 --requeue --open-mode=append\n\
        seq 40 | procpool --slurm --journal run.journal --resume sh -c 'sleep 0.3; echo $0' >results &\n\
        trap 'kill -TERM $!; wait $!; scontrol requeue $SLURM_JOB_ID' TERM\n\
        wait $!\necho ended >>ends\n";
    fs::write(cluster.path("script"), script).expect("there is room");
    let id = cluster.text(cluster.command("sbatch").args(["--parsable", "script"]));
    let id = id.trim();
    let journal = || fs::read_to_string(cluster.path("run.journal")).unwrap_or_default();
    wait_for("some results", || journal().lines().count() > 4);
    cluster.text(cluster.command("scancel").args(["--batch", "--signal=TERM", id]));
    // Slurm would let a requeued job wait for two minutes.
    let state =
        || cluster.text(cluster.command("squeue").args(["-h", "-o", "%T"])).trim().to_owned();
    wait_for("the job to be requeued", || state() == "PENDING");
    wait_for("the job to run again", || {
        let now = [&format!("jobid={id}"), "StartTime=now"];
        cluster.text(cluster.command("scontrol").arg("update").args(now));
        state() != "PENDING"
    });
    let results = || fs::read_to_string(cluster.path("results")).unwrap_or_default();
    wait_for("all results", || results().lines().count() == 40);
    let expected: String = (1..=40).map(|n| format!("{n}\n")).collect();
    assert_eq!(results(), expected);
    let keys = |text: &str| {
        let mut keys: Vec<String> = text
            .lines()
            .filter(|line| line.contains("\"ok\":true"))
            .map(|line| line[..60].to_owned())
            .collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        (count, keys.len())
    };
    // Each job has succeeded once.
    assert_eq!(keys(&journal()), (40, 40));
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
