//! A worker for `--protocol raw`: it prints back each line that it reads.
//!
//! Like `double`, it flushes whenever the next line is not there as a whole.

use std::io::{self, BufRead, BufReader, BufWriter, Write};

const BUFFER: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let mut lines = BufReader::with_capacity(BUFFER, io::stdin().lock());
    let mut replies = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let mut line = Vec::new();

    while lines.read_until(b'\n', &mut line)? > 0 {
        replies.write_all(&line)?;
        if !lines.buffer().contains(&b'\n') {
            replies.flush()?;
        }
        line.clear();
    }
    Ok(())
}
