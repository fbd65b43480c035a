//! The output of a command: in memory while it is small, otherwise in a temporary file without a name,
//! which all commands of a pool share.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::util::temporary::temporary_file;

/// The file is used in chunks of this many bytes. Shorter output stays in memory.
const CHUNK: usize = 256 << 10;

/// The temporary file of a pool. Chunks are used again. So the file is never larger than all output that is
/// captured at the same time.
#[derive(Debug, Default)]
pub struct Spool(Mutex<Chunks>);

#[derive(Debug, Default)]
struct Chunks {
    /// Made when it is first needed.
    file: Option<Arc<File>>,
    free: Vec<u32>,
    /// The number of chunks in the file, free ones included.
    count: u32,
}

impl Spool {
    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let mut chunks = self.lock();
        if let Some(file) = &chunks.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(temporary_file()?);
        chunks.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Writes a chunk; returns its number.
    fn write(&self, bytes: &[u8]) -> io::Result<u32> {
        let file = self.file()?;
        let mut chunks = self.lock();
        let number = chunks.free.pop().unwrap_or(chunks.count);
        chunks.count = chunks.count.max(number + 1);
        drop(chunks);
        let written = file.write_all_at(bytes, begin(number));
        if written.is_err() {
            self.lock().free.push(number);
        }
        written.map(|()| number)
    }

    fn release(&self, numbers: &[u32]) {
        let mut chunks = self.lock();
        chunks.free.extend_from_slice(numbers);
        if chunks.free.len() == chunks.count as usize {
            // The file holds nothing: free the disk.
            chunks.count = 0;
            chunks.free = Vec::new();
            if let Some(file) = &chunks.file {
                let _ = file.set_len(0);
            }
        }
    }
}

fn begin(chunk: u32) -> u64 {
    u64::from(chunk) * CHUNK as u64
}

/// The output of a command on one stream.
#[derive(Debug)]
pub struct Capture {
    spool: Arc<Spool>,
    /// Its chunks in the file. Only the last one may be shorter, after [`Capture::finish`].
    chunks: Vec<u32>,
    /// How many bytes are in the file.
    filed: u64,
    /// The bytes after those in the file.
    held: Vec<u8>,
    /// How many bytes were taken from the front.
    passed: u64,
}

impl Capture {
    /// An empty capture.
    pub fn new(spool: &Arc<Spool>) -> Self {
        Self { spool: Arc::clone(spool), chunks: Vec::new(), filed: 0, held: Vec::new(), passed: 0 }
    }

    /// The buffer to which the next bytes are appended. Call [`Capture::spill_excess`] after that.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    /// The number of bytes of whole lines at the front of [`Capture::buffer`]. It is 0 after a line that was
    /// too long for memory, since the beginning of that line is in the file.
    pub(crate) fn whole_lines(&self) -> usize {
        if self.chunks.is_empty() {
            memchr::memrchr(b'\n', &self.held).map_or(0, |at| at + 1)
        } else {
            0
        }
    }

    /// Takes `count` bytes from the front of [`Capture::buffer`].
    pub(crate) fn pass(&mut self, count: usize) {
        self.held.drain(..count);
        self.passed += count as u64;
    }

    /// This number of bytes was taken from the front before.
    pub(crate) fn count_passed(&mut self, count: u64) {
        self.passed += count;
    }

    /// How many bytes were taken from the front.
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// How many bytes were printed, including those that were taken from the front.
    pub fn total(&self) -> u64 {
        self.passed + self.len()
    }

    /// Moves whole chunks from memory to the file.
    ///
    /// # Errors
    /// The file can't be made or written.
    pub(crate) fn spill_excess(&mut self) -> io::Result<()> {
        while self.held.len() >= CHUNK {
            let number = self.spool.write(&self.held[..CHUNK])?;
            self.chunks.push(number);
            self.filed += CHUNK as u64;
            self.held.drain(..CHUNK);
        }
        Ok(())
    }

