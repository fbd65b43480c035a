//! The stream of failed jobs, printed.

use std::io;

use super::error::QueueError;
use super::session::QueueSession;
use super::settings::{QueueSettings, Watching};

/// Prints the jobs of a queue that have failed for good, a line of JSON each, the oldest first.
///
/// # Errors
/// The queue can't be reached, or has no such stream.
pub fn print_dead(
    settings: &QueueSettings,
    watcher: Watching,
    out: &mut dyn FnMut(&str) -> io::Result<()>,
) -> Result<(), QueueError> {
    let local = |error: io::Error| QueueError::Local(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(local)?;
    runtime.block_on(async {
        let session = QueueSession::connect(settings, watcher).await?;
        let name = session.names.dead_stream();
        let stream = session.context.get_stream(&name).await.map_err(|_| {
            QueueError::Server(format!(
                "there is no queue {}: it has no stream '{name}'",
                settings.address
            ))
        })?;
        let state = &stream.cached_info().state;
        for number in state.first_sequence..=state.last_sequence {
            // A message that has expired meanwhile is no loss.
            let Ok(message) = stream.get_raw_message(number).await else { continue };
            match out(&String::from_utf8_lossy(&message.payload)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result.map_err(local)?,
            }
        }
        Ok(())
    })
}
