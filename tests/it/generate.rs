//! `--generate`: the completions, in the shells themselves.

use std::fs;
use std::process::Command;

use crate::common::{Test, find_program, need};
use rexpect::session::{PtySession, spawn_command};
use tempfile::TempDir;

/// What is typed, and the command line with all completions in place of the last word. `…`: more words follow.
const LINES: [(&str, &str); 22] = [
    ("--ha", "--halt"),
    ("--halt no", "--halt now,done=100 now,fail=1 now,fail=10% now,success=1"),
    ("--retry-on err", "--retry-on error"),
    ("--protocol json", "--protocol jsonl jsonrpc"),
    ("--protocol=r", "--protocol=raw"),
    ("--input j", "--input json"),
    ("--generate ", "--generate bash fish man powershell zsh"),
    ("--example-worker p", "--example-worker perl python"),
    ("--framing u", "--framing u16 u32 u32le"),
    ("-n m", "-n max"),
    ("-a ./only-this-fi", "-a ./only-this-file"),
    ("--cwd ./only", "--cwd ./only-this-folder"),
    // A command after options, and after their values.
    ("only-this-prog", "only-this-program"),
    ("-j2 only-this-prog", "-j2 only-this-program"),
    ("-j 2 only-this-prog", "-j 2 only-this-program"),
    ("-kj 2 only-this-prog", "-kj 2 only-this-program"),
    ("--timeout 10s --tag only-this-prog", "--timeout 10s --tag only-this-program"),
    ("-- only-this-prog", "-- only-this-program"),
    // procpool's own options are none of COMMAND.
    ("only-this-program --hal", "only-this-program --hal"),
    ("only-this-program ::: ./only-this-fi", "only-this-program ::: ./only-this-file"),
    // The function of a worker is not known.
    ("-w cat only-this-prog", "-w cat only-this-prog"),
    ("--python x --forma", "--python x --format"),
];

/// A folder with a file, a folder and a program in the `PATH`, and the completions for a shell.
fn folder(shell: &str, name: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("bin")).expect("there is room");
    fs::write(path("bin/only-this-program"), "#!/bin/sh\n").expect("there is room");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path("bin/only-this-program"), mode).expect("it is ours");
    fs::create_dir(path("only-this-folder")).expect("there is room");
    fs::write(path("only-this-file"), "").expect("there is room");
    let script = Test::new().args(["--generate", shell]).any_stdout().run().stdout;
    fs::write(path(name), script).expect("there is room");
    folder
}

/// An interactive shell in the folder. `procpool` is a function that prints its arguments.
fn interactive(folder: &TempDir, args: &[&str], setup: &str) -> PtySession {
    let mut command = Command::new(args[0]);
    let path = std::env::var("PATH").expect("a PATH");
    command
        .args(&args[1..])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", folder.path().join("bin").display()))
        .env("HOME", folder.path())
        .env("TERM", "dumb")
        .env_remove("BASH_ENV")
        .env_remove("ENV");
    let mut shell = spawn_command(command, Some(30_000)).expect("a shell in a terminal");
    // TERM does not end a shell at a terminal, and would be waited for.
    shell.process_mut().set_kill_timeout(Some(0));
    shell.send_line(setup).expect("it reads");
    shell
        .send_line("procpool() { printf '<%s>\\n' \"$*\"; }; PS1='ready'; echo is-set-\"up\"")
        .expect("it reads");
    shell.exp_string("is-set-up").expect("the set-up ends");
    shell.exp_string("ready").expect("a prompt");
    shell
}

/// Types each line, and the key that puts all completions in place of the last word.
fn completes(mut shell: PtySession, key: &str) {
    for (typed, expected) in LINES {
        shell.send(&format!("procpool {typed}{key}")).expect("it reads");
        shell.flush().expect("it reads");
        shell.send_line("").expect("it reads");
        let (_, line) = shell.exp_regex("<[^>\r\n]*>").unwrap_or_else(|e| panic!("{typed:?}: {e}"));
        let line = line.replace("folder/", "folder");
        assert_eq!(line.trim_matches(['<', '>']).trim_end(), expected, "{typed:?}");
        shell.exp_string("ready").expect("a prompt");
    }
}

