//! `<data-dir>/address`: where the server listens, for scripts that let the system choose a port.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Writes the file whole: nobody reads half an address.
pub(super) fn write(data_dir: &Path, address: SocketAddr) -> io::Result<()> {
    let unfinished = data_dir.join("address.new");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{address}")?;
    drop(file);
    fs::rename(unfinished, path(data_dir))
}

/// Removes the file, if there is one: nobody listens there any more.
pub(super) fn remove(data_dir: &Path) {
    match fs::remove_file(path(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the address file is left behind");
        }
        Ok(()) | Err(_) => {}
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("address")
}
