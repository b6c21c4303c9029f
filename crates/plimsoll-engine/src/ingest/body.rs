//! The bytes of requests, in buffers that are used again.
//!
//! A batch has hundreds of kilobytes. Memory of that size comes fresh from the system each time,
//! page by page, which costs more than reading the events in it; so the buffers of large bodies are
//! kept, within [`limits::KEPT_BODIES`].
//!
//! Not here: how a body is read from a connection (`plimsoll-server`), what stands in it (`event`).

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use plimsoll_core::limits;

/// Buffers that wait to be used again. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes of a request. If they came from [`Buffers`], their memory goes back there.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Option<Buffers>,
}

/// A body of events as text, shared by the partitions that its events go to.
#[derive(Debug, Clone)]
pub struct BodyText(Arc<Text>);

#[derive(Debug)]
struct Text {
    text: String,
    home: Option<Buffers>,
}

impl Buffers {
    /// An empty buffer for about so many bytes.
    pub fn take(&self, bytes: usize) -> Buffer {
        // Small ones are the allocator's business, and would waste a large buffer.
        if bytes < limits::KEPT_BODY_BYTES_MIN {
            return Buffer::default();
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: kept.unwrap_or_default(), home: Some(self.clone()) }
    }

    fn put(&self, mut bytes: Vec<u8>) {
        let worth_it = limits::KEPT_BODY_BYTES_MIN..=limits::KEPT_BODY_BYTES;
        if !worth_it.contains(&bytes.capacity()) {
            return;
        }
        bytes.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < limits::KEPT_BODIES {
            kept.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(std::mem::take(&mut self.bytes));
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Vec::from(bytes).into()
    }
}

impl BodyText {
    /// The text of `buffer`, if its bytes are UTF-8. They are not copied.
    pub fn new(mut buffer: Buffer) -> Option<Self> {
        let home = buffer.home.take();
        match String::from_utf8(std::mem::take(&mut buffer.bytes)) {
            Ok(text) => Some(Self(Arc::new(Text { text, home }))),
            Err(error) => {
                (buffer.bytes, buffer.home) = (error.into_bytes(), home);
                None
            }
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.0.text.len()
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(std::mem::take(&mut self.text).into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 2 * limits::KEPT_BODY_BYTES_MIN;

    fn kept(buffers: &Buffers) -> Vec<usize> {
        buffers.0.lock().unwrap().iter().map(Vec::capacity).collect()
    }

    fn filled(buffers: &Buffers, bytes: usize) -> Buffer {
        let mut buffer = buffers.take(bytes);
        buffer.reserve_exact(bytes);
        buffer.resize(bytes, b' ');
        buffer
    }

    #[test]
    fn the_memory_of_a_large_body_is_used_again() {
        let buffers = Buffers::default();
        let body = BodyText::new(filled(&buffers, LARGE)).unwrap();
        let shared = body.clone();
        drop(body);
        assert!(kept(&buffers).is_empty(), "someone still reads it");
        drop(shared);
        assert_eq!(kept(&buffers), [LARGE]);
        let again = buffers.take(LARGE);
        assert!(again.is_empty() && again.capacity() == LARGE);
        drop(again);
        let mut broken = filled(&buffers, LARGE);
        broken[0] = 0xff;
        assert!(BodyText::new(broken).is_none());
        assert_eq!(kept(&buffers), [LARGE], "a refused body gives its memory back too");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let buffers = Buffers::default();
        for bytes in [1, limits::KEPT_BODY_BYTES_MIN - 1, limits::KEPT_BODY_BYTES + 1] {
            drop(filled(&buffers, bytes));
            assert!(kept(&buffers).is_empty(), "{bytes}");
        }
        let many: Vec<_> = (0..=limits::KEPT_BODIES).map(|_| filled(&buffers, LARGE)).collect();
        drop(many);
        assert_eq!(kept(&buffers).len(), limits::KEPT_BODIES);
    }
}
