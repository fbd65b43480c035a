//! Options of xargs and GNU parallel that procpool does not have, and what to write instead.

use clap::Args;

/// Options of GNU parallel that are accepted, so that its command lines run.
#[derive(Debug, Args)]
pub struct AcceptedOptions {
    /// Show the progress on a terminal, as --progress line does; GNU parallel's name
    #[arg(hide_short_help = true, long)]
    pub bar: bool,

    /// Show the progress on a terminal, as --bar does
    #[arg(hide_short_help = true, long)]
    pub eta: bool,

    /// Do nothing, since procpool prints no notice; GNU parallel's name
    #[arg(hide_short_help = true, long, aliases = ["gnu", "group", "plus"])]
    pub no_notice: bool,
}

const LINES: &str = "-n N makes one job of N lines; a line is one arg";
const STDIN: &str =
    "--block SIZE --stdin feeds each command a block of lines, -n N --stdin N lines";
const PARTS: &str = "--block SIZE --stdin with -a FILE feeds each command a part of the file";
const COPY: &str =
    "--before 'rsync …' copies files to each host; results come back as the output of jobs";
const SSH: &str = "--launcher 'ssh -p 2222 {host}' says how a host is reached";
const REPLACE: &str = "-I STR chooses another placeholder";
const PROGRESS: &str = "--progress full shows each running job in a row";
const CITE: &str = "procpool prints no notice, so there is nothing to silence: leave it out";
const SEM: &str =
    "--semaphore NAME COMMAND runs COMMAND when fewer than -j N others of this NAME run";
const SQL: &str = "--journal FILE records jobs and results, and --resume continues; --serve and hosts (-S) share work";
const CPUS: &str = "-j takes a number, or 50%, +1 or -1 of the CPUs; nproc prints their number";

