//! procpool, its peers, and the command line with which each runs the jobs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::jobs::{Input, Output};
use crate::measure::command;

/// The names of the rows that the others are compared with.
pub(crate) const ONE: &str = "procpool";
pub(crate) const AUTO: &str = "procpool --pipeline auto";

/// A tool, as it runs in one scenario.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) argv: Vec<OsString>,
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Results come in the order of the jobs.
    pub(crate) is_ordered: bool,
    /// Its workers write to the same pipe. Results that are longer than the pipe takes at once get mixed.
    pub(crate) is_mixing: bool,
    /// It gets only one in `share` jobs, since it is slow. The time per job is compared.
    pub(crate) share: u64,
    /// Why it can't be run.
    pub(crate) missing: Option<String>,
}

impl Tool {
    /// Gives it only one in `share` jobs.
    pub(crate) fn share(self, share: u64) -> Self {
        Self { share, ..self }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }
}

/// Something that must be installed: its version, or why it is missing.
pub(crate) type Found = Result<String, String>;

/// What there is to be measured.
pub(crate) struct Tools {
    procpool: PathBuf,
    /// All that procpool says of its options.
    help: String,
    examples: PathBuf,
    source: PathBuf,
    python: PathBuf,
    split: Found,
    xargs: Found,
    parallel: Found,
    has_python: Found,
    piscina: Found,
    mce: Found,
    parallel_gem: Found,
}

