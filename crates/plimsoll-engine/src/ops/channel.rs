//! Channels: where notifications go.
//!
//! A channel's secrets and custom headers are sealed in its row. A secret is shown once, when it is
//! made; a header whose name says that its value is a credential is shown as `***`.
//!
//! Not here: sending (`delivery`), which URLs and headers are refused (`delivery::guard`).

use std::collections::BTreeMap;

use plimsoll_core::{ids::ChannelId, limits, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    delivery::{formats::Format, guard::AllowList},
    ops::{
        document::{Document, Kind},
        fields::{self, Metadata, MetadataPatch},
        notification_type,
        problem::{Problem, ProblemCode},
        request::{Immutable, Patch},
        scalar::{as_text, as_text_or_null},
        secret::Sealed,
    },
    vault::{Unopenable, Vault},
};

mod guarded;
mod methods;

pub use methods::register;

/// Why a delivery to a channel that is disabled or gone has failed.
pub(crate) const CHANNEL_DISABLED: &str = "channel_disabled";

/// A channel, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Channel {
    /// The channel's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "chn_01K0000000000000000000000A")]
    pub id: ChannelId,
    /// What it speaks.
    pub r#type: ChannelType,
    /// What people call it.
    #[schema(example = "ops")]
    pub name: String,
    /// Where requests go.
    #[schema(example = "https://example.com/hooks")]
    pub url: String,
    /// The wire format of what is sent.
    pub format: ChannelFormat,
    /// The life-cycle types that it takes directly; `*` is all. What rules send comes anyway.
    #[schema(example = json!(["*"]))]
    pub event_types: Vec<String>,
    /// Custom headers by their names in lower case; a credential is shown as `***`.
    pub headers: BTreeMap<String, String>,
    /// Requests a second at the most; no limit if null.
    pub rate_limit: Option<u32>,
    /// Whether nothing is sent to it.
    pub disabled: bool,
    /// Texts that Plimsoll keeps and never reads.
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// When it was made.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What a channel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelType {
    /// HTTP POST of a signed JSON document.
    Webhook,
}

/// The wire format of what a channel sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelFormat {
    /// Plimsoll's own.
    Plimsoll,
}

/// A channel with the secret that was just made or supplied, which is shown this once.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CreatedChannel {
    /// The channel.
    #[serde(flatten)]
    pub channel: Channel,
    /// What verifies signatures. It cannot be shown again.
    #[schema(example = "whsec_…")]
    pub secret: String,
}

/// A channel as its row keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChannel {
    /// What the API shows of it.
    #[serde(flatten)]
    pub channel: Channel,
    /// The secrets that sign, the newest first.
    secrets: Vec<StoredSecret>,
    /// All custom headers as one JSON object.
    sealed_headers: Sealed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredSecret {
    sealed: Sealed,
    #[serde(with = "as_text_or_null")]
    expires_at: Option<Timestamp>,
}

/// A channel to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateChannel {
    /// `webhook`.
    #[schema(value_type = ChannelType)]
    pub r#type: String,
    /// What people call it.
    #[schema(example = "ops")]
    pub name: String,
    /// Where requests go: `https://…`, or `http://…`.
    #[schema(example = "https://example.com/hooks")]
    pub url: String,
    /// `plimsoll`, which is also what an absent one means.
    #[serde(default)]
    #[schema(value_type = Option<ChannelFormat>)]
    pub format: Option<String>,
    /// The life-cycle types to take directly, or `*`; none if absent.
    #[serde(default)]
    #[schema(example = json!(["*"]))]
    pub event_types: Vec<String>,
    /// Headers to send with each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A secret to sign with, `whsec_…` or `whsk_…`; a new one is made if absent.
    #[serde(default)]
    pub secret: Option<String>,
    /// Requests a second at the most; no limit if absent.
    #[serde(default)]
    pub rate_limit: Option<u32>,
    /// Whether nothing is to be sent to it for now.
    #[serde(default)]
    pub disabled: bool,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of a channel. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateChannel {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Where requests go.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub url: Patch<String>,
    /// `plimsoll`.
    #[serde(default)]
    #[schema(value_type = Option<ChannelFormat>)]
    pub format: Patch<String>,
    /// The life-cycle types to take directly, in place of those before.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub event_types: Patch<Vec<String>>,
    /// Headers to set, or to remove by null. `***` leaves one as it is.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub headers: Patch<BTreeMap<String, Option<String>>>,
    /// Requests a second at the most; null for no limit.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub rate_limit: Patch<u32>,
    /// Whether nothing is to be sent to it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub disabled: Patch<bool>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    r#type: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    secret: Immutable,
}

/// A new secret for a channel. The old one signs beside it for 24 hours.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// The new secret, `whsec_…` or `whsk_…`; one is made if absent.
    #[serde(default)]
    pub secret: Option<String>,
}

impl ChannelFormat {
    /// As deliveries name it, with its version.
    pub(crate) const fn versioned(self) -> &'static str {
        match self {
            Self::Plimsoll => Format::Plimsoll.versioned(),
        }
    }
}

impl Document for StoredChannel {
    type Id = ChannelId;
    const KIND: Kind = Kind::Channel;

    fn id(&self) -> ChannelId {
        self.channel.id
    }
}

