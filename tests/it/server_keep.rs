//! `--keep`: calls that are alike share one server in the background, which holds nothing of its callers and ends
//! by itself.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Crew, Test, assert_has, find_program, need, wait_for};

/// Calls that share a folder for their servers.
struct Keeper {
    crew: Crew,
}

impl Keeper {
    fn new() -> Self {
        let crew = Crew::new();
        fs::create_dir(crew.path("run")).expect("a folder");
        Self { crew }
    }

    /// A call whose workers are kept for this long.
    fn call(&self, time: &str) -> Test {
        Test::new().env("XDG_RUNTIME_DIR", self.crew.path("run")).args(["--keep", time])
    }

    /// A call that prints the process id of its worker.
    fn pid(&self) -> Test {
        self.call("2m").args(["--format", "value", "-j1"])
    }

    fn files(&self, end: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.crew.path("run/procpool")).into_iter().flatten().flatten();
        let files = files.map(|entry| entry.path());
        files.filter(|path| path.to_string_lossy().ends_with(end)).collect()
    }

    /// Whether a process is a server of this folder.
    fn is_server(&self, pid: Pid) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let begin = format!("--serve\0{}", self.crew.path("run/procpool"));
        String::from_utf8_lossy(&line).contains(&begin)
    }

    /// Stops the server that is not `other`, as soon as it is there.
    fn stop_server(&self, other: Option<Pid>) -> Pid {
        let mut found = None;
        wait_for("a server", || {
            let processes = fs::read_dir("/proc").expect("/proc").flatten();
            found = processes
                .filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?))
                .find(|&pid| Some(pid) != other && self.is_server(pid));
            found.is_some_and(|pid| kill_process(pid, Signal::STOP).is_ok())
        });
        found.expect("it was found")
    }

    fn sockets(&self) -> usize {
        self.files(".sock").len()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for socket in self.files(".sock") {
            let status = Test::new().arg("--status").arg(&socket).any_stdout().any_stderr();
            let output = status.any_status().run();
            let status = serde_json::from_slice::<serde_json::Value>(&output.stdout);
            let pid = status.ok().and_then(|status| status["pid"].as_i64());
            let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

fn first(test: Test) -> String {
    let output = test.args(["pid", ":::", "1"]).any_stdout().run();
    output.lines()[0].to_owned()
}

#[test]
fn calls_that_are_alike_share_a_worker() {
    let keeper = Keeper::new();
    let worker = keeper.crew.worker("");
    let pid = first(keeper.pid().args(["-w", &worker]));
    for _ in 0..3 {
        assert_eq!(first(keeper.pid().args(["-w", &worker])), pid);
    }
    // Options that are not about workers change nothing.
    assert_eq!(first(keeper.pid().args(["-w", &worker, "--retries", "1", "--stream"])), pid);
    assert_eq!((keeper.crew.logged("start").len(), keeper.sockets()), (1, 1));
}

#[test]
fn whatever_makes_workers_differ_makes_another_server() {
    let keeper = Keeper::new();
    let script = keeper.crew.file("w.sh", "while read -r l; do echo '{\"result\":'$$'}'; done\n");
    let worker = format!("sh {script}");
    let call = || keeper.pid().args(["-w", &worker]);
    let mut seen = vec![first(call())];
    let mut differs = |pid: String| {
        assert!(!seen.contains(&pid), "{pid} of {seen:?}");
        seen.push(pid);
    };
    differs(first(call().env("OF_NOTE", "1")));
    differs(first(call().cwd(keeper.crew.path(""))));
    differs(first(call().arg("--max-reqs=100")));
    differs(first(keeper.pid().args(["-w", &format!("{worker} x")])));
    let copy = keeper.crew.open_copy();
    let copied = Test::through_shell(&format!("shift; exec '{copy}' \"$@\""));
    let copied = copied.env("XDG_RUNTIME_DIR", keeper.crew.path("run"));
    differs(first(copied.args(["--keep", "2m", "--format", "value", "-j1", "-w", &worker])));
    // Whatever the file is called, and however it is named.
    let changed =
        |text: &str, test: &dyn Fn() -> Test, path: &str, differs: &mut dyn FnMut(String)| {
            fs::write(path, text).expect("ours");
            differs(first(test()));
        };
    let loops = [
        "while read -r line; do echo '{\"result\":'$$'}'; done\n",
        "while read -r l; do echo '{\"result\":'$$'}';done\n",
    ];
    changed(loops[0], &call, &script, &mut differs);
    let plain = keeper.crew.file("plain", loops[1]);
    let inner = format!("sh -c 'exec sh {plain}'");
    let call = || keeper.pid().args(["-w", &inner]);
    differs(first(call()));
    changed(loops[0], &call, &plain, &mut differs);
    let names = keeper.crew.file("names.sh", format!(". {}\n", keeper.crew.path("lib.sh")));
    let lib = keeper.crew.file("lib.sh", loops[0]);
    let by_name = format!("sh {names}");
    let call = || keeper.pid().args(["-w", &by_name]);
    differs(first(call()));
    changed(loops[1], &call, &lib, &mut differs);
    let masked = Test::through_shell("umask 027; exec \"$@\"");
    let masked = masked.env("XDG_RUNTIME_DIR", keeper.crew.path("run"));
    differs(first(masked.args(["--keep", "2m", "--format", "value", "-j1", "-w", &by_name])));
    let again = first(call().env("TERM", "other").env("SHLVL", "9"));
    assert_eq!(again, seen[seen.len() - 2]);
}

#[test]
fn two_first_calls_start_one_server() {
    let keeper = Keeper::new();
    let worker = keeper.crew.worker("");
    let calls: Vec<_> = (0..4)
        .map(|_| keeper.pid().args(["-w", &worker, "pid", ":::", "1"]).any_stdout().spawn())
        .collect();
    let pids: Vec<Vec<u8>> = calls.into_iter().map(|call| call.finish().stdout).collect();
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    assert_eq!((keeper.crew.logged("start").len(), keeper.sockets()), (1, 1));
}

/// A caller that is killed leaves a server that is starting. The next caller starts another one, which finds that
/// the first one listens by then.
#[test]
fn the_server_of_a_caller_that_was_killed_serves_the_next() {
    let keeper = Keeper::new();
    let worker = keeper.crew.worker("");
    let call = || keeper.pid().args(["-w", &worker, "pid", ":::", "1"]).any_stdout();
    let killed = call().any_stderr().any_status().spawn();
    let early = keeper.stop_server(None);
    if keeper.sockets() > 0 {
        // It listens already.
        let _ = kill_process(early, Signal::CONT);
        return;
    }
    killed.kill();
    wait_for("the end of its caller", || killed.has_ended());
    let next = call().spawn();
    let late = keeper.stop_server(Some(early));
    let _ = kill_process(early, Signal::CONT);
    // If the other one was quicker, it ends.
    wait_for("a server listens", || keeper.sockets() == 1 || !keeper.is_server(early));
    let _ = kill_process(late, Signal::CONT);
    next.finish();
    killed.finish();
}

#[test]
fn a_server_without_callers_ends() {
    let keeper = Keeper::new();
    let worker = keeper.crew.worker("");
    first(keeper.call("0.2s").args(["--format", "value", "-w", &worker]));
    // Whoever asks for the status is no caller.
    wait_for("the end of the server", || {
        for socket in keeper.files(".sock") {
            let status = Test::new().arg("--status").arg(socket);
            status.any_stdout().any_stderr().any_status().run();
        }
        keeper.sockets() == 0 && keeper.crew.left().is_empty() && keeper.files(".log").is_empty()
    });
    first(keeper.call("0.2s").args(["--format", "value", "-w", &worker]));
    assert_eq!(keeper.crew.logged("start").len(), 2);
}

/// The caller of a shell waits for whoever holds its pipes or its locks.
#[test]
fn a_server_holds_nothing_of_its_caller() {
    let keeper = Keeper::new();
    let worker = keeper.crew.worker("");
    let lock = keeper.crew.path("lock");
    let script = format!("exec 9>'{lock}'; flock 9; \"$@\" 8>&1");
    let call = Test::through_shell(&script).env("XDG_RUNTIME_DIR", keeper.crew.path("run"));
    let call = call.args(["--keep", "2m", "--format", "value", "-w", &worker]);
    // The test waits for the end of stdout and stderr.
    first(call);
    let free = fs::File::open(&lock).expect("a file");
    rustix::fs::flock(&free, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("free");
    let status = Test::new().arg("--status").arg(&keeper.files(".sock")[0]).any_stdout().run();
    let pid = status.records()[0]["pid"].to_string();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split_whitespace().collect();
    assert_eq!((fields[2], fields[3], fields[4]), (&*pid, &*pid, "0"), "group, session, terminal");
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let keeper = Keeper::new();
    keeper
        .call("1s")
        .args(["-w", "nosuchprogram"])
        .stderr_has("no program 'nosuchprogram'")
        .status(127)
        .run();
    keeper.call("1s").args(["cat"]).stderr_has("--keep").status(2).run();
    keeper
        .call("1s")
        .args(["-w", "cat", "-S", "alpha"])
        .stderr_has("--keep is for")
        .status(2)
        .run();
    if need("python3") {
        let call = keeper.call("1s").args(["--python", "f(x"]).stdin("1\n");
        let output = call.stderr_has("'(' was never closed").status(2).run();
        assert_has(&output.stderr, &["Python can't run this code"]);
    }
    assert_eq!(keeper.sockets(), 0);
}

#[test]
fn the_folder_of_servers_is_the_users_alone() {
    use std::os::unix::fs::PermissionsExt;
    let keeper = Keeper::new();
    let folder = keeper.crew.path("run/procpool");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let worker = keeper.crew.worker("");
    let call = keeper.pid().args(["-w", &worker]).stdin("echo [1]\n");
    call.stderr_has("others may write to the folder").status(125).run();
    fs::remove_dir_all(&folder).expect("it is ours");
    std::os::unix::fs::symlink(keeper.crew.path(""), &folder).expect("a link");
    let call = keeper.pid().args(["-w", &worker]).stdin("echo [1]\n");
    call.stderr_has("is no folder of yours").status(125).run();
    fs::remove_file(&folder).expect("it is ours");
    // A folder of another user, as sudo leaves it, and one whose name leaves no room for that of a socket.
    let long = keeper.crew.path(&"x".repeat(90));
    let mut elsewhere = vec![long];
    if rustix::process::geteuid().is_root() {
        elsewhere.push(keeper.crew.path("theirs"));
    }
    for path in elsewhere {
        fs::create_dir(&path).expect("a folder");
        let _ = std::os::unix::fs::chown(&path, Some(12_345), None);
        let call =
            Test::new().env("XDG_RUNTIME_DIR", &path).args(["--keep", "0.1s", "-w", &worker]);
        first(call.args(["--format", "value"]));
        assert!(fs::read_dir(&path).expect("a folder").next().is_none(), "{path}");
    }
    first(keeper.pid().args(["-w", &worker]));
    let mode = |path: &str| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&keeper.files(".log")[0].to_string_lossy()), 0o600);
}

/// The session has ended, and its folder is gone.
#[test]
fn a_server_whose_socket_is_gone_ends() {
    if !crate::common::heavy() {
        return;
    }
    let keeper = Keeper::new();
    let worker = keeper.crew.worker("");
    first(keeper.call("10m").args(["--format", "value", "-w", &worker]));
    // The next caller waits for the end of the server that nobody can find.
    fs::remove_file(&keeper.files(".sock")[0]).expect("it is ours");
    first(keeper.call("10m").args(["--format", "value", "-w", &worker]));
    wait_for("the end of the first server", || keeper.crew.left().len() == 1);
    fs::remove_dir_all(keeper.crew.path("run/procpool")).expect("it is ours");
    wait_for("the end of the server", || keeper.crew.left().is_empty());
}

/// The git hook in `examples/hooks`: black and eslint are loaded once.
#[test]
fn a_hook_keeps_a_formatter_and_a_linter() {
    if !(crate::common::heavy() && ["git", "black", "node", "eslint"].into_iter().all(need)) {
        return;
    }
    let keeper = Keeper::new();
    let repository = keeper.crew.path("repository");
    let black = find_program("black").expect("it is there");
    let eslint = find_program("eslint").expect("it is there");
    let modules = eslint.ancestors().nth(2).expect("node_modules/.bin/eslint").to_owned();
    let path = format!(
        "{}:{}",
        black.parent().expect("a folder").display(),
        std::env::var("PATH").expect("a PATH")
    );
    let git = |script: &str| {
        let test = Test::through_shell(&format!("PROCPOOL=$1; export PROCPOOL; {script}"));
        test.env("XDG_RUNTIME_DIR", keeper.crew.path("run"))
            .env("PATH", &path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .any_stdout()
            .any_stderr()
    };
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hooks");
    let make = format!(
        "git init -q {repository} && cd {repository} && git config user.email a@b.c && git config user.name a && \
         mkdir hooks && cp {hooks}/*worker* hooks && cp {hooks}/pre-commit .git/hooks && \
         ln -s {} node_modules && echo 'export default [{{rules: {{\"no-unused-vars\": 2}}}}]' > eslint.config.mjs",
        modules.display()
    );
    git(&make).run();
    for name in ["one", "two"] {
        let commit = format!(
            "echo 'x = 1' > {name}.py && echo 'export const x = 1' > {name}.js && git add {name}.* && git commit -qm {name}"
        );
        git(&commit).cwd(&repository).run();
        assert_eq!(keeper.sockets(), 2);
    }
    let commit =
        "echo 'x=1' > no.py && echo 'const x = 1' > no.js && git add no.* && git commit -qm no";
    let output = git(commit).cwd(&repository).status(1).run();
    assert_has(&output.stderr, &["black would change it", "assigned a value but never used"]);
    assert_eq!(keeper.sockets(), 2);
}
