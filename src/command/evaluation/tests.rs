use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::command::args::Args;
use crate::command::dialect::Dialect;
use crate::command::operands::{data, is_known, is_special};
use crate::command::{Shell, Template, TemplateSettings, quote};

const SHELLS: [&str; 2] = ["bash", "zsh"];

fn template(shell: &str, text: &str) -> Option<Template> {
    let shell = Shell::named(shell.as_ref());
    let settings = TemplateSettings { shell, ..TemplateSettings::default() };
    Template::new(&[OsString::from(text)], &settings).ok()
}

fn is_refused(shell: &str, text: &str) -> bool {
    template(shell, text).is_none()
}

/// What a shell prints for a script; `None`: it is not installed.
fn output(shell: &str, script: &[u8], folder: &std::path::Path) -> Option<String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), script).expect("it can be written");
    let mut command = Command::new(shell);
    if shell == "zsh" {
        command.arg("-f");
    }
    let Ok(output) = command.arg(file.path()).current_dir(folder).output() else {
        eprintln!("skipped: {shell} is not installed");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Texts whose value bash and zsh would evaluate.
const EVALUATED: &[&str] = &[
    "[[ {} -eq 1 ]]",
    "[[ 1 -lt 2 && x == {} ]]",
    "[[ x == y && {} -eq 1 ]]",
    "[[ ( x == y ) || ( {} -eq 1 ) ]]",
    "[[ x\n&& {} -eq 1 ]]",
    "[[ x == \"]]\" || 1 -eq {} ]]",
    "[[ {} != \"]]\" && {} -eq 1 ]]",
    "[[ $(echo {}) -eq 1 ]]",
    "if [[ 0 -ne {} ]]; then :; fi",
    "[[ -v {} ]]",
    "test -v {}",
    "[ -v {} ]",
    "[ -v a[{}] ]",
    "[ {1} {2} ]",
    "[ \"$op\" {} ]",
    "printf -v {} x",
    "printf -v{} x",
    "printf {} x",
    "a[{}]=1",
    "a=([{}]=x)",
    "a=([x{}]=x)",
    "declare {}",
    "declare -i x={}",
    "declare -a x={}",
    "x=(); declare x={}",
    "declare -i x; x={}",
    "declare -i x; for x in {}; do :; done",
    "for x in {}; do :; done; declare -i x",
    "declare -i x; read x <<< {}",
    "declare -n r={}",
    "f() { local -n r={}; }",
    "typeset -gi x={}",
    "x=1 local {}=1",
    "command declare {}",
    "builtin 'declare' {}",
    "\\declare {}",
    "read {} < f",
    "unset {}",
    "let {}",
    "echo \"$(let {})\"",
    "x=$(y) declare \"$(z)\" {}",
    "eval {}",
    "trap {} EXIT",
    "(( {} ))",
    "echo $(( {} ))",
    "echo ${a[{}]}",
    "cat <<E\n{}\nE",
    // Words before the command.
    ">/dev/null read {}",
    "< one read {}",
    "2>&1 unset {}",
    ">| f read {}",
    "read &>/dev/null {}",
    "&> f read {}",
    "function f { read {} <<<1; }; f",
    "time -p read {}",
    "command -p read {}",
    "builtin -- read {}",
    "exec -a x read {}",
    "coproc N { read {}; }",
    "$x read {}",
    "r=read; $r {}",
    "for r in read unset; do \"$r\" {}; done",
    "{read,x} {}",
    "echo a # b\nread {}",
    "echo a; read {}",
    // Parentheses in the middle.
    "read <(x) {}",
    "declare x=(y) {}",
    "unset @(a|b) {}",
    "case x in (a) read {};; esac",
    "case x in a) read {};; esac",
    "SECONDS={}",
    "PS4={}",
    "BASH_ENV={} env",
    // Args that are appended.
    "read",
    "echo x; unset",
    "test",
];

/// Texts whose value zsh would evaluate.
const EVALUATED_BY_ZSH: &[&str] = &[
    "echo *(e{})",
    "echo *(e:{}:)",
    "echo \"$a[{}]\"",
    "echo $a[{}]",
    "float x={}",
    "vared {}",
    "nocorrect read {}",
    "- read {}",
    ">! f read {}",
    "set -A {} 1 2",
    "getln {}",
    "exit {}",
    "repeat {} echo",
    "[[ -t {} ]]",
    "[ -t {} ]",
    "if [[ x ]] read {}",
    "if [[ x ]] { read {} }",
    "for x (a b) read {}",
    "read =(x) {}",
    "printf %d {}",
    "printf '%*s' {} x",
    "print {}",
    "print -f %d -- {}",
    "(( x = 1 )); x={}",
    "(( x++ )); x={}",
    "HISTSIZE={}",
    "exit",
];

#[test]
fn where_a_value_would_be_evaluated() {
    for text in EVALUATED {
        for shell in ["sh", "bash", "zsh"] {
            assert!(is_refused(shell, text), "{shell}: {text}");
        }
    }
    assert!(is_refused("bash", "compgen -W {}") && is_refused("sh", "complete -C {} x"));
    for text in EVALUATED_BY_ZSH {
        assert!(is_refused("zsh", text), "{text}");
    }
}

/// Texts whose value is data.
const DATA: &[&str] = &[
    "[[ -n {} ]]",
    "[[ {} == *.png ]] && echo {}",
    "[[ x =~ {} ]]",
    "[[ -f {} && {} -nt x ]]",
    "[[ {} == --help ]]",
    "[ {} -eq 1 ]",
    "[ -n {} -a {} = x ]",
    "[ x{} ]; [ {} ]; test {} = {}",
    "[ -t 1 ] && echo {}",
    "printf '%s\\n' {}",
    "printf -- '%s' {}",
    "printf -v x %s {}",
    "declare x={}",
    "f() { local x={} y; echo \"$x\" {}; }; f",
    "export x={} y={}",
    "x={}; case $x in ''|*[!0-9]*) exit 2;; esac; echo $((x+1)); (( x == 2 && y <= x ))",
    "a=({} {}); a+=({})",
    "echo let {}",
    "echo declare; echo {}",
    "if [[ 1 -eq 2 ]]; then echo {}; fi",
    "[[ 1 -eq 2 ]] || echo {}",
    "declare -i x=1; echo {}",
    "declare -i x=1; y={}",
    "diff <(sort {}) <(sort {1})",
    "while read -r x; do echo \"$x\" {}; done < {}",
    "read x <<< {}; echo \"$x\"",
    "echo {} &> /dev/null; echo {} 2>&1 | cat >&2",
    "cat <<< {}",
    "echo \"[{}]\" '[{}]' [{}]",
    "for x in {}; do echo $x; done",
    "for ((i=0; i<3; i++)) do echo {}; done",
    "f() { echo {}; }; f",
    "function f { echo {}; }; f",
    "case {} in a) echo {};; (b) echo {};; esac",
    "x={} y={} echo {}",
    "IFS=, read -r x y <<< {}",
    "set -- {} x; echo \"$2\"",
    "time -p env {}",
    "command -v {}; command -p ls {}; exec env {}",
    "$SUDO cp {} x; \"$CC\" -c {}",
    "./x {}; ~/bin/x {}; $HOME/x {}",
    "! grep -q {} x && { echo {}; }",
    "(cd {} && echo {}) | tee {}.log",
    "if true; then echo {}; elif false; then echo {}; else echo {}; fi",
    "kill -9 {}; umask {}; ulimit -v {}",
    "rm -- {}; mv {} {.}",
    "{} {}",
];

#[test]
fn where_it_is_data() {
    for text in DATA {
        for shell in SHELLS {
            assert!(!is_refused(shell, text), "{shell}: {text}");
        }
    }
    assert!(!is_refused("bash", "shopt -s extglob; echo @({}|x)"));
    assert!(!is_refused("bash", "exit {}") && !is_refused("sh", "exit {}"));
    for text in [
        "print -rl -- {}",
        "repeat 3; do echo {}; done",
        "for x (a {}) echo {}",
        "echo =(cat {}) {}",
    ] {
        assert!(!is_refused("zsh", text), "{text}");
    }
}

#[test]
fn each_builtin_and_each_special_variable_is_known() {
    let folder = std::env::temp_dir();
    let modules = "for m in $^module_path/zsh/**/*.so(N:t:r); do zmodload zsh/$m; done 2> /dev/null\n\
                   print -l ${(k)builtins} ${(k)reswords}";
    for (shell, dialect, words, variables) in [
        ("bash", Dialect::Bash, "compgen -b; compgen -k", "declare -ip"),
        ("zsh", Dialect::Zsh, modules, "typeset -i; typeset -F; typeset -E"),
    ] {
        let Some(words) = output(shell, words.as_bytes(), &folder) else { continue };
        assert!(words.lines().count() > 50, "{words}");
        for word in words.lines().filter(|line| !line.contains(' ')) {
            assert!(is_known(word.as_bytes(), dialect), "{shell}: {word}");
        }
        for line in output(shell, variables.as_bytes(), &folder).unwrap_or_default().lines() {
            let name = line.split('=').next().and_then(|name| name.split(' ').next_back());
            let name = name.unwrap_or_default().trim_matches('\'');
            let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
            assert!(!is_name || is_special(name.as_bytes(), dialect), "{shell}: {name}");
        }
    }
}

/// Commands that are builtins of zsh only with a module.
const PROGRAMS: [&str; 22] = [
    "chgrp", "chmod", "chown", "ln", "mkdir", "mv", "rm", "rmdir", "sync", "stat", "cap", "clone",
    "example", "log", "zf_chgrp", "zf_chmod", "zf_chown", "zf_ln", "zf_mkdir", "zf_mv", "zf_rm",
    "zf_sync",
];

/// Values that run the code `echo ID >> pwned` wherever a shell evaluates them.
fn hostile(id: usize) -> [String; 5] {
    let code = format!("$(echo {id} >> pwned)");
    [
        format!("a[{code}]"),
        format!("path[{code}1]=1"),
        format!("-va[{code}]"),
        format!("([{code}]=1)"),
        format!("x;{code}`echo {id} >> pwned`"),
    ]
}

/// The commands of templates that are not refused, for all hostile values, alone and after `-v`.
fn commands(shell: &str, texts: &BTreeSet<String>) -> Vec<u8> {
    let mut script = b"f() { :; }\n".to_vec();
    for (id, text) in texts.iter().enumerate() {
        let Some(template) = template(shell, text) else { continue };
        // The second command would not run after one of these.
        let ends = ["exit", "exec", "logout", "return"].iter().any(|word| text.contains(word));
        script.extend_from_slice(b"(\n");
        for value in hostile(id) {
            let pair = vec!["-v", &value];
            for words in [vec![value.as_str()], pair] {
                let words = words.into_iter().map(|word| word.as_bytes().into()).collect();
                let args = Args { words, ..Args::default() };
                let command = template.fill(&args, 1, 1).expect("a command");
                let [_, _, code, _, parameters @ ..] = command.argv.as_slice() else { continue };
                script.extend_from_slice(if ends { b"( set --" } else { b"{ set --" });
                for parameter in parameters {
                    script.extend([b" ".to_vec(), quote(parameter.as_bytes())].concat());
                }
                script.extend([b"; eval ".to_vec(), quote(code.as_bytes())].concat());
                script.extend_from_slice(if ends { b"; )\n" } else { b"; }\n" });
            }
        }
        script.extend_from_slice(b") < /dev/null > /dev/null 2>&1\n");
    }
    script
}

#[test]
fn no_template_that_is_allowed_runs_a_hostile_value() {
    let patterns = [
        "W {}",
        "W x {}",
        "W -x -- {}",
        "W {} = x",
        "> out W '%s' {}",
        "[[ x ]] && v={} W x={} \"-{}\" <<< {}",
    ];
    let around = [
        "time W {} < <(W {})",
        "case x in (x) W {};; esac",
        "function g { W {}; }; g",
        "command -p W {}; builtin W {}",
        "echo x # y\nW {}",
        "if [[ x ]]; then W $(W {}); fi",
    ];
    let texts = [
        "[[ {} == {} && -n {} && {} =~ {} || -e {} ]]",
        "[ {} -eq 1 ]; [ {} = {} -o -n {} ]",
        "a=({} {}); a+=({}); b=$a; for c in {}; do :; done; c={}",
        "case {} in {}) : ;; *) : {};; esac",
        "echo \"{}\" '{}' $'\\t{}' x{}y ~{} ={} {1}.{1} >&1",
        "set -- {}; argv=(x); 1=x; echo {}; shift; echo {}",
        "printf -v x '%s %q' {} {}; printf '%s' \"$x\"",
        "{} {} x",
    ];
    for (shell, dialect) in [("bash", Dialect::Bash), ("zsh", Dialect::Zsh)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut words: BTreeSet<&str> = data(dialect).collect();
        words.extend(
            "[ test [[ printf print export declare local readonly set read unset let eval f env"
                .split(' '),
        );
        let mut all: BTreeSet<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        // The others are programs, unless a module is loaded.
        for word in words.iter().filter(|word| !PROGRAMS.contains(&&***word)) {
            all.extend(patterns.iter().map(|pattern| pattern.replace('W', word)));
        }
        for word in ["read", "unset", "declare", ":", "printf"] {
            all.extend(around.iter().map(|pattern| pattern.replace('W', word)));
        }
        if output(shell, &commands(shell, &all), folder.path()).is_none() {
            continue;
        }
        let ran = std::fs::read(folder.path().join("pwned")).unwrap_or_default();
        let ran = String::from_utf8_lossy(&ran);
        let ran: BTreeSet<usize> = ran.lines().filter_map(|id| id.parse().ok()).collect();
        let ran: Vec<&String> = ran.iter().filter_map(|id| all.iter().nth(*id)).collect();
        assert!(ran.is_empty(), "{shell}: {ran:#?}");
    }
}
