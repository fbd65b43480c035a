//! The options of the heading Queue: jobs that wait on a NATS server.

use std::time::Duration;

use clap::Args;

use super::values;

#[derive(Debug, Args)]
pub struct QueueOptions {
    /// Submit each line of the input as a job to a queue: nats://HOST:PORT/NAME
    ///
    /// No job runs here, and no results are printed. The queue is a stream of NATS JetStream. procpool makes
    /// it if it does not exist. A job that the same run (--run) has submitted before is not submitted again. For
    /// a cluster, put commas between the servers: nats://A:4222,B:4222/NAME. tls:// in place of nats:// refuses
    /// a server without TLS. Credentials come from the environment: NATS_CREDS (a file), NATS_NKEY (a file),
    /// NATS_TOKEN, or NATS_USER and NATS_PASSWORD. NATS_CA, NATS_CERT and NATS_KEY are files for TLS.
    #[arg(long, value_name = "URL", conflicts_with_all = ["from", "via", "dead"])]
    pub to: Option<String>,

    /// Run the jobs of a queue here, with a worker, code or a COMMAND, on as many machines as you like
    ///
    /// The worker, code or COMMAND decides how a line is read: as x, as a job line, or as an argument. procpool
    /// runs until a signal ends it or, with --drain, until the queue is empty. After TERM, jobs that have not
    /// begun go back to the queue at once.
    #[arg(long, value_name = "URL", conflicts_with_all = ["via", "dead"])]
    pub from: Option<String>,

    /// Submit jobs to a queue and print their results, as if they had run here
    ///
    /// Other machines run the jobs, with --from. Results are printed in input order, each once. If a --via with
    /// --run or --journal is killed, run the same command again (with --resume for a journal): it continues, and
    /// prints the whole output. You can also give the COMMAND, worker or code of --from. It does not run here,
    /// but then blank lines and lines that begin with # are jobs too, and -n, --input and ::: can be used.
    #[arg(long, value_name = "URL", conflicts_with = "dead")]
    pub via: Option<String>,

    /// Print the failed jobs of a queue, each as one line of JSON
    #[arg(long, value_name = "URL")]
    pub dead: Option<String>,

    /// Name the run, so that you can repeat it: no job is submitted twice
    ///
    /// A job is recognized by the name of the run, its place in the input, and its content. Without --run, all
    /// submissions with --to belong to one run, default, and each --via is a new run.
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,

    /// End when the queue is empty
    #[arg(long, requires = "from")]
    pub drain: bool,

    /// Keep at most N jobs in the queue; a submitter waits for room
    ///
    /// With a suffix K, M or G, N is the number of bytes that the server stores. The limit is set when the queue
    /// is made, and can't be changed here later. It is 1000000 jobs by default.
    #[arg(long, value_name = "N|SIZE", value_parser = values::queue_limit)]
    pub queue_limit: Option<String>,

    /// Give the jobs of a machine to others when it has been silent for TIME
    ///
    /// While a job runs, its machine reports to the server more often than that, so a job may take longer than
    /// TIME. TIME is set when the first machine uses the queue, and can't be changed here later. It is 30s by
    /// default.
    #[arg(long, value_name = "TIME", value_parser = procpool::engine::parse_duration, requires = "from")]
    pub ack_wait: Option<Duration>,

    /// Keep each message on N servers of a cluster
    ///
    /// With 3, the queue survives the loss of a server. N is set when the queue is made, and can't be changed
    /// here later. It is 1 by default.
    #[arg(long, value_name = "N", value_parser = values::replicas)]
    pub replicas: Option<u8>,

    /// Give up when the queue can't be reached for TIME
    ///
    /// Until then, procpool tries again. Jobs that are in the queue stay there.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = procpool::engine::parse_duration)]
    pub queue_timeout: Duration,
}

/// The role of a run at a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueRole {
    /// It submits jobs.
    To,
    /// It runs jobs.
    From,
    /// It submits jobs and prints their results.
    Via,
}

impl QueueOptions {
    /// The role of the run, and the address of the queue. `None`: it uses no queue.
    pub fn role(&self) -> Option<(QueueRole, &str)> {
        let roles =
            [(QueueRole::To, &self.to), (QueueRole::From, &self.from), (QueueRole::Via, &self.via)];
        roles.into_iter().find_map(|(role, url)| Some((role, url.as_deref()?)))
    }

    /// Whether the jobs run on other machines.
    pub fn submits(&self) -> bool {
        self.to.is_some() || self.via.is_some()
    }
}
