//! Temporary files without a name.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// A temporary file without a name: it is gone with the process. Whatever the umask says, nobody else
/// may read it by way of `/proc`.
pub(crate) fn temporary_file() -> io::Result<File> {
    let file = tempfile::tempfile()?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
