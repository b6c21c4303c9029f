//! What all documents have in common: a kind, an id, and perhaps a key.

use std::{fmt, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};

/// A document that the store keeps as one row.
pub trait Document: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its kind of id.
    type Id: Copy + Ord + fmt::Display + fmt::Debug + FromStr + Send + Sync;
    /// What it is.
    const KIND: Kind;

    /// Its id.
    fn id(&self) -> Self::Id;

    /// The key that people may say in place of the id.
    fn key(&self) -> Option<&str> {
        None
    }
}

/// What a document is, as rows and audit entries say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An environment.
    Environment,
    /// An API key.
    ApiKey,
    /// A meter.
    Meter,
    /// A feature.
    Feature,
    /// A customer.
    Customer,
    /// An entitlement.
    Entitlement,
    /// A grant of an entitlement.
    Grant,
    /// A channel.
    Channel,
    /// A rule.
    Rule,
    /// A notification; only in audit entries.
    Notification,
}

impl Kind {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::ApiKey => "api_key",
            Self::Meter => "meter",
            Self::Feature => "feature",
            Self::Customer => "customer",
            Self::Entitlement => "entitlement",
            Self::Grant => "grant",
            Self::Channel => "channel",
            Self::Rule => "rule",
            Self::Notification => "notification",
        }
    }

    /// As a sentence says it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            other => other.as_str(),
        }
    }
}