impl CreateChannel {
    /// The channel to be stored, with its secret in `secret`.
    fn into_stored(
        self,
        id: ChannelId,
        now: Timestamp,
        secret: &str,
        vault: &Vault,
        allow: &AllowList,
    ) -> Result<StoredChannel, Problem> {
        if self.r#type != "webhook" {
            let detail = format!("{:?} is not available; there is webhook", self.r#type);
            return Err(Problem::at(ProblemCode::ChannelTypeNotAvailable, "type", detail));
        }
        fields::name("name", &self.name)?;
        guarded::check_url(&self.url, allow)?;
        check_event_types(&self.event_types)?;
        check_rate_limit(self.rate_limit)?;
        fields::metadata(&self.metadata)?;
        let headers = guarded::checked_headers(self.headers)?;
        Ok(StoredChannel {
            secrets: vec![StoredSecret {
                sealed: Sealed::seal(vault, id, secret),
                expires_at: None,
            }],
            sealed_headers: guarded::seal_headers(vault, id, &headers),
            channel: Channel {
                id,
                r#type: ChannelType::Webhook,
                name: self.name,
                url: self.url,
                format: read_format(self.format.as_deref().unwrap_or("plimsoll"))?,
                event_types: self.event_types,
                headers: guarded::shown_headers(headers),
                rate_limit: self.rate_limit,
                disabled: self.disabled,
                metadata: self.metadata,
                created_at: now,
                updated_at: now,
            },
        })
    }
}

impl UpdateChannel {
    fn apply(
        self,
        before: &StoredChannel,
        now: Timestamp,
        vault: &Vault,
        allow: &AllowList,
    ) -> Result<StoredChannel, Problem> {
        self.r#type.check("type")?;
        if self.secret.check("secret").is_err() {
            let detail = "a secret is changed by POST /v1/channels/{channel}/rotate-secret";
            return Err(Problem::at(ProblemCode::FieldImmutable, "secret", detail));
        }
        let mut after = before.clone();
        let channel = &mut after.channel;
        channel.name = fields::never_null("name", self.name, channel.name.clone())?;
        fields::name("name", &channel.name)?;
        if !matches!(self.url, Patch::Keep) {
            channel.url = fields::never_null("url", self.url, String::new())?;
            guarded::check_url(&channel.url, allow)?;
        }
        if let Patch::Set(format) = &self.format {
            channel.format = read_format(format)?;
        }
        channel.event_types = match self.event_types {
            Patch::Keep => std::mem::take(&mut channel.event_types),
            Patch::Clear => Vec::new(),
            Patch::Set(types) => types,
        };
        check_event_types(&channel.event_types)?;
        channel.rate_limit = self.rate_limit.apply(channel.rate_limit);
        check_rate_limit(channel.rate_limit)?;
        channel.disabled = fields::never_null("disabled", self.disabled, channel.disabled)?;
        let metadata = std::mem::take(&mut channel.metadata);
        channel.metadata = fields::patched_metadata(metadata, self.metadata)?;
        channel.updated_at = now;
        if !matches!(self.headers, Patch::Keep) {
            let current = before.open_headers(vault).map_err(unopenable)?;
            let headers = guarded::patched_headers(current, self.headers)?;
            after.sealed_headers = guarded::seal_headers(vault, before.channel.id, &headers);
            after.channel.headers = guarded::shown_headers(headers);
        }
        Ok(after)
    }
}

impl StoredChannel {
    fn open_headers(&self, vault: &Vault) -> Result<BTreeMap<String, String>, Unopenable> {
        let text = self.sealed_headers.open(vault, self.channel.id)?;
        serde_json::from_str(&text).map_err(|_| Unopenable)
    }

    /// The same channel with a new secret; the ones before sign until `overlap_ends`.
    fn rotated(&self, secret: &str, now: Timestamp, vault: &Vault) -> Self {
        let overlap_ends = now.plus_ms(limits::SECRET_OVERLAP_MS);
        let mut after = self.clone();
        after.secrets.retain(|it| it.expires_at.is_none_or(|it| now < it));
        for old in &mut after.secrets {
            old.expires_at = Some(old.expires_at.map_or(overlap_ends, |it| it.min(overlap_ends)));
        }
        let sealed = Sealed::seal(vault, self.channel.id, secret);
        after.secrets.insert(0, StoredSecret { sealed, expires_at: None });
        after.secrets.truncate(limits::CHANNEL_SECRETS);
        after.channel.updated_at = now;
        after
    }
}

fn read_format(text: &str) -> Result<ChannelFormat, Problem> {
    match text {
        "plimsoll" => Ok(ChannelFormat::Plimsoll),
        other => {
            let detail = format!("{other:?} is not available; there is plimsoll");
            Err(Problem::at(ProblemCode::FormatNotAvailable, "format", detail))
        }
    }
}

fn check_event_types(types: &[String]) -> Result<(), Problem> {
    fields::distinct("event_types", types, notification_type::NOTIFICATION_TYPES.len())?;
    let unknown = |it: &String| it != "*" && !notification_type::is_known(it);
    if let Some(index) = types.iter().position(unknown) {
        let detail = format!("{:?} is not a notification type", types[index]);
        let field = format!("event_types[{index}]");
        return Err(Problem::at(ProblemCode::UnknownEventType, field, detail));
    }
    Ok(())
}

fn check_rate_limit(rate_limit: Option<u32>) -> Result<(), Problem> {
    match rate_limit {
        Some(0) => {
            let detail = "rate_limit is at least 1 a second; null means no limit";
            Err(Problem::invalid("rate_limit", detail))
        }
        Some(_) | None => Ok(()),
    }
}

fn unopenable(error: Unopenable) -> Problem {
    tracing::error!(%error, "a channel cannot be changed");
    Problem::new(ProblemCode::Internal, "the channel's stored secrets cannot be opened")
}
