//! The file of a backup: frames of rows, and at the end a SHA-256 of everything before it.
//!
//! ```text
//! "plimsoll backup 1\n"
//! frame*    tag u8, length u32, content     (numbers little endian)
//! end       tag 0,  length 32,  SHA-256 of all bytes before this frame
//! ```
//!
//! Format 1 is kept readable for ever; another one gets another first line.
//!
//! Not here: what is read and written (`backup`).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{backup::RestoreError, row::Row, store::BackupError, value::Value};

const MAGIC: &[u8] = b"plimsoll backup 1\n";
const TAG_END: u8 = 0;
const TAG_SCHEMA: u8 = 1;
const TAG_TABLE: u8 = 2;
const TAG_ROWS: u8 = 3;

/// Frames that wait between the store and the file.
const QUEUED_FRAMES: usize = 2;
/// Bytes of a frame at the most: larger than any page, so that a damaged length is noticed.
const FRAME_BYTES: u32 = 1 << 30;

/// A part of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// The version of the schema. The first frame.
    Schema(i64),
    /// The rows that follow are of this table.
    Table(String),
    /// Rows, with the table's columns in the order of `tables`.
    Rows(Vec<Row>),
}

/// Writes a file on a thread that may block.
#[derive(Debug)]
pub(super) struct Writer {
    frames: mpsc::Sender<Frame>,
    task: JoinHandle<io::Result<Written>>,
    target: PathBuf,
    partial: PathBuf,
}

/// Reads a file on a thread that may block.
#[derive(Debug)]
pub(super) struct Reader {
    frames: mpsc::Receiver<Result<Frame, RestoreError>>,
}

#[derive(Debug)]
struct Written(File);

impl Writer {
    /// Begins the file that will be `target`.
    pub(super) async fn create(target: PathBuf) -> Result<Self, BackupError> {
        let mut partial = target.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let opened = {
            let (target, partial) = (target.clone(), partial.clone());
            blocking(move || create_new(&target, &partial)).await
        };
        let file = opened.map_err(|error| cannot_write(&target, error))?;
        let (frames, receiver) = mpsc::channel(QUEUED_FRAMES);
        let task = tokio::task::spawn_blocking(move || write_frames(file, receiver));
        Ok(Self { frames, task, target, partial })
    }

    /// Adds a frame.
    pub(super) async fn write(&mut self, frame: Frame) -> Result<(), BackupError> {
        if self.frames.send(frame).await.is_ok() {
            return Ok(());
        }
        // The thread has ended early: with an error.
        let ended = (&mut self.task).await.map_err(io::Error::other).and_then(|it| it);
        let error = ended.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Err(cannot_write(&self.target, error))
    }

    /// Ends the file, waits until it is on disk and gives it its name.
    pub(super) async fn finish(self) -> Result<(), BackupError> {
        let Self { frames, task, target, partial } = self;
        drop(frames);
        let written = task.await.map_err(io::Error::other).and_then(|it| it);
        let finished = match written {
            Ok(Written(file)) => {
                let (target, partial) = (target.clone(), partial.clone());
                blocking(move || {
                    file.sync_all()?;
                    fs::rename(&partial, &target)?;
                    sync_parent(&target)
                })
                .await
            }
            Err(error) => Err(error),
        };
        match finished {
            Ok(()) => Ok(()),
            Err(error) => {
                remove(&partial).await;
                Err(cannot_write(&target, error))
            }
        }
    }

    /// Leaves nothing behind.
    pub(super) async fn discard(self) {
        let Self { frames, task, partial, .. } = self;
        drop(frames);
        if !task.is_finished() {
            // Its result does not matter any longer; that it has let go of the file does.
            drop(task.await);
        }
        remove(&partial).await;
    }
}

impl Reader {
    /// Begins to read the frames of a file that [`verify`] has found whole.
    pub(super) fn open(from: PathBuf) -> Self {
        let (sender, frames) = mpsc::channel(QUEUED_FRAMES);
        // The thread ends by itself, at the end of the file or when the receiver is gone.
        drop(tokio::task::spawn_blocking(move || {
            let result = read_frames(&from, |frame| sender.blocking_send(Ok(frame)).is_ok());
            if let Err(error) = result {
                // Without a receiver nobody is interested.
                drop(sender.blocking_send(Err(error)));
            }
        }));
        Self { frames }
    }

    /// The next frame; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, RestoreError> {
        self.frames.recv().await.transpose()
    }
}

/// Reads the whole file, checks it, and returns the version of its schema.
pub(super) async fn verify(from: PathBuf) -> Result<i64, RestoreError> {
    let name = from.display().to_string();
    let verified = tokio::task::spawn_blocking(move || {
        let mut schema = None;
        read_frames(&from, |frame| {
            if let Frame::Schema(version) = frame {
                schema.get_or_insert(version);
            }
            true
        })?;
        let no_schema = || damaged(&from, "it names no schema");
        schema.ok_or_else(no_schema)
    });
    verified
        .await
        .unwrap_or_else(|error| Err(RestoreError::File { file: name, source: error.into() }))
}

fn create_new(target: &Path, partial: &Path) -> io::Result<File> {
    if target.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(partial)
}

