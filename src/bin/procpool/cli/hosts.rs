//! The options of the heading Hosts: the machines that run jobs, and how they are reached.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub struct HostOptions {
    /// The words of this command line, for other procpools. The first one is the name of the program.
    #[arg(skip)]
    pub words: Vec<OsString>,

    /// Run the jobs on these machines: 2/alpha,user@beta,:
    ///
    /// LIST has names of hosts as ssh knows them, with commas between them. 8/alpha is the host alpha
    /// with 8 slots. Without a number, a host has -j slots or, without -j, as many as it has CPUs. : is
    /// this machine. @FILE reads the names from a file, one on each line. procpool makes one connection
    /// to each host. If a host has no procpool of this version, procpool copies itself there, into the cache
    /// folder of the user. It copies no other files: use a folder that all machines share, or --before.
    #[arg(
        short = 'S',
        long,
        visible_alias = "sshlogin",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub hosts: Vec<String>,

    /// Reach each host with CMDLINE instead of ssh; {host} is its name
    ///
    /// The command line is split into words as a shell splits it, but no shell is run. procpool adds a
    /// program and its arguments. The launcher runs that program on the host, and connects its stdin and
    /// stdout to procpool: 'docker exec -i {host}', 'kubectl exec -i {host} --', 'ssh -p 2222 {host}'.
    #[arg(hide_short_help = true, long, value_name = "CMDLINE")]
    pub launcher: Option<String>,

    /// Run CMDLINE here before a host gets its first job: rsync -a img/ {host}:img/
    ///
    /// CMDLINE runs once for each host except this machine. {host} is the name of the host. The command line
    /// is split into words as a shell splits it, but no shell is run. Its output goes to stderr. If it fails,
    /// it runs again a little later. After three failures, the host gets no jobs.
    #[arg(hide_short_help = true, long, value_name = "CMDLINE")]
    pub before: Option<String>,

    /// Run the jobs on the nodes of the Slurm allocation that procpool runs in
    ///
    /// Each node has a slot for each CPU of the allocation, or -j slots. One srun step per node runs all
    /// of its jobs.
    #[arg(hide_short_help = true, long, conflicts_with_all = ["hosts", "launcher"])]
    pub slurm: bool,

    /// Count a host as lost when procpool has heard nothing from it for TIME
    ///
    /// The running jobs of a lost host go to other hosts, at most three times each. If the connection to a host
    /// ends, the host is lost at once. procpool tries to connect to a lost host again. If a host hears nothing
    /// from procpool for TIME, its jobs end.
    #[arg(hide_short_help = true, long, value_name = "TIME", default_value = "15s", value_parser = procpool::engine::parse_duration)]
    pub host_timeout: Duration,

    /// Let a job fail (kind lost) if its host is lost and may have run it; do not run it again
    #[arg(hide_short_help = true, long)]
    pub no_rerun: bool,
}

impl HostOptions {
    /// Whether jobs run on other machines.
    pub fn are_given(&self) -> bool {
        self.slurm || !self.hosts.is_empty()
    }
}
