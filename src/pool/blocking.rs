//! [`Blocking`]: the calls of a pool for threads that run no futures.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::Failure;
use crate::pool::handle::Pool;
use crate::util::block_on::block_on;

/// The calls of a pool for threads that run no futures, made by [`Pool::blocking`]. Each blocks its thread.
/// No runtime is needed. Don't call them on a thread that runs futures, such as one of tokio's.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let worker = r#"sh -c 'while read -r line; do echo "{\"result\":42}"; done'"#;
/// let pool = procpool::Pool::builder(worker).max_procs(4).build()?;
/// let pool = pool.blocking();
/// assert_eq!(pool.process::<u64>("answer", ())?, 42);
/// std::thread::scope(|scope| {
///     for n in 0..4 {
///         let pool = pool.clone();
///         scope.spawn(move || assert_eq!(pool.process("answer", [n]).ok(), Some(42)));
///     }
/// });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Blocking {
    pool: Pool,
}

impl Pool {
    /// The same pool for threads that run no futures.
    pub fn blocking(&self) -> Blocking {
        Blocking { pool: self.clone() }
    }
}

impl Blocking {
    /// As [`Pool::process`].
    ///
    /// # Errors
    /// Why the job has no result.
    pub fn process<T: DeserializeOwned>(
        &self,
        cmd: &str,
        args: impl Serialize,
    ) -> Result<T, Failure> {
        self.pool.call(cmd).args(args).run_here()
    }

    /// As [`Pool::map`].
    pub fn map<T: DeserializeOwned, A: Serialize>(
        &self,
        cmd: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Vec<Result<T, Failure>> {
        block_on(self.pool.map(cmd, args))
    }

    /// As [`Pool::stream`], as an iterator: the outcomes in the order of the args. For outcomes as they come use
    /// [`Outcomes::wait`](crate::Outcomes::wait): `pool.stream(…).unordered().wait()`.
    pub fn stream<T: DeserializeOwned, A: Serialize, I: IntoIterator<Item = A>>(
        &self,
        cmd: &str,
        args: I,
    ) -> impl Iterator<Item = (u64, Result<T, Failure>)> + use<T, A, I> {
        self.pool.stream(cmd, args).wait()
    }

    /// As [`Pool::join`].
    pub fn join(&self) {
        block_on(self.pool.join());
    }

    /// As [`Pool::shutdown`].
    pub fn shutdown(&self) {
        block_on(self.pool.shutdown());
    }
}