fn write_frames(file: File, mut frames: mpsc::Receiver<Frame>) -> io::Result<Written> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut hash = Sha256::new();
    let mut write = |bytes: &[u8]| {
        hash.update(bytes);
        out.write_all(bytes)
    };
    write(MAGIC)?;
    while let Some(frame) = frames.blocking_recv() {
        write(&encode(&frame)?)?;
    }
    let digest = hash.finalize();
    let mut end = BytesMut::new();
    end.put_u8(TAG_END);
    end.put_u32_le(digest.len() as u32);
    end.put_slice(&digest);
    out.write_all(&end)?;
    Ok(Written(out.into_inner().map_err(io::IntoInnerError::into_error)?))
}

/// Calls `each` with every frame until it says false. `Ok` only if the file is whole as far as it
/// was read.
fn read_frames(from: &Path, mut each: impl FnMut(Frame) -> bool) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::File { file: from.display().to_string(), source };
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(from, "it ends too early"),
        _ => failed(error),
    };
    let mut file = BufReader::with_capacity(1 << 20, File::open(from).map_err(failed)?);
    let mut hash = Sha256::new();
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(cut)?;
    if magic != MAGIC {
        return Err(damaged(from, "it does not begin like one"));
    }
    hash.update(magic);
    loop {
        let mut head = [0; 5];
        file.read_exact(&mut head).map_err(cut)?;
        let [tag, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        if length > FRAME_BYTES {
            return Err(damaged(from, "a part of it is too long"));
        }
        let mut content = vec![0; length as usize];
        file.read_exact(&mut content).map_err(cut)?;
        if tag == TAG_END {
            let same = hash.finalize().as_slice() == content;
            return if same { Ok(()) } else { Err(damaged(from, "its checksum is wrong")) };
        }
        hash.update(head);
        hash.update(&content);
        let frame = decode(tag, content.into());
        if !each(frame.ok_or_else(|| damaged(from, "a part of it makes no sense"))?) {
            return Ok(());
        }
    }
}

fn encode(frame: &Frame) -> io::Result<BytesMut> {
    let mut content = BytesMut::new();
    let tag = match frame {
        Frame::Schema(version) => {
            content.put_i64_le(*version);
            TAG_SCHEMA
        }
        Frame::Table(name) => {
            content.put_slice(name.as_bytes());
            TAG_TABLE
        }
        Frame::Rows(rows) => {
            content.put_u32_le(length(rows.len())?);
            content.put_u32_le(length(rows.first().map_or(0, |it| it.values().len()))?);
            for value in rows.iter().flat_map(Row::values) {
                encode_value(&mut content, value)?;
            }
            TAG_ROWS
        }
    };
    let mut framed = BytesMut::with_capacity(content.len() + 5);
    framed.put_u8(tag);
    framed.put_u32_le(length(content.len())?);
    framed.unsplit(content);
    Ok(framed)
}

fn encode_value(out: &mut BytesMut, value: &Value) -> io::Result<()> {
    match value {
        Value::Null => out.put_u8(0),
        Value::Int(it) => {
            out.put_u8(1);
            out.put_i64_le(*it);
        }
        Value::Text(it) => {
            out.put_u8(2);
            out.put_u32_le(length(it.len())?);
            out.put_slice(it.as_bytes());
        }
        Value::Bytes(it) => {
            out.put_u8(3);
            out.put_u32_le(length(it.len())?);
            out.put_slice(it);
        }
    }
    Ok(())
}

fn length(length: usize) -> io::Result<u32> {
    match u32::try_from(length) {
        Ok(length) if length <= FRAME_BYTES => Ok(length),
        Ok(_) | Err(_) => Err(io::Error::other("a row is too long for a backup")),
    }
}

fn decode(tag: u8, mut content: Bytes) -> Option<Frame> {
    let frame = match tag {
        TAG_SCHEMA => Frame::Schema(content.try_get_i64_le().ok()?),
        TAG_TABLE => {
            let name = content.split_to(content.len());
            Frame::Table(String::from_utf8(name.into()).ok()?)
        }
        TAG_ROWS => {
            let (rows, columns) = (content.try_get_u32_le().ok()?, content.try_get_u32_le().ok()?);
            let row = |content: &mut Bytes| {
                (0..columns).map(|_| decode_value(content)).collect::<Option<_>>().map(Row::new)
            };
            Frame::Rows((0..rows).map(|_| row(&mut content)).collect::<Option<_>>()?)
        }
        _ => return None,
    };
    content.is_empty().then_some(frame)
}

fn decode_value(content: &mut Bytes) -> Option<Value> {
    let sized = |content: &mut Bytes| {
        let length = content.try_get_u32_le().ok()? as usize;
        (length <= content.len()).then(|| content.split_to(length))
    };
    match content.try_get_u8().ok()? {
        0 => Some(Value::Null),
        1 => Some(Value::Int(content.try_get_i64_le().ok()?)),
        2 => Some(Value::Text(String::from_utf8(sized(content)?.into()).ok()?)),
        3 => Some(Value::Bytes(sized(content)?)),
        _ => None,
    }
}

fn sync_parent(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

async fn remove(partial: &Path) {
    let path = partial.to_owned();
    if let Err(error) = blocking(move || fs::remove_file(path)).await {
        tracing::warn!(%error, file = %partial.display(), "an unfinished backup stays behind");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn cannot_write(target: &Path, source: io::Error) -> BackupError {
    let file = target.display().to_string();
    match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { file },
        _ => BackupError::File { file, source },
    }
}

fn damaged(file: &Path, detail: &str) -> RestoreError {
    RestoreError::Damaged { file: file.display().to_string(), detail: detail.to_owned() }
}