impl Tools {
    /// Builds procpool and the workers, and looks for the peers.
    pub(crate) fn find(procpool: Option<&Path>) -> Result<Self, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        // This is target/release/deps/peers-….
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let release = this.ancestors().nth(2).ok_or("this program lies in no target folder")?;
        let target = release.parent().ok_or("this program lies in no target folder")?;
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--bin=procpool"])
            .args(["--example=double", "--example=bench_worker", "--example=echo", "--target-dir"])
            .arg(target)
            .arg("--manifest-path")
            .arg(source.join("Cargo.toml"))
            .stdin(Stdio::null())
            .status()
            .map_err(|error| format!("cargo can't be run: {error}"))?;
        if !built.success() {
            return Err("procpool could not be built".into());
        }
        let procpool = procpool.map_or_else(|| target.join("release/procpool"), Path::to_owned);
        let help = said(command(&procpool).arg("--help"))?;
        let peers = source.join("benches/peers");
        let python = said(command("python3").args(["-c", "import sys; print(sys.executable)"]));
        let ruby = "puts %(Ruby's parallel #{Parallel::VERSION}, Ruby #{RUBY_VERSION})";
        let perl = "print \"MCE $MCE::VERSION, Perl $^V\"";
        Ok(Self {
            help,
            procpool,
            examples: target.join("release/examples"),
            split: said(command("split").args(["-n", "r/2", "--filter=cat", "/dev/null"]))
                .and_then(|_| said(command("split").arg("--version"))),
            xargs: said(command("xargs").args(["-0", "-P2", "-n1", "true"])).map(|_| {
                said(command("xargs").arg("--version")).unwrap_or_else(|_| "xargs".into())
            }),
            parallel: said(command("parallel").arg("--version")).and_then(|version| {
                let is_gnu = version.starts_with("GNU");
                is_gnu.then_some(version).ok_or_else(|| "it is not GNU parallel".into())
            }),
            has_python: said(command("python3").arg("--version"))
                .and_then(|version| python.clone().map(|_| version)),
            python: python.unwrap_or_default().into(),
            piscina: said(command("node").arg(peers.join("piscina.mjs")).arg("--version"))
                .and_then(|piscina| {
                    let node = said(command("node").arg("--version"))?;
                    Ok(format!("piscina {piscina}, Node.js {node}"))
                })
                .map_err(|why| {
                    format!("{why}; npm install piscina somewhere, and set PISCINA to that folder")
                }),
            mce: said(command("perl").args(["-MMCE", "-e", perl])),
            parallel_gem: said(command("ruby").args(["-rparallel", "-e", ruby])),
            source: source.to_owned(),
        })
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.procpool
    }

    pub(crate) fn python(&self) -> &Path {
        &self.python
    }

    pub(crate) fn parallel_found(&self) -> &Found {
        &self.parallel
    }

    /// What was found and what was not, a line each.
    pub(crate) fn versions(&self) -> String {
        let peers = [
            ("split", &self.split),
            ("xargs", &self.xargs),
            ("parallel", &self.parallel),
            ("Python", &self.has_python),
            ("piscina", &self.piscina),
            ("MCE", &self.mce),
            ("Ruby's parallel", &self.parallel_gem),
        ];
        let own = said(command(&self.procpool).arg("--version"));
        let mut lines = vec![own.unwrap_or_else(|why| format!("procpool: {why}"))];
        lines.extend(peers.map(|(name, found)| match found {
            Ok(version) => version.clone(),
            Err(why) => format!("{name} is missing: {why}"),
        }));
        lines.join("\n")
    }

    /// A worker's command line.
    pub(crate) fn example(&self, name: &str, flags: &str) -> String {
        let path = self.examples.join(name);
        format!("{} {flags}", shell_words::quote(&path.to_string_lossy())).trim_end().to_owned()
    }

    /// `examples/double.py` as a worker.
    pub(crate) fn python_worker(&self) -> String {
        let path = self.source.join("examples/double.py");
        shell_words::join([self.python.to_string_lossy(), path.to_string_lossy()])
    }

    /// procpool with a worker, one request in flight. It has two slots, unless `options` begin with
    /// another number.
    pub(crate) fn procpool(&self, worker: &str, options: &str) -> Tool {
        let slots = if options.starts_with("-j") { "" } else { "-j2" };
        let options = format!("{slots} {options}");
        let argv = ["--worker", worker].map(OsString::from).into_iter();
        let words = options.split_whitespace();
        let unknown = words.clone().find(|word| {
            word.starts_with("--") && !self.help.contains(word.split('=').next().unwrap_or(word))
        });
        Tool {
            name: ONE.into(),
            argv: [self.procpool.clone().into_os_string()]
                .into_iter()
                .chain(argv)
                .chain(words.map(OsString::from))
                .collect(),
            input: Input::Jobs,
            output: Output::Record,
            is_ordered: !options.contains("--stream"),
            is_mixing: false,
            share: 1,
            missing: unknown.map(|option| format!("this procpool knows no {option}")),
        }
    }

    /// procpool with `--pipeline auto`.
    pub(crate) fn auto(&self, worker: &str, options: &str) -> Tool {
        self.procpool(worker, &format!("{options} --pipeline=auto")).named(AUTO)
    }

    /// The worker itself, with requests from a file.
    pub(crate) fn by_hand(&self, worker: &str) -> Tool {
        let argv = shell_words::split(worker).unwrap_or_default();
        let tool = plain("the worker by hand", argv, Input::Requests, &Ok(String::new()));
        Tool { output: Output::Reply, ..tool }
    }

    /// Lines dealt out in turn to two workers, and no more: the limit of the pipes.
    pub(crate) fn split(&self, worker: &str) -> Tool {
        let argv = ["split", "-n", "r/2", &format!("--filter={worker}"), "-"];
        Tool {
            output: Output::Reply,
            is_ordered: false,
            is_mixing: true,
            ..plain("split -n r/2 --filter", argv, Input::Requests, &self.split)
        }
    }

    /// A filter that prints each line again: procpool, and the limit of the pipes.
    pub(crate) fn raw(&self) -> Vec<Tool> {
        let echo = self.example("echo", "");
        let procpool = self.procpool.to_string_lossy();
        let options = ["-j2", "--protocol=raw", "--pipeline=auto", "--worker"];
        let argv = [&*procpool].into_iter().chain(options).chain([&*echo]);
        let split = Tool { output: Output::Value, ..self.split(&echo) };
        vec![
            plain(AUTO, argv, Input::Args, &Ok(String::new())),
            Tool { input: Input::Args, ..split },
        ]
    }

    /// A process for each job.
    pub(crate) fn xargs(&self) -> Tool {
        let worker = self.examples.join("bench_worker");
        let argv = ["xargs", "-0", "-P2", "-n1", &worker.to_string_lossy(), "--once"];
        Tool {
            output: Output::Reply,
            is_ordered: false,
            ..plain("xargs -P2 -n1", argv, Input::NulRequests, &self.xargs)
        }
    }

    /// The command `true` for each line of the input: procpool and those that do the same.
    pub(crate) fn commands(&self) -> Vec<Tool> {
        let procpool = self.procpool.to_string_lossy();
        let procpool = [ONE, &procpool, "-j2", "true"];
        let xargs = ["xargs -P2 -n1 true", "xargs", "-P2", "-n1", "true"];
        let parallel = ["parallel -k -j2 true", "parallel", "-k", "-j2", "true"];
        let tool = |words: &[&str], found: &Found| Tool {
            output: Output::Nothing,
            ..plain(words[0], words[1..].iter().copied(), Input::Args, found)
        };
        vec![
            tool(&procpool, &Ok(String::new())),
            tool(&xargs, &self.xargs),
            tool(&parallel, &self.parallel).share(20),
        ]
    }

    /// An expression in Python for each line.
    pub(crate) fn code(&self) -> Tool {
        self.code_in(ONE, ["--python", "int(x) * 2"], &self.has_python)
    }

    /// The same in another language.
    pub(crate) fn code_in(&self, name: &str, code: [&str; 2], found: &Found) -> Tool {
        let procpool = self.procpool.to_string_lossy();
        let argv = [&*procpool, "-j2"].into_iter().chain(code);
        plain(name, argv, Input::Args, found)
    }

    /// Expressions in the other languages, each with a pool of its own language.
    pub(crate) fn code_in_others(&self) -> Vec<Tool> {
        let program = |name: &str| said(command(name).arg("--version"));
        let code = |option: &str, program: &Found, code: &str| {
            self.code_in(&format!("{ONE} {option}"), [option, code], program)
        };
        vec![
            code("--node", &program("node"), "x * 2"),
            self.piscina().share(10),
            code("--perl", &program("perl"), "$_ * 2"),
            self.mce(100),
            code("--ruby", &program("ruby"), "x.to_i * 2"),
            self.parallel_gem(1).share(10),
            self.parallel_gem(100),
        ]
    }

    /// The same with an interpreter for each line.
    pub(crate) fn xargs_python(&self) -> Tool {
        let python = self.python.to_string_lossy();
        let code = "import sys; print(int(sys.argv[1]) * 2)";
        let argv = ["xargs", "-n1", &python, "-c", code];
        let found = self.xargs.as_ref().and(self.has_python.as_ref());
        let found = found.cloned().map_err(Clone::clone);
        plain("xargs -n1 python3 -c", argv, Input::Args, &found)
    }

    /// A process for each job, in order.
    pub(crate) fn parallel(&self) -> Tool {
        let worker = self.example("bench_worker", "--once");
        let argv = ["parallel", "-k", "-j2", &worker];
        let tool = plain("parallel -k -j2", argv, Input::Requests, &self.parallel);
        Tool { output: Output::Reply, ..tool }
    }

    /// Blocks of lines dealt out to two workers.
    pub(crate) fn parallel_pipe(&self, worker: &str) -> Tool {
        let argv = ["parallel", "--pipe", "--round-robin", "-j2", worker];
        Tool {
            output: Output::Reply,
            is_ordered: false,
            ..plain("parallel --pipe --round-robin -j2", argv, Input::Requests, &self.parallel)
        }
    }

    pub(crate) fn imap(&self, chunk: u32) -> Tool {
        let name = format!("Python imap, chunksize {chunk}");
        self.program(&name, &self.python, "imap.py", chunk, &self.has_python)
    }

    pub(crate) fn futures(&self, chunk: u32) -> Tool {
        let name = format!("Python concurrent.futures, chunksize {chunk}");
        self.program(&name, &self.python, "futures.py", chunk, &self.has_python)
    }

    pub(crate) fn mce(&self, chunk: u32) -> Tool {
        self.program(
            &format!("Perl MCE, chunk {chunk}"),
            "perl".as_ref(),
            "mce.pl",
            chunk,
            &self.mce,
        )
    }

    fn parallel_gem(&self, chunk: u32) -> Tool {
        let name = format!("Ruby parallel, chunk {chunk}");
        self.program(&name, "ruby".as_ref(), "parallel.rb", chunk, &self.parallel_gem)
    }

    pub(crate) fn piscina(&self) -> Tool {
        self.program("piscina", "node".as_ref(), "piscina.mjs", 1, &self.piscina)
    }

    fn program(
        &self,
        name: &str,
        interpreter: &Path,
        file: &str,
        chunk: u32,
        found: &Found,
    ) -> Tool {
        let path = self.source.join("benches/peers").join(file);
        let argv =
            [interpreter.as_os_str().into(), path.into_os_string(), chunk.to_string().into()];
        plain(name, argv, Input::Jobs, found)
    }
}

/// A tool that prints bare results in order, unless more is said of it.
pub(crate) fn plain<W: Into<OsString>>(
    name: &str,
    argv: impl IntoIterator<Item = W>,
    input: Input,
    found: &Found,
) -> Tool {
    Tool {
        name: name.into(),
        argv: argv.into_iter().map(Into::into).collect(),
        input,
        output: Output::Value,
        is_ordered: true,
        is_mixing: false,
        share: 1,
        missing: found.clone().err(),
    }
}

/// All that a command prints if it is `--help`, or else the first line; or why it did not.
fn said(command: &mut Command) -> Found {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program} can't be run ({error})"))?;
    let is_help = command.get_args().any(|arg| arg == "--help");
    let (out, err) = (output.stdout, output.stderr);
    let text = String::from_utf8_lossy(if output.status.success() { &out } else { &err });
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    // Node.js says first where something is wrong, and then what.
    let error = lines().find(|line| line.starts_with("Error:"));
    let first = error.or_else(|| lines().next()).unwrap_or_default();
    match output.status.success() {
        true if is_help => Ok(text.into_owned()),
        true => Ok(first.to_owned()),
        false => Err(format!("{program} failed: {first}")),
    }
}