    /// Ends the capture. If a part of the output is in the file, the last bytes go there as well.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.spill_excess()?;
        if !self.chunks.is_empty() && !self.held.is_empty() {
            self.chunks.push(self.spool.write(&self.held)?);
            self.filed += self.held.len() as u64;
            self.held = Vec::new();
        }
        Ok(())
    }

    /// The number of bytes, without those that were taken from the front.
    pub fn len(&self) -> u64 {
        self.filed + self.held.len() as u64
    }

    /// Whether [`Capture::len`] is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes, if they are in memory.
    pub fn small(&self) -> Option<&[u8]> {
        self.chunks.is_empty().then_some(&self.held)
    }

    /// Calls `each` with all bytes, in pieces.
    ///
    /// # Errors
    /// The file can't be read, or `each` returns an error.
    pub fn each(&self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if !self.chunks.is_empty() {
            let file = self.spool.file()?;
            let mut buffer = vec![0; CHUNK];
            let mut left = self.filed;
            for &chunk in &self.chunks {
                let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                file.read_exact_at(&mut buffer[..len], begin(chunk))?;
                each(&buffer[..len])?;
                left -= len as u64;
            }
        }
        each(&self.held)
    }

    /// The last bytes, at most `most`. Only these are read.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn end(&self, most: usize) -> io::Result<Vec<u8>> {
        let spare = self.held.len().saturating_sub(most);
        let mut end = self.held[spare..].to_vec();
        let missing = ((most - end.len()) as u64).min(self.filed);
        if missing > 0 {
            let file = self.spool.file()?;
            let mut filed = Vec::new();
            let from = self.filed - missing;
            let first = usize::try_from(from / CHUNK as u64).unwrap_or(usize::MAX);
            for (index, &chunk) in self.chunks.iter().enumerate().skip(first) {
                let at = index as u64 * CHUNK as u64;
                let skip = from.saturating_sub(at);
                let len = (self.filed - at).min(CHUNK as u64) - skip;
                let mut piece = vec![0; usize::try_from(len).unwrap_or_default()];
                file.read_exact_at(&mut piece, begin(chunk) + skip)?;
                filed.extend_from_slice(&piece);
            }
            end.splice(0..0, filed);
        }
        Ok(end)
    }

    /// Whether all bytes are UTF-8.
    fn is_text(&self) -> io::Result<bool> {
        let mut is_text = true;
        let mut carry = Vec::new();
        self.each(|piece| {
            carry.extend_from_slice(piece);
            let (valid, rest) = whole_characters(&carry);
            is_text &= valid;
            carry.drain(..carry.len() - rest);
            Ok(())
        })?;
        Ok(is_text && carry.is_empty())
    }

    /// Writes the bytes as JSON: a key and a string. Bytes that are not UTF-8 become base64, as the key says.
    fn json(&self, key: &str, out: &mut impl Write) -> io::Result<()> {
        if let Some(text) = self.small().and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            write!(out, "\"{key}\":")?;
            return Ok(serde_json::to_writer(out, text)?);
        }
        if !self.is_text()? {
            write!(out, "\"{key}_base64\":\"")?;
            let engine = &base64::engine::general_purpose::STANDARD;
            let mut encoder = base64::write::EncoderWriter::new(&mut *out, engine);
            self.each(|piece| encoder.write_all(piece))?;
            encoder.finish()?;
            drop(encoder);
            return out.write_all(b"\"");
        }
        write!(out, "\"{key}\":\"")?;
        let mut carry = Vec::new();
        self.each(|piece| {
            carry.extend_from_slice(piece);
            let whole = carry.len() - whole_characters(&carry).1;
            let quoted = serde_json::to_vec(&String::from_utf8_lossy(&carry[..whole]))?;
            carry.drain(..whole);
            out.write_all(&quoted[1..quoted.len() - 1])
        })?;
        out.write_all(b"\"")
    }
}

/// Whether the bytes are UTF-8. The last character may be incomplete. The number of its bytes is returned as
/// well.
fn whole_characters(bytes: &[u8]) -> (bool, usize) {
    match std::str::from_utf8(bytes) {
        Ok(_) => (true, 0),
        Err(error) if error.error_len().is_none() => (true, bytes.len() - error.valid_up_to()),
        Err(_) => (false, 0),
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        self.spill_excess()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.chunks.is_empty() {
            self.spool.release(&self.chunks);
        }
    }
}

