//! The streams of a command under way: its stdin is fed, its stdout and stderr are read and kept. If
//! asked for, whole lines are passed on as they come.

use std::time::Duration;

use crate::job::Block;
use crate::job::block::BlockPart;
use crate::job::printed::Printed;
use crate::pool::slot::command::Running;
use crate::process::{OutputStream, Transfer, Wake};

/// After the end of a command, no more than this is read of a stream at once: a process that it left
/// running may write forever.
const LAST_READ: usize = 2 << 20;

/// While nobody takes the lines that a command has printed they are offered this often.
const OFFER_TICK: Duration = Duration::from_millis(10);

impl Running<'_> {
    pub(super) fn has_input(&self) -> bool {
        let len = self.job.block().map_or(self.input.len() as u64, Block::len);
        self.written < len
    }

    /// Writes as much of the input as the command takes now. A command need not read all of it.
    pub(super) fn feed(&mut self) {
        if !self.commands.stdin {
            return;
        }
        while self.has_input() {
            match self.write_some() {
                Transfer::Moved(count) => self.written += count as u64,
                Transfer::Blocked => return,
                Transfer::Closed => self.written = u64::MAX,
            }
        }
        self.process.close_stdin();
    }

    /// Writes as much of the rest of the input as the command takes at once.
    fn write_some(&mut self) -> Transfer {
        let moved = match self.job.block().map(|block| block.part(self.written)) {
            None => {
                let written = usize::try_from(self.written).unwrap_or(usize::MAX);
                Ok(self.process.write(self.input.get(written..).unwrap_or_default()))
            }
            Some(BlockPart::Bytes(bytes)) => Ok(self.process.write(bytes)),
            Some(BlockPart::Range(file, begin, len)) => self.process.copy(file, begin, len),
        };
        moved.unwrap_or_else(|error| {
            self.unfed.get_or_insert(error);
            Transfer::Closed
        })
    }

    /// Waits a moment, and offers again the lines that nobody took. Returns whether the command has
    /// exited.
    pub(super) fn offer_again(&mut self, wake: &Wake, timeout: Option<Duration>) -> bool {
        let began = self.shared.now();
        let most = timeout.unwrap_or(OFFER_TICK).min(OFFER_TICK);
        self.shared.deliveries.await_room(wake, most);
        // The command may wait for the reader of stdout: then it is not silent by itself.
        let waited = self.shared.now().since(began);
        self.measured.last_output = self.measured.last_output.after(waited);
        self.feed();
        self.pass_on();
        self.process.has_exited()
    }

    /// Reads once from each stream that is ready.
    pub(super) fn listen(&mut self, stdout: bool, stderr: bool) {
        for (stream, is_ready) in [(OutputStream::Stdout, stdout), (OutputStream::Stderr, stderr)] {
            let has_read = is_ready && matches!(self.collect(stream), Transfer::Moved(_));
            if has_read && (self.heard.is_some() || self.shared.config.failures.silence.is_some()) {
                self.measured.last_output = self.shared.now();
                self.heard = self.heard.map(|_| self.measured.last_output);
            }
        }
        self.pass_on();
    }

    /// Reads the bytes in the streams, but no more than [`LAST_READ`] of each.
    pub(super) fn read_rest(&mut self) {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let mut left = LAST_READ;
            while let Transfer::Moved(count) = self.collect(stream)
                && count < left
            {
                left -= count;
                self.pass_on();
            }
        }
    }

    /// Reads once from a stream.
    fn collect(&mut self, stream: OutputStream) -> Transfer {
        let Printed { stdout, stderr, .. } = &mut self.printed;
        let capture = if stream == OutputStream::Stdout { stdout } else { stderr };
        self.process.collect(stream, capture.buffer())
    }

    /// Passes whole lines on, if asked for, and moves large output to the temporary file.
    fn pass_on(&mut self) {
        if self.commands.live && self.job.caller.is_none() {
            self.pass_lines();
        }
        let Printed { stdout, stderr, .. } = &mut self.printed;
        if let Err(error) = stdout.spill_excess().and_then(|()| stderr.spill_excess()) {
            self.trouble.get_or_insert(error);
            // The output can't be kept, and is of no use.
            stdout.buffer().clear();
            stderr.buffer().clear();
        }
    }

    /// Passes whole lines on. If nobody takes them they stay.
    fn pass_lines(&mut self) {
        let Printed { stdout, stderr, .. } = &mut self.printed;
        let out = stdout.whole_lines();
        let err = stderr.whole_lines();
        let out_lines = &stdout.buffer()[..out];
        let err_lines = &stderr.buffer()[..err];
        let deliveries = &self.shared.deliveries;
        self.is_held_up = out + err > 0 && !deliveries.pass_lines(self.job, out_lines, err_lines);
        if !self.is_held_up {
            stdout.pass(out);
            stderr.pass(err);
        }
    }
}
