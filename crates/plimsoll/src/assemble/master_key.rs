//! The master key, which seals secrets at rest: given, or kept in `<data-dir>/master.key`.
//!
//! A store remembers a text that its key sealed. With another key it is refused at the start;
//! otherwise every webhook would fail later for want of its secret.
//!
//! Not here: sealing (`plimsoll_engine::vault`).

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use plimsoll_engine::{
    deps::{Deps, Random},
    vault::{MASTER_KEY_BYTES, Vault},
};
use plimsoll_store::{Batch, CommitError, Lane, ReadError, meta};

use crate::config::{Secret, Settings, parse};

/// The key in `meta` that holds the text sealed by the store's master key.
const META_PROOF: &str = "master_key_proof";
/// What is sealed, and for which place.
const PROOF: &[u8] = b"plimsoll";

/// Why there is no usable master key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MasterKeyError {
    #[error("the master key file {} cannot be used: {problem}", path.display())]
    File { path: PathBuf, problem: io::Error },
    #[error("the master key file {} {problem}", path.display())]
    Content { path: PathBuf, problem: String },
    #[error(
        "the master key is not the one that this store's secrets were sealed with; give that one \
         as PLIMSOLL_MASTER_KEY or as master.key in the data directory"
    )]
    Another,
    #[error(
        "there is no master key file {}, and this store's secrets were sealed with one; put it \
         back, or give it as PLIMSOLL_MASTER_KEY", .0.display()
    )]
    Missing(PathBuf),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The vault that opens the store's secrets.
pub(super) async fn vault(settings: &Settings, deps: &Deps) -> Result<Vault, MasterKeyError> {
    let proof = meta::get(deps.store.as_ref(), META_PROOF).await?;
    let file = settings.data_dir.join("master.key");
    let key = match &settings.master_key {
        Some(key) => key.clone(),
        // A new key would open nothing, and would lie where the right one is to be put.
        None if proof.is_some() && !file.exists() => return Err(MasterKeyError::Missing(file)),
        None => of_file(&file, deps.random.as_ref())?,
    };
    let vault = Vault::new(key.expose(), std::sync::Arc::clone(&deps.random));
    prove(&vault, proof, deps).await?;
    Ok(vault)
}

/// Checks that the store's secrets were sealed by this key; a new store remembers it.
async fn prove(vault: &Vault, proof: Option<String>, deps: &Deps) -> Result<(), MasterKeyError> {
    let store = deps.store.as_ref();
    let Some(proof) = proof else {
        let sealed = hexadecimal(&vault.seal(PROOF, META_PROOF.as_bytes()));
        let remember = Batch::new(Lane::Control, vec![meta::insert(META_PROOF, &sealed)]);
        store.commit(remember).await?;
        return Ok(());
    };
    let opened = bytes(&proof).and_then(|it| vault.open(&it, META_PROOF.as_bytes()).ok());
    if opened.as_deref() == Some(PROOF) { Ok(()) } else { Err(MasterKeyError::Another) }
}

/// Reads the file; makes it with a new key if there is none.
fn of_file(
    path: &Path,
    random: &dyn Random,
) -> Result<Secret<[u8; MASTER_KEY_BYTES]>, MasterKeyError> {
    let failed = |problem| MasterKeyError::File { path: path.to_path_buf(), problem };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; MASTER_KEY_BYTES];
            random.fill(&mut key);
            let text = hexadecimal(&key);
            write(path, &text).map_err(failed)?;
            tracing::info!(file = %path.display(), "made a master key; keep a copy of it");
            text
        }
        Err(error) => return Err(failed(error)),
    };
    let content = |problem| MasterKeyError::Content { path: path.to_path_buf(), problem };
    parse::master_key(&text).map_err(content)
}

/// Writes the file whole and durably, for nobody else to read: secrets hang on it from now on.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("key.new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string can be written to");
    }
    text
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let pairs = hexadecimal.as_bytes().chunks(2);
    pairs.map(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok()).collect()
}