/// The options, and the advice for each.
const FOREIGN: &[(&[&str], &str)] = &[
    (&["-t", "--verbose", "-v"], "--dry-run prints the commands, --confirm asks before each"),
    (&["--interactive"], "write -p or --confirm"),
    (&["-L", "--max-lines", "-l"], LINES),
    (&["-N", "--max-replace-args"], "-n N makes one job of N lines"),
    (&["-s", "--max-chars", "-x", "--exit"], "-n max makes jobs as long as the system allows"),
    (&["-X", "-m", "--xargs"], "-n max makes one job of as many lines as a command can take"),
    (&["-i"], "{} is a placeholder without it, and -I STR chooses another one"),
    (&["-J", "-R"], "{} may be anywhere in the command, and -I STR chooses another placeholder"),
    (&["-U", "--rpl", "--parens", "--seqreplace", "--slotreplace"], REPLACE),
    (&["--er", "--extensionreplace", "--bnr", "--basenamereplace"], REPLACE),
    (&["--dnr", "--dirnamereplace", "--bner", "--basenameextensionreplace"], REPLACE),
    (&["-q", "--quote"], "an arg is never split, so nothing needs quotes"),
    (&["--shellquote", "--shell-quote"], "--dry-run prints the args in quotes"),
    (
        &["-E", "-e", "--eof"],
        "input is read to its end; sed '/^END$/,$d' | procpool … ends it at a line END",
    ),
    (&["--show-limits", "--max-line-length-allowed"], "--doctor prints the limits of the system"),
    (
        &["--process-slot-var"],
        "--env VAR={%} sets a variable to the number of the slot, and --env VAR={%0} counts from 0",
    ),
    (&["--csv"], "write --input csv"),
    (&["--regexp"], "--colsep takes a regular expression without it"),
    (&["--trim"], "an arg keeps its spaces; --colsep ' *, *' leaves out those around a separator"),
    (
        &["--skip-first-line"],
        "--header takes the names of columns from it; tail -n +2 leaves it out",
    ),
    (&["--filter"], "choose lines before procpool, with grep or awk"),
    (&["--template", "--tmpl"], "--shell 'sed … file > {}.conf' makes a file for each job"),
    (&["--pipe", "--spreadstdin", "--block-size"], STDIN),
    (&["--pipepart", "--pipe-part"], PARTS),
    (&["--rrs", "--remove-rec-sep", "--removerecsep", "--blocktimeout", "--block-timeout"], STDIN),
    (&["--bt", "--cat", "--fifo", "--tee"], STDIN),
    (
        &[
            "--round-robin",
            "--roundrobin",
            "--round",
            "--shard",
            "--bin",
            "--group-by",
            "--groupby",
        ],
        "--worker with --protocol raw deals lines to processes that stay alive, and --route KEY by a key",
    ),
    (
        &["-u", "--ungroup", "--line-buffer", "--lb", "--linebuffer"],
        "--live --stream prints lines as they come",
    ),
    (&["--no-keep-order", "--nokeeporder"], "--stream prints each result as its job finishes"),
    (&["--latest-line", "--ll", "--latestline"], PROGRESS),
    (
        &["--tmux", "--tmuxpane"],
        "--progress full shows each running job, and --tty gives a job the terminal",
    ),
    (&["--ctag"], "write --tag"),
    (&["--ctagstring", "--ctag-string"], "write --tag-string TEXT"),
    (&["--color-failed", "--cf", "--colour-failed"], "write --color always"),
    (
        &["--files", "--files0", "--output-as-files", "--outputasfiles"],
        "--results DIR keeps the output of each job in files",
    ),
    (
        &["--compress", "--compress-program", "--decompress-program"],
        "results that wait go to a temporary file as they are; --tmpdir DIR chooses its place",
    ),
    (&["--workdir", "--wd"], "write --cwd DIR"),
    (&["--load", "--limit"], "write --max-load N or --min-free-memory SIZE"),
    (&["--memfree"], "write --min-free-memory SIZE"),
    (
        &["--memsuspend", "--mem-suspend", "--noswap"],
        "procpool suspends no job; --min-free-memory SIZE starts none while less is free",
    ),
    (&["--halt-on-error"], "write --halt now,fail=1 or --fail-fast"),
    (&["--termseq", "--term-seq"], "a job that must end gets TERM, and KILL after --grace TIME"),
    (&["--resume-failed", "--retry-failed"], "--journal FILE --resume runs again what failed"),
    (&["--total-jobs", "--total"], "{total} is the number of jobs, which procpool counts"),
    (&["--sql", "--sqlmaster", "--sql-master", "--sqlworker", "--sql-worker"], SQL),
    (&["--sqlandworker", "--sql-and-worker"], SQL),
    (&["--will-cite", "--citation", "--bibtex", "--willcite"], CITE),
    (&["--sem", "--id"], SEM),
    (&["--bg"], "a command with --semaphore runs in the background, unless --fg is given"),
    (&["--sshloginfile", "--slf"], "-S @FILE reads the names of hosts from a file"),
    (&["--ssh", "--sshdelay", "--ssh-delay", "--controlmaster", "-M"], SSH),
    (&["--basefile", "--bf", "--transfer", "--transferfile", "--tf", "--return"], COPY),
    (&["--trc", "--cleanup", "--rsync-opts", "--rsyncopts"], COPY),
    (
        &[
            "--nonall",
            "--onall",
            "--hgrp",
            "--hostgroups",
            "--hostgroup",
            "--filter-hosts",
            "--filterhosts",
        ],
        "-S runs each job on one host; procpool ssh {} COMMAND ::: HOST … runs a command on each",
    ),
    (
        &["--record-env", "--recordenv", "--session"],
        "jobs inherit the environment; with --shell=bash they have the functions of export -f",
    ),
    (
        &["--shebang", "--hashbang", "--shebang-wrap", "--embed"],
        "write a script that calls procpool, and give it the lines with -a FILE or <<EOF",
    ),
    (&["--minversion", "--min-version"], "--version prints the version"),
    (
        &["--number-of-cores", "--number-of-cpus", "--number-of-sockets", "--number-of-threads"],
        CPUS,
    ),
    (&["--use-cores-instead-of-threads", "--use-cpus-instead-of-cores"], CPUS),
    (&["--use-sockets-instead-of-threads"], CPUS),
    (
        &["--silent", "--plain", "--shell-completion"],
        "it is not needed: leave it out (--generate bash prints completions)",
    ),
];

