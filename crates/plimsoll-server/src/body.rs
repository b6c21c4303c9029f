//! Request bodies: read, decompressed, bounded.
//!
//! A body is bounded three times: its size as it is sent, its size after decompression, and the
//! bytes that all requests together hold ([`BodyBudget`]). Each bound is checked while reading, so
//! that a lie in a header or a compression bomb costs no more than the bound.
//!
//! Not here: what the bytes mean (`json`, `events`).

use std::{io::Read, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use plimsoll_core::limits;
use plimsoll_engine::{deps::Clock, ingest::body::Buffer, ops::problem::ProblemCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Ending;

/// Bytes that one permit of the budget stands for.
const BUDGET_UNIT: usize = 16 * 1024;
/// Bytes that a decompressor gives at a time.
const INFLATE_CHUNK: usize = 64 * 1024;
/// When to try again after the budget was used up.
const BUDGET_RETRY_S: u32 = 1;

/// What all request bodies together may hold in memory.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    /// A budget of [`limits::BODIES_BYTES`].
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(limits::BODIES_BYTES / BUDGET_UNIT)))
    }
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// A whole body, and its part of the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// The bytes, decompressed.
    pub(crate) bytes: Buffer,
    /// Its part of the budget.
    pub(crate) share: Share,
}

/// The length that the headers announce; 0 if they do not, or name none.
pub(crate) fn announced(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// Reads `body` as `headers` describe it: at most `bytes_max`, also after decompression.
///
/// `room` is where the bytes go as they are sent. It is empty, and may have memory already.
pub(crate) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    bytes_max: usize,
    budget: &BodyBudget,
    clock: &dyn Clock,
    mut room: Buffer,
) -> Result<Held, Ending> {
    let encoding = Encoding::of(headers)?;
    let mut share = Share { budget: budget.clone(), permit: None };
    let timeout = clock.sleep(Duration::from_millis(limits::BODY_TIMEOUT_MS));
    let sent = tokio::select! {
        sent = gather(&mut body, headers, bytes_max, &mut share, &mut room) => sent,
        () = timeout => return Err(too_slow()),
    };
    if let Err(ending) = sent {
        drop((share, room));
        linger(body, headers, clock).await;
        return Err(ending);
    }
    let bytes = match encoding {
        Encoding::Identity => room,
        Encoding::Gzip => {
            let reader = flate2::read::MultiGzDecoder::new(room.as_slice());
            inflate(reader, bytes_max, &mut share)?.into()
        }
        Encoding::Zstd => {
            let reader = zstd::stream::read::Decoder::with_buffer(room.as_slice());
            inflate(reader.map_err(|_| not_encoded())?, bytes_max, &mut share)?.into()
        }
    };
    Ok(Held { bytes, share })
}

#[derive(Clone, Copy)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Self, Ending> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        let name = value.to_str().unwrap_or_default().trim();
        match name {
            _ if values.next().is_some() => {}
            it if it.eq_ignore_ascii_case("identity") => return Ok(Self::Identity),
            it if it.eq_ignore_ascii_case("gzip") => return Ok(Self::Gzip),
            it if it.eq_ignore_ascii_case("zstd") => return Ok(Self::Zstd),
            _ => {}
        }
        Err(Ending::at(
            ProblemCode::UnsupportedEncoding,
            "content-encoding",
            "a body is sent as it is, or encoded once as gzip or zstd",
        ))
    }
}

async fn gather(
    body: &mut Body,
    headers: &HeaderMap,
    bytes_max: usize,
    share: &mut Share,
    room: &mut Buffer,
) -> Result<(), Ending> {
    let announced = announced(headers);
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    share.grow_to(announced)?;
    room.reserve(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Ending::new(ProblemCode::MalformedJson, "the body ended before it was complete")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if room.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        share.grow_to(room.len() + data.len())?;
        room.extend_from_slice(&data);
    }
    Ok(())
}

/// Reads on without keeping anything, within bounds.
///
/// Most clients write their whole request before they read. Closing on them would be answered by a
/// reset, and they would never learn why they were refused.
pub(crate) async fn linger(mut body: Body, headers: &HeaderMap, clock: &dyn Clock) {
    // Who expects `100 Continue` has not begun to send, and reads first.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let discard = async {
        let mut left = limits::LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    tokio::select! {
        () = discard => {}
        () = clock.sleep(Duration::from_millis(limits::LINGER_TIMEOUT_MS)) => {}
    }
}

fn inflate(mut reader: impl Read, bytes_max: usize, share: &mut Share) -> Result<Vec<u8>, Ending> {
    let mut inflated = Vec::new();
    loop {
        let before = inflated.len();
        let room = INFLATE_CHUNK.min(bytes_max + 1 - before);
        share.grow_to(before + room)?;
        let mut chunk = reader.by_ref().take(room as u64);
        let read = chunk.read_to_end(&mut inflated).map_err(|_| not_encoded())?;
        if read == 0 {
            return Ok(inflated);
        }
        if inflated.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
    }
}

/// What one body holds of the budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: BodyBudget,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    fn grow_to(&mut self, bytes: usize) -> Result<(), Ending> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(BUDGET_UNIT).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Ok(further) = Arc::clone(&self.budget.0).try_acquire_many_owned(more) else {
            let problem = plimsoll_engine::ops::problem::Problem::new(
                ProblemCode::TooManyRequests,
                "the bodies of all requests together hold as much memory as they may",
            );
            return Err(problem.retry_after(BUDGET_RETRY_S).into());
        };
        match &mut self.permit {
            Some(permit) => permit.merge(further),
            None => self.permit = Some(further),
        }
        Ok(())
    }
}

fn too_large(bytes_max: usize) -> Ending {
    Ending::new(
        ProblemCode::BodyTooLarge,
        format!("the body of this route has at most {bytes_max} bytes, decompressed"),
    )
}

fn too_slow() -> Ending {
    let seconds = limits::BODY_TIMEOUT_MS / 1_000;
    Ending::new(
        ProblemCode::RequestTimeout,
        format!("the body did not arrive within {seconds} seconds"),
    )
}

fn not_encoded() -> Ending {
    Ending::at(
        ProblemCode::UnsupportedEncoding,
        "content-encoding",
        "the body is not encoded as its content-encoding says",
    )
}

#[cfg(test)]
mod tests;
