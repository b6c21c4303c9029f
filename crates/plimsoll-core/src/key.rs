//! Keys that people choose for resources: `tokens`, `acme`, `plan-2026.eu`.

use std::{fmt, str::FromStr};

use crate::limits;

/// A resource's key, unique among its kind inside an environment.
///
/// 1 to [`limits::KEY_BYTES`] bytes of printable text without white space at its ends. It must not
/// look like an id (`cus_…`), because a path segment may hold either, and must not be `.` or `..`,
/// which clients take out of a path before they send it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Empty, or longer than [`limits::KEY_BYTES`].
    #[error("a key has 1 to 256 bytes")]
    Length,
    /// Control characters, `/`, or white space at an end.
    #[error("a key has no control characters, no '/', and no white space at its ends")]
    Character,
    /// `.` or `..`, which no path can name.
    #[error("a key is not '.' or '..', which paths use for something else")]
    PathStep,
    /// It could be mistaken for an id.
    #[error("a key must not look like an id, such as cus_ followed by 26 characters")]
    LooksLikeId,
}

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() || text.len() > limits::KEY_BYTES {
            return Err(InvalidKey::Length);
        }
        if text.chars().any(|it| it.is_control() || it == '/') || text.trim() != text {
            return Err(InvalidKey::Character);
        }
        if text == "." || text == ".." {
            return Err(InvalidKey::PathStep);
        }
        if looks_like_id(text) {
            return Err(InvalidKey::LooksLikeId);
        }
        Ok(Self(text.into()))
    }
}

/// Whether `text` has the shape of any id of ours: three lower-case letters, `_`, 26 characters.
pub fn looks_like_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 30
        && bytes[..3].iter().all(u8::is_ascii_lowercase)
        && bytes[3] == b'_'
        && bytes[4..].iter().all(|it| it.is_ascii_digit() || it.is_ascii_uppercase())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let long = "k".repeat(limits::KEY_BYTES + 1);
        let cases = [
            ("acme", Ok(())),
            ("ACME Corp.", Ok(())),
            ("ünïcode", Ok(())),
            ("", Err(InvalidKey::Length)),
            (&long, Err(InvalidKey::Length)),
            (" a", Err(InvalidKey::Character)),
            ("a\0b", Err(InvalidKey::Character)),
            ("a/b", Err(InvalidKey::Character)),
            (".", Err(InvalidKey::PathStep)),
            ("..", Err(InvalidKey::PathStep)),
            ("...", Ok(())),
            ("cus_01ARZ3NDEKTSV4RRFFQ69G5FAV", Err(InvalidKey::LooksLikeId)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Key>().map(|_| ()), expected, "{text}");
        }
    }
}
