//! Secrets of channels at rest: sealed for their channel, as text inside its document.
//!
//! Not here: the cipher (`vault`), what a secret signs (`delivery::signature`).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use plimsoll_core::ids::ChannelId;
use serde::{Deserialize, Serialize};

use crate::vault::{Unopenable, Vault};

/// A text that only the vault can read, and only for the channel that it was sealed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sealed(String);

impl Sealed {
    /// Seals a text for a channel.
    pub(crate) fn seal(vault: &Vault, channel: ChannelId, text: &str) -> Self {
        let bytes = vault.seal(text.as_bytes(), channel.to_string().as_bytes());
        Self(BASE64_STANDARD.encode(bytes))
    }

    /// Reads the text.
    pub(crate) fn open(&self, vault: &Vault, channel: ChannelId) -> Result<String, Unopenable> {
        let bytes = BASE64_STANDARD.decode(&self.0).map_err(|_| Unopenable)?;
        let text = vault.open(&bytes, channel.to_string().as_bytes())?;
        String::from_utf8(text).map_err(|_| Unopenable)
    }
}
