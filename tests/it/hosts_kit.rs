//! Hosts for tests: folders of their own on this machine, reached by a launcher or by a real sshd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::common::{Output, Test, find_program, free_port, need, wait_for};

/// Machines that are folders: each has its own home folder, and nothing of this environment.
pub(crate) struct Machines {
    folder: TempDir,
}

impl Machines {
    /// Machines on which procpool is installed.
    pub(crate) fn new() -> Self {
        let machines = Self::bare();
        fs::create_dir(machines.path("bin")).expect("a folder");
        let installed = machines.path("bin/procpool");
        symlink(env!("CARGO_BIN_EXE_procpool"), installed).expect("a link");
        machines.login("");
        machines
    }

    /// Machines on which procpool is not installed.
    pub(crate) fn bare() -> Self {
        let machines = Self { folder: TempDir::new().expect("a folder") };
        machines.login("");
        // Before its program a host may do what the file `login` says.
        machines.script(
            "host",
            "h=$1; shift; mkdir -p \"$0.home/$h\"; cd \"$0.home/$h\"; echo $$ >>\"$0.pids\"
             PATH=${0%/host}/bin:$PATH HOST=$h HOME=$PWD; export PATH HOME HOST; unset XDG_CACHE_HOME
             test ! -e \"$0.login\" || . \"$0.login\"; exec \"$@\"",
        );
        machines
    }

    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        path.to_str().expect("the path is UTF-8").to_owned()
    }

    /// Makes a shell script.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("there is room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        path
    }

    /// Has each login do something first.
    pub(crate) fn login(&self, text: &str) {
        let is_bare = !Path::new(&self.path("bin")).exists();
        let path = if is_bare { "PATH=/usr/bin:/bin\n" } else { "" };
        fs::write(self.path("host.login"), format!("{path}{text}")).expect("there is room");
    }

    /// The home folder of a host.
    pub(crate) fn home(&self, host: &str) -> String {
        self.path(&format!("host.home/{host}"))
    }

    pub(crate) fn launcher(&self) -> String {
        format!("{} {{host}}", self.path("host"))
    }

    /// A run on these hosts.
    pub(crate) fn test(&self, hosts: &str) -> Test {
        Test::new().args(["-S", hosts, "--launcher", &self.launcher()])
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        fs::read_to_string(self.path("host.pids")).unwrap_or_default().lines().count()
    }
}

/// An sshd with its own keys and a port that was free.
pub(crate) struct Sshd {
    folder: String,
    address: String,
    port: u16,
    /// Ends it when this is dropped, or when this process is gone.
    guard: Child,
}

