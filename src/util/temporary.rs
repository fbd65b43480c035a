//! Temporary files without a name.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

/// A temporary file without a name. It is gone when the process ends. Its mode keeps other users from reading
/// it through `/proc`, whatever the umask is.
pub(crate) fn temporary_file() -> io::Result<File> {
    let file = tempfile::tempfile()?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
