//! Two hosts that are this machine, behind an sshd of the benchmark's own, and the scenarios for them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::Options;
use crate::jobs::{Input, Load, Output, random};
use crate::scenarios::Scenario;
use crate::tools::{AUTO, ONE, Tool, Tools, plain};

/// An sshd with its own keys and a port that was free.
pub(crate) struct Sshd {
    folder: TempDir,
    child: Child,
}

impl Sshd {
    /// Starts it.
    pub(crate) fn start() -> Result<Self, String> {
        // It wants a folder of this name, and has none in a container.
        let _ = fs::create_dir_all("/run/sshd");
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for key in ["host", "user"] {
            let mut made = Command::new("ssh-keygen");
            let made = made.args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).status();
            if !made.is_ok_and(|status| status.success()) {
                return Err("ssh-keygen makes no key".into());
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        drop(listener);
        let public = |key: &str| fs::read_to_string(at(&format!("{key}.pub"))).unwrap_or_default();
        let path = std::env::var("PATH").unwrap_or_default();
        let files = [
            ("known", format!("bench {}", public("host"))),
            ("authorized", public("user")),
            (
                "sshd.conf",
                format!(
                    "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
                     PidFile none\nStrictModes no\nUsePAM no\nMaxStartups 50\n\
                     SetEnv PATH={path} HOME={}\n",
                    at("host"),
                    at("authorized"),
                    at("")
                ),
            ),
            (
                "ssh.conf",
                format!(
                    "Host *\n HostName 127.0.0.1\n Port {port}\n HostKeyAlias bench\n\
                     IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n\
                     BatchMode yes\n StrictHostKeyChecking yes\n",
                    at("user"),
                    at("known")
                ),
            ),
        ];
        for (name, text) in files {
            fs::write(at(name), text).map_err(|error| error.to_string())?;
        }
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-f", &at("sshd.conf")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sshd can't be run ({error})"))?;
        let sshd = Self { folder, child };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(sshd);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err("sshd does not listen".into())
    }

    /// The command line of ssh.
    fn ssh(&self) -> String {
        format!("ssh -F {}", self.folder.path().join("ssh.conf").display())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The scenarios with hosts.
pub(crate) fn scenarios(tools: &Tools, options: &Options, sshd: &Sshd) -> Vec<Scenario> {
    let size = |whole: u64, quick: u64| if options.quick { quick } else { whole };
    let (double, echo) = (tools.example("double", ""), tools.example("bench_worker", ""));
    let procpool = |hosts: &str, options: &[&str]| over_ssh(tools, sshd, hosts, options);
    let record = |tool: Tool| Tool { input: Input::Jobs, output: Output::Record, ..tool };
    let auto =
        |worker: &str| record(procpool("2/alpha", &["--pipeline=auto", "-w", worker])).named(AUTO);
    let nothing = |tool: Tool| Tool { output: Output::Nothing, ..tool };
    let python = tools.python().to_string_lossy().into_owned();
    let line = [&*python, "-c", "import sys; print(int(sys.argv[1]) * 2)"];
    let line = shell_words::join(line);
    let both = "2/alpha,2/beta";
    let slow = tools.example("bench_worker", "--slow gamma");
    vec![
        Scenario::new(
            "hosts, one connection",
            "double [N] behind one ssh connection, 2 slots and 16",
            Load::Double,
            size(2_000_000, 100_000),
            vec![
                record(procpool("2/alpha", &["-w", &double])).share(10).named(ONE),
                record(procpool("16/alpha", &["-w", &double])).share(10).named(WIDE),
                auto(&double),
            ],
        ),
        Scenario::new(
            "hosts, large",
            "echo [TEXT], 1 MiB each way behind one ssh connection",
            Load::Echo(1 << 20),
            size(500, 50),
            vec![record(procpool("2/alpha", &["-w", &echo])).named(ONE), auto(&echo)],
        ),
        Scenario::new(
            "hosts, one slow",
            "jobs that sleep 5 to 50 ms, on three hosts; one of them takes ten times as long",
            Load::Nap(nap),
            size(2000, 200),
            vec![record(locally(tools, BALANCED, &["-w", &slow])).named(ONE)],
        ),
        Scenario {
            rounds: Some(1),
            ..Scenario::new(
                "hosts, 1600 slots",
                "jobs that sleep 1 s, in 200 agents with 8 slots each, all on this machine",
                Load::Nap(|_| 1_000_000),
                // The start of 200 agents must not count for much.
                size(1600 * 60, 1600),
                vec![record(locally(tools, &many(), &["-w", &echo])).named(ONE)],
            )
        },
        Scenario::new(
            "hosts, commands",
            "the command `true` for each line, on two hosts with 2 slots each",
            Load::Lines,
            size(1000, 100),
            vec![
                nothing(procpool(both, &["true"])).named(ONE),
                nothing(parallel(tools, sshd, both, "true")).share(4),
            ],
        ),
        Scenario::new(
            "hosts, python",
            "a function in Python for each line, on two hosts with 2 slots each",
            Load::Double,
            size(1000, 100),
            vec![
                procpool(both, &["--python", "int(x) * 2"]).named(ONE),
                parallel(tools, sshd, both, &line).share(4),
            ],
        ),
    ]
}

/// From 5 to 50 ms.
pub(crate) fn nap(number: u64) -> u64 {
    5_000 + random(number) % 45_000
}

/// Three hosts. The last one is the slow one.
const BALANCED: &str = "2/alpha,2/beta,2/gamma";

fn many() -> String {
    (1..=200).map(|nth| format!("8/a{nth}")).collect::<Vec<_>>().join(",")
}

/// Agents on this machine, without ssh.
fn locally(tools: &Tools, hosts: &str, options: &[&str]) -> Tool {
    over(tools, "env HOST={host}", hosts, options)
}

/// The row of many slots.
pub(crate) const WIDE: &str = "procpool, 16 slots";

fn over_ssh(tools: &Tools, sshd: &Sshd, hosts: &str, options: &[&str]) -> Tool {
    over(tools, &format!("{} {{host}}", sshd.ssh()), hosts, options)
}

fn over(tools: &Tools, launcher: &str, hosts: &str, options: &[&str]) -> Tool {
    let procpool = tools.binary().to_string_lossy().into_owned();
    let words = [&*procpool, "-S", hosts, "--launcher", launcher];
    plain(ONE, words.iter().chain(options).copied(), Input::Args, &Ok(String::new()))
}

fn parallel(tools: &Tools, sshd: &Sshd, hosts: &str, line: &str) -> Tool {
    let ssh = sshd.ssh();
    let words = ["parallel", "-k", "--ssh", &ssh, "-S", hosts, line];
    plain(&format!("parallel -k -S {hosts}"), words, Input::Args, tools.parallel_found())
}
