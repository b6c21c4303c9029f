//! The wire formats that a channel can speak.
//!
//! A notification's body is frozen when it is made, in the format of the channel that it goes to;
//! what a format adds here are the headers of each attempt.
//!
//! Not here: the bodies (they come frozen), and the formats of other vendors (a later issue).

use std::{fmt, str::FromStr};

/// A wire format, with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// Our own: the canonical document, the headers of Standard Webhooks.
    #[default]
    Plimsoll,
}

/// The text does not name a wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the wire format plimsoll")]
pub struct UnknownFormat;

impl Format {
    /// The name, as a channel shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plimsoll => "plimsoll",
        }
    }

    /// `format@version`, as a delivery keeps it.
    pub const fn versioned(self) -> &'static str {
        match self {
            Self::Plimsoll => "plimsoll@1",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    /// Reads the name with or without a version.
    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "plimsoll" | "plimsoll@1" => Ok(Self::Plimsoll),
            _ => Err(UnknownFormat),
        }
    }
}