/// What to write instead of an option of another tool; `None`: no tool has it.
pub fn advice(option: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(names, _)| names.contains(&option)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::options::{definition, parse_words};
    use super::*;

    /// All options of GNU xargs, of BSD's and of busybox's.
    const XARGS: &str = "-0 --null -a --arg-file -d --delimiter -E -e --eof -I -i --replace -L --max-lines -l \
        -n --max-args -o --open-tty -P --max-procs -p --interactive --process-slot-var -r --no-run-if-empty -s \
        --max-chars --show-limits -t --verbose -x --exit --help --version -J -R -S";

    /// All options of GNU parallel 20221122, and some of later versions.
    const PARALLEL: &str = "--null -0 --arg-file -a --arg-file-sep --arg-sep --bar --basefile --bf \
        --basenamereplace --bnr --basenameextensionreplace --bner --bg --bibtex --bin --block --block-size \
        --block-timeout --bt --cat --citation --cleanup --color --color-failed --cf --colsep -C --compress \
        --compress-program --decompress-program --csv --ctag --ctagstring --delay --delimiter -d \
        --dirnamereplace --dnr --dry-run --dryrun --eof -E -e --embed --env --eta --extensionreplace --er --fg \
        --fifo --files --filter --filter-hosts --gnu --group --group-by --halt --halt-on-error --hashbang \
        --header --help -h --hgrp --hostgroups --id -I --interactive -p --jl --joblog --jobs -j --max-procs -P \
        --keep-order -k -L -l --latest-line --ll --lb --line-buffer --limit --link --load --max-args -n \
        --max-chars -s --max-line-length-allowed --max-lines --max-replace-args -N --memfree --memsuspend \
        --minversion --nice --no-keep-order --no-notice --no-run-if-empty -r --nonall --noswap \
        --number-of-cores --number-of-cpus --number-of-sockets --number-of-threads --onall --open-tty -o \
        --output-as-files --outputasfiles --parens --pipe --pipe-part --plain --plus --process-slot-var \
        --profile --progress --quote -q --rrs --recend --record-env --recstart --regexp --remove-rec-sep \
        --res --results --resume --resume-failed --retries --retry-failed --return --round-robin --rpl \
        --rsync-opts --semaphore --semaphore-name --semaphore-timeout --st --seqreplace --session --shard \
        --shebang --shebang-wrap --shell-completion --shell-quote --show-limits --shuf --silent \
        --skip-first-line --slf --slotreplace --spreadstdin --sql --sql-and-worker --sql-master --sql-worker \
        --sqlmaster --sqlworker --sqlandworker --ssh --ssh-delay --sshlogin -S --sshloginfile --tag --tagstring \
        --tee --template --term-seq --termseq --timeout --tmpdir --tmpl --tmux --tmuxpane --total --total-jobs \
        --transfer --transferfile --tf --trc --trim --tty --ungroup -u --use-cores-instead-of-threads \
        --use-cpus-instead-of-cores --use-sockets-instead-of-threads --verbose -v --version -V --wait --wd \
        --will-cite --workdir --xapply --xargs -X -m -x -t -i -M -U -J --controlmaster --exit";

    /// Whether procpool has the option, under this or another name.
    fn is_known(option: &str) -> bool {
        definition().get_arguments().any(|arg| {
            let longs = arg.get_long_and_visible_aliases().unwrap_or_default();
            let hidden = arg.get_all_aliases().unwrap_or_default();
            let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
            let is_long = |long: &str| longs.contains(&long) || hidden.contains(&long);
            option.strip_prefix("--").is_some_and(is_long)
                || shorts.iter().any(|short| option == format!("-{short}"))
        })
    }

    #[test]
    fn each_option_of_xargs_and_gnu_parallel_is_known_or_explained() {
        for option in XARGS.split_whitespace().chain(PARALLEL.split_whitespace()) {
            let words: Vec<OsString> =
                ["procpool", option, "1", "true"].map(OsString::from).to_vec();
            let message = match parse_words(&words) {
                Ok(_) => String::new(),
                Err(exit) => format!("{exit:?}"),
            };
            let is_explained = advice(option).is_some_and(|advice| message.contains(advice));
            assert!(is_known(option) || is_explained, "{option}: {message}");
            assert!(!message.contains("UnknownArgument"), "{option}: {message}");
        }
    }
}
