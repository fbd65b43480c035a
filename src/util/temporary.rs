//! Temporary files without a name.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of temporary files.
pub fn temporary_folder() -> PathBuf {
    tempfile::env::temp_dir()
}

/// Chooses the folder of temporary files. Only the first call counts.
pub fn set_temporary_folder(folder: &Path) {
    // It never changes.
    let _ = tempfile::env::override_temp_dir(folder);
}

/// A temporary file without a name. It is gone when the process ends. Its mode keeps other users from reading
/// it through `/proc`, whatever the umask is.
pub(crate) fn temporary_file() -> io::Result<File> {
    let file = tempfile::tempfile()?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