#[test]
fn completions_in_bash() {
    if need("bash") {
        let folder = folder("bash", "procpool.bash");
        let args = ["bash", "--norc", "--noprofile", "-i"];
        let setup = "bind 'set enable-bracketed-paste off'; . ./procpool.bash";
        completes(interactive(&folder, &args, setup), "\x1b*");
    }
}

/// bash-completion completes the arguments of COMMAND.
#[test]
fn completions_in_bash_go_on_with_those_of_the_command() {
    const COMMON: &str = "/usr/share/bash-completion/bash_completion";
    if !need("bash") || !crate::common::is_there(COMMON, "bash-completion") {
        return;
    }
    let folder = folder("bash", "procpool.bash");
    let args = ["bash", "--norc", "--noprofile", "-i"];
    let setup = format!(
        "bind 'set enable-bracketed-paste off'; . {COMMON}; . ./procpool.bash; \
         complete -W '--their-own other' only-this-program"
    );
    let mut shell = interactive(&folder, &args, &setup);
    for (typed, expected) in [
        ("-j2 only-this-program --the", "-j2 only-this-program --their-own"),
        ("--halt=now,fail=1 only-this-program o", "--halt=now,fail=1 only-this-program other"),
    ] {
        shell.send_line(&format!("procpool {typed}\x1b*")).expect("it reads");
        shell.exp_string(&format!("<{expected}>")).unwrap_or_else(|e| panic!("{typed:?}: {e}"));
    }
}

#[test]
fn completions_in_zsh() {
    if need("zsh") {
        let folder = folder("zsh", "_procpool");
        let setup = "unset zle_bracketed_paste; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; \
            zle -C all-matches complete-word _generic; bindkey '^Xa' all-matches; \
            zstyle ':completion:all-matches:*' insert true; \
            zstyle ':completion:all-matches:*' completer _all_matches _complete";
        completes(interactive(&folder, &["zsh", "-f", "-i"], setup), "\x18a");
    }
}

#[test]
fn completions_in_fish() {
    if !need("fish") {
        return;
    }
    let folder = folder("fish", "procpool.fish");
    let path = std::env::var("PATH").expect("a PATH");
    for (typed, expected) in LINES {
        let mut words: Vec<&str> = expected.split(' ').collect();
        let start = typed.split(' ').count() - 1;
        let expected: Vec<&str> = words.drain(start..).collect();
        let output = Command::new("fish")
            .args([
                "--no-config",
                "-c",
                "source procpool.fish; complete -C \"procpool $argv[1]\"",
                "--",
                typed,
            ])
            .current_dir(folder.path())
            .env("PATH", format!("{}:{path}", folder.path().join("bin").display()))
            .env("HOME", folder.path())
            .output()
            .expect("it runs");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let words: Vec<&str> = printed
            .lines()
            .map(|line| line.split('\t').next().unwrap_or(line).trim_end_matches('/'))
            .collect();
        // Where nothing can be completed, the shells above leave what was typed.
        let is_typed = expected.len() == 1 && typed.ends_with(expected[0]);
        assert_eq!(words, if is_typed { Vec::new() } else { expected }, "{typed:?}");
    }
}

#[test]
fn completions_in_powershell() {
    // It is in no registry that CI reaches, so it may be missing even there.
    if find_program("pwsh").is_none() {
        return println!("skipped: pwsh is not installed");
    }
    let folder = folder("powershell", "procpool.ps1");
    for (typed, expected) in [
        ("--ha", "--halt"),
        ("--protocol json", "jsonl jsonrpc"),
        ("--protocol=r", "--protocol=raw"),
    ] {
        let script = format!(
            ". ./procpool.ps1; $line = 'procpool {typed}'; \
             ([System.Management.Automation.CommandCompletion]::CompleteInput($line, $line.Length, $null)\
             .CompletionMatches | ForEach-Object CompletionText) -join ' '"
        );
        let output = Command::new("pwsh")
            .args(["-NoProfile", "-Command", &script])
            .current_dir(folder.path())
            .output()
            .expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), expected, "{typed:?}");
    }
}

/// A script that cannot be written is no success.
#[test]
fn a_full_disk_is_said() {
    Test::through_shell("exec \"$@\" --generate man > /dev/full")
        .stderr("procpool: stdout can't be written: No space left on device (os error 28)\n")
        .status(125)
        .run();
    Test::through_shell("exec \"$@\" --generate man >&-")
        .stderr("procpool: stdout is closed: let it go to a file\n")
        .status(125)
        .run();
}