/// The output of a command, and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// Its exit status; `None`: a signal ended it, or it could not be killed.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its stdout.
    pub stdout: Capture,
    /// Its stderr.
    pub stderr: Capture,
}

impl Printed {
    /// The output of one line on stdout.
    pub(crate) fn line(spool: &Arc<Spool>, line: &[u8]) -> Self {
        let mut stdout = Capture::new(spool);
        stdout.held = [line, b"\n"].concat();
        Self { exit: Some(0), signal: None, stdout, stderr: Capture::new(spool) }
    }

    /// Whether all of it is in memory.
    pub(crate) fn is_small(&self) -> bool {
        self.stdout.small().is_some() && self.stderr.small().is_some()
    }

    /// Writes it as JSON: `{"exit":0,"stdout":"…","stderr":"…"}`.
    ///
    /// # Errors
    /// It can't be read from the temporary file, or `out` returns an error.
    pub fn json(&self, out: &mut impl Write) -> io::Result<()> {
        match (self.exit, self.signal) {
            (Some(exit), _) => write!(out, "{{\"exit\":{exit},")?,
            (None, Some(signal)) => write!(out, "{{\"exit\":null,\"signal\":{signal},")?,
            (None, None) => write!(out, "{{\"exit\":null,")?,
        }
        self.stdout.json("stdout", out)?;
        out.write_all(b",")?;
        self.stderr.json("stderr", out)?;
        out.write_all(b"}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn capture(spool: &Arc<Spool>, bytes: &[u8], piece: usize) -> Capture {
        let mut capture = Capture::new(spool);
        for piece in bytes.chunks(piece.max(1)) {
            capture.write_all(piece).expect("written");
        }
        capture.finish().expect("finished");
        capture
    }

    fn all(capture: &Capture) -> Vec<u8> {
        let mut all = Vec::new();
        capture
            .each(|piece| {
                all.extend_from_slice(piece);
                Ok(())
            })
            .expect("read");
        all
    }

    fn json(capture: &Capture) -> serde_json::Value {
        let mut text = b"{".to_vec();
        capture.json("s", &mut text).expect("written");
        text.push(b'}');
        serde_json::from_slice(&text).expect("JSON")
    }

    #[test]
    fn large_ones_lie_in_the_file_and_give_it_back() {
        let spool = Arc::new(Spool::default());
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let capture = capture(&spool, &bytes, 70_000);
            assert_eq!(capture.len(), len as u64);
            assert_eq!(capture.small().is_some(), len < CHUNK);
            assert_eq!(all(&capture), bytes);
        }
        assert_eq!(spool.lock().count, 0);
        let size = spool.file().and_then(|file| file.metadata()).expect("a file").len();
        assert_eq!(size, 0);
    }

    #[test]
    fn text_is_a_string_wherever_it_is_cut() {
        let spool = Arc::new(Spool::default());
        for text in ["é\n\"".repeat(CHUNK / 3), "€\u{1}".repeat(CHUNK / 2), "short".into()] {
            let value = json(&capture(&spool, text.as_bytes(), 65_536));
            assert_eq!(value["s"], text.as_str());
        }
    }

    #[test]
    fn bytes_are_base64() {
        let spool = Arc::new(Spool::default());
        assert_eq!(json(&capture(&spool, b"\xff", 1))["s_base64"], "/w==");
        let mut bytes = vec![b'a'; 2 * CHUNK];
        bytes.push(0xe2);
        let value = json(&capture(&spool, &bytes, 65_536));
        assert_eq!(value["s_base64"].as_str().map(str::len), Some(bytes.len().div_ceil(3) * 4));
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..20) {
            let spool = Arc::new(Spool::default());
            prop_assert_eq!(all(&capture(&spool, &bytes, piece)), bytes);
        }

        #[test]
        fn the_end_is_the_end(len in 0_usize..700_000, most in 0_usize..600_000) {
            let spool = Arc::new(Spool::default());
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let end = capture(&spool, &bytes, 65_536).end(most).expect("it can be read");
            prop_assert!(end == bytes[len.saturating_sub(most)..]);
        }
    }
}
