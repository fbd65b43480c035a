//! `--shell=bash` and `--shell=zsh`, for commands and for `--sh`: arguments stay data.

use crate::common::{Test, assert_has, need};

/// Arguments that a shell would make something else of, each with a number.
fn hostile(count: usize) -> Vec<Vec<u8>> {
    const PARTS: [&[u8]; 24] = [
        b"$(touch pwned)",
        b"`touch pwned`",
        b"'; touch pwned; '",
        b"\"; touch pwned; \"",
        b"a[$(touch pwned)]",
        b"$'\\n'",
        b"<(touch pwned)",
        b"{a,b}",
        b"!!",
        b"~",
        b"*",
        b"?(x)",
        b"-n",
        b"\\",
        b"'",
        b"\"",
        b"]] && touch pwned; [[ x",
        b")) ; touch pwned",
        b"\n#",
        b"=ls",
        b"\xff\xfe",
        b"${x:-$(touch pwned)}",
        b"*(e:touch pwned:)",
        b" \t",
    ];
    let part = |n: usize| PARTS[n % PARTS.len()];
    (0..count)
        .map(|n| [part(n), part(n / 24), part(n / 576), n.to_string().as_bytes()].concat())
        .collect()
}

/// Few shells get many arguments each, in all kinds of quotes.
#[track_caller]
fn stay_data(options: &[&str], text: &str, expected: impl Fn(&[u8]) -> Vec<u8>) {
    let args = hostile(20_000);
    let mut stdin = args.join(&0);
    stdin.push(0);
    let out: Vec<u8> =
        args.iter().flat_map(|arg| [expected(arg).as_slice(), b"\0"].concat()).collect();
    Test::new().args(options).args(["-0", "-n", "1000", text]).stdin(stdin).stdout(out).run();
}

#[test]
fn twenty_thousand_hostile_arguments_are_data_in_each_shell() {
    for shell in ["sh", "bash", "zsh"] {
        if !need(shell) {
            continue;
        }
        let option = format!("--shell={shell}");
        stay_data(&[&option], "printf '%s\\0' {}", <[u8]>::to_vec);
        if shell == "sh" {
            continue;
        }
        let text = "words=({}); for word in \"${words[@]}\"; do [[ $word == *x* || -n $word ]] && \
                    printf '%s\\0' \"$word\"; done < <(cat <<< x{})";
        stay_data(&[&option], text, <[u8]>::to_vec);
    }
}

#[test]
fn an_argument_is_data_in_all_quotes_of_bash_and_zsh() {
    let text =
        "[[ {} == \"{}\" && -n {} ]] && cat <(printf '%s|' {} \"{}\" '{}' $'\\t{}') <(cat <<< {})";
    for shell in ["bash", "zsh"] {
        if !need(shell) {
            continue;
        }
        for arg in
            ["$(touch pwned)'\"`x`", "a[$(touch pwned)]", "*(e:touch pwned:)", "]] ; x", "\\"]
        {
            Test::new()
                .args([&format!("--shell={shell}"), text, ":::", arg])
                .stdout(format!("{arg}|{arg}|{arg}|\t{arg}|{arg}\n"))
                .run();
        }
    }
}

#[test]
fn where_a_shell_evaluates_a_value_the_placeholder_is_refused() {
    for text in
        ["[[ {} -eq 1 ]]", "a[{}]=1", "declare {}", "test -v {}", "(( {} ))", "cat <<E\n{}\nE"]
    {
        let output =
            Test::new().args(["--shell=bash", text]).stdin("1\n").any_stderr().status(2).run();
        assert_has(&output.stderr, &["no placeholder is allowed", "assign it to a variable"]);
    }
    // Args that are appended, and sh, which may be bash.
    for args in [["--shell=bash", "read"], ["--shell", "unset {}"], ["--shell=zsh", "exit"]] {
        Test::new().args(args).stdin("1\n").stderr_has("the shell would run code").status(2).run();
    }
    let output = Test::new().args(["--shell=fish", "echo"]).any_stderr().status(2).run();
    assert_has(&output.stderr, &["fish -c", "bash and zsh"]);
}

#[test]
fn a_text_may_change_its_parameters() {
    let arg = "path[$(touch pwned)1].b";
    let changed = "path[$(touch pwned)1].b path[$(touch pwned)1]\n";
    let checked = "x={}; case $x in ''|*[!0-9]*) echo {} {.}; exit;; esac; echo $((x+1))";
    for (shell, text) in [
        ("zsh", "argv=(x); 1=y; for 1 in q; do echo {} {.}; done"),
        ("bash", "set -- x; f() { echo {} {.}; }; f y"),
        ("bash", checked),
        ("zsh", checked),
    ] {
        if need(shell) {
            let shell = format!("--shell={shell}");
            Test::new().args([&shell, text, ":::", arg]).stdout(changed).run();
        }
    }
}

#[test]
fn exported_functions_are_there_for_commands_and_for_sh() {
    if !need("bash") {
        return;
    }
    let function = "f() { [[ $1 == a* ]] && echo \"<$1>\"; }; export -f f; \"$@\"";
    let through = |args: &[&str]| {
        let script = format!("exec bash -c {} bash \"$@\"", shell_words::quote(function));
        Test::through_shell(&script).args(args).stdin("a b\nac\n").stdout("<a b>\n<ac>\n").run();
    };
    through(&["--shell=bash", "f {}"]);
    through(&["--shell=bash", "f"]);
    through(&["--sh", "f \"$1\"", "--shell=bash"]);
    Test::new()
        .args(["--shell=bash", "--sh", "[[ $1 == x ]] && cat <(echo \"$1 $BASH\")"])
        .stdin("x\n")
        .any_stdout()
        .run();
    if need("zsh") {
        Test::new()
            .args(["--shell=zsh", "--sh", "print -r -- ${(U)1}"])
            .stdin("a$(x)\nb\n")
            .stdout("A$(X)\nB\n")
            .run();
    }
}
