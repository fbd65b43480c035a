//! The options of the heading Queue: jobs that wait on a server of NATS.

use std::time::Duration;

use clap::Args;

use super::values;

#[derive(Debug, Args)]
pub struct QueueOptions {
    /// Submit each line of the input as a job to a queue: nats://HOST:PORT/NAME
    ///
    /// Nothing is run here. The queue is a stream of NATS JetStream, which is made if it is not there. A line
    /// counts when the server has stored it. A line that the same run (--run) has submitted before is not
    /// submitted again. Several servers of a cluster have commas between them: nats://A:4222,B:4222/NAME.
    /// tls:// demands a secure connection. Credentials come from the environment: NATS_CREDS (a file),
    /// NATS_NKEY (a file), NATS_TOKEN, or NATS_USER and NATS_PASSWORD; NATS_CA, NATS_CERT and NATS_KEY are
    /// files for TLS.
    #[arg(long, value_name = "URL", conflicts_with_all = ["from", "via", "dead"])]
    pub to: Option<String>,

    /// Run the jobs of a queue here, with a worker, code or a COMMAND, on as many machines as you like
    ///
    /// procpool takes as many jobs as it has room for, publishes each result, and then acknowledges the job.
    /// What runs here decides what a line means. It goes on until a signal ends it, or with --drain.
    /// After TERM, jobs that have not begun go back to the queue at once.
    #[arg(long, value_name = "URL", conflicts_with_all = ["via", "dead"])]
    pub from: Option<String>,

    /// Submit jobs to a queue and print their results, as if they had run here
    ///
    /// Results come in the order of the input, each once. Other machines run the jobs, with --from. Killed and
    /// started again with the same --run or --journal, it goes on and prints the whole output. To say what a
    /// line is, give the COMMAND, worker or code as well: nothing of it is run here.
    #[arg(long, value_name = "URL", conflicts_with = "dead")]
    pub via: Option<String>,

    /// Print the failed jobs of a queue, as a line of JSON each
    #[arg(long, value_name = "URL")]
    pub dead: Option<String>,

    /// Name the run, so that it can be repeated: what it has submitted is not submitted again
    ///
    /// A job is recognized by its place in the input and its content. Without a name, all submissions to a
    /// queue that print no results are one run, and each run of --via is a new one.
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,

    /// End when the queue is empty
    #[arg(long, requires = "from")]
    pub drain: bool,

    /// Submit no more than N jobs ahead of the machines that run them
    ///
    /// With a suffix K, M or G it is a number of bytes that the server stores. It is a property of the
    /// queue, which gets it when it is made: 1000000 jobs by default.
    #[arg(long, value_name = "N|SIZE", value_parser = values::queue_limit)]
    pub queue_limit: Option<String>,

    /// Give the jobs of a machine to others when it has been silent for TIME
    ///
    /// It is a property of the queue, which gets it when the first machine works: 30s by default. A machine
    /// says more often than that that its jobs run, so a job may take longer.
    #[arg(long, value_name = "TIME", value_parser = procpool::engine::parse_duration, requires = "from")]
    pub ack_wait: Option<Duration>,

    /// Keep each message on N servers of a cluster
    ///
    /// It is a property of the queue, which gets it when it is made: 1 by default. With 3, the queue survives
    /// the loss of a server.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: Option<u8>,

    /// Give up a queue that can't be reached for TIME
    ///
    /// Until then procpool tries again. Jobs that are in the queue stay there.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = procpool::engine::parse_duration)]
    pub queue_timeout: Duration,
}

/// What a run has to do with a queue.
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
    /// What the run has to do with a queue, and the address of the queue. `None`: nothing.
    pub fn role(&self) -> Option<(QueueRole, &str)> {
        let roles =
            [(QueueRole::To, &self.to), (QueueRole::From, &self.from), (QueueRole::Via, &self.via)];
        roles.into_iter().find_map(|(role, url)| Some((role, url.as_deref()?)))
    }

    /// Whether jobs are run elsewhere.
    pub fn submits(&self) -> bool {
        self.to.is_some() || self.via.is_some()
    }
}