impl Sshd {
    /// The one that all tests share. `None`: there is no sshd here.
    pub(crate) fn get() -> Option<&'static Self> {
        static SSHD: OnceLock<Option<Sshd>> = OnceLock::new();
        SSHD.get_or_init(|| Self::start_at("127.0.0.1", &[])).as_ref()
    }

    /// Starts it at this address, by a program that starts others.
    pub(crate) fn start_at(address: &str, by: &[&str]) -> Option<Self> {
        if !need("ssh") || !need("ssh-keygen") {
            return None;
        }
        let sshd = find_program("sshd").or_else(|| Some("/usr/sbin/sshd".into()));
        let Some(sshd) = sshd.filter(|path| path.is_file()) else {
            need("sshd");
            return None;
        };
        // It wants a folder of this name, and has none in a container.
        let _ = fs::create_dir_all("/run/sshd");
        let folder = TempDir::new().expect("a folder").keep();
        let folder = folder.to_str().expect("UTF-8").to_owned();
        let at = |name: &str| format!("{folder}/{name}");
        for key in ["host", "user", "other"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)])
                .status();
            assert!(made.is_ok_and(|status| status.success()), "a key can be made");
        }
        let port = free_port();
        let public = |key: &str| fs::read_to_string(at(&format!("{key}.pub"))).expect("a key");
        write(&at("known"), &format!("tested {}", public("host")));
        write(&at("wrong"), &format!("tested {}", public("other")));
        write(&at("authorized"), &public("user"));
        write(
            &at("sshd.conf"),
            &format!(
                "Port {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile {}\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 MaxStartups 20\nSetEnv PATH={}:/usr/bin:/bin HOME={}\n",
                at("host"),
                at("authorized"),
                at("sshd.pid"),
                at("bin"),
                at("home"),
            ),
        );
        fs::create_dir(at("bin")).expect("a folder");
        fs::create_dir(at("home")).expect("a folder");
        symlink(env!("CARGO_BIN_EXE_procpool"), at("bin/procpool")).expect("a link");
        // A session whose link is cut would live on.
        let end =
            "p=$(cat \"$1/sshd.pid\"); kill $p $(cat /proc/$p/task/$p/children); rm -rf \"$1\"";
        let guard = watch_over(end, &folder);
        let mut words = by.iter().map(std::ffi::OsString::from).collect::<Vec<_>>();
        words.push(sshd.into());
        let started = Command::new(&words[0])
            .args(&words[1..])
            .args(["-f", &at("sshd.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(started.is_ok_and(|status| status.success()), "sshd starts");
        let sshd = Self { folder, address: address.to_owned(), port, guard };
        wait_for("sshd to listen", || {
            std::net::TcpStream::connect((&*sshd.address, sshd.port)).is_ok()
        });
        Some(sshd)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// A launcher with these settings besides, for hosts that are all this machine.
    pub(crate) fn launcher(&self, known: &str, key: &str) -> String {
        let config = self.path(&format!("ssh-{known}-{key}.conf"));
        write(
            &config,
            &format!(
                "Host *\n HostName {}\n Port {}\n HostKeyAlias tested\n IdentityFile {}\n\
                 IdentitiesOnly yes\n UserKnownHostsFile {}\n StrictHostKeyChecking yes\n",
                self.address,
                self.port,
                self.path(key),
                self.path(known)
            ),
        );
        format!("ssh -F {config} -T -o BatchMode=yes {{host}}")
    }

    /// A run on hosts that this sshd serves.
    pub(crate) fn test(&self, hosts: &str) -> Test {
        Test::new().args(["-S", hosts, "--launcher", &self.launcher("known", "user")])
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.guard.stdin = None;
        let _ = self.guard.wait();
    }
}

/// Starts a shell that runs this code with this argument when this process is gone, or has dropped the
/// child's stdin: what tests share is never dropped.
pub(crate) fn watch_over(code: &str, argument: &str) -> Child {
    let code = format!("trap '' INT TERM HUP; read -r line; {code}");
    Command::new("sh")
        .args(["-c", &code, "sh", argument])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn write(path: &str, text: &str) {
    fs::write(Path::new(path), text).expect("there is room");
}

/// Runs both, and asserts that they print the same and end the same way.
#[track_caller]
pub(crate) fn assert_same(local: Test, remote: Test) {
    let run = |test: Test| {
        // How long a job took is no part of the comparison.
        let Output { stdout, stderr, .. } =
            test.any_stdout().any_stderr().any_status().patience(60).run();
        (without_pids(&String::from_utf8_lossy(&stdout)), messages(&stderr))
    };
    let (local, remote) = (run(local), run(remote));
    assert_eq!(remote.1, local.1);
    let first = local.0.lines().zip(remote.0.lines()).find(|(local, remote)| local != remote);
    let lens = (local.0.len(), remote.0.len());
    assert!(remote.0 == local.0, "here and there differ: {lens:?} {first:?}");
}

/// A text in which all numbers of processes are equal.
fn without_pids(text: &str) -> String {
    let mut parts = text.split("(pid ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{text}(pid N{rest}")
    })
}

/// Messages in which all numbers of processes are equal, and all times, and without the advice how to run
/// failed jobs again: that has the command line.
fn messages(text: &str) -> String {
    let text = without_pids(text);
    let lines = text.lines().map(|line| line.split("; again: ").next().unwrap_or_default());
    let words = lines.flat_map(|line| line.split_inclusive(' ').chain(["\n"]));
    let is_time = |word: &str| word.trim_end().parse::<f64>().is_ok() && word.contains('.');
    words.map(|word| if is_time(word) { "N " } else { word }).collect()
}
