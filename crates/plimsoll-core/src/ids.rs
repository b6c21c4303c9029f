//! Typed identifiers: a prefix that says what is named, and a 128-bit ULID.
//!
//! An id is made of 48 bits of milliseconds and 80 bits that the caller supplies: random ones for
//! resources, bits of an identity's hash for notifications. Ids sort by time as text and as bytes.
//!
//! Not here: where the random bits come from (the engine's `deps::Random`).

use std::{fmt, str::FromStr};

use crate::time::Timestamp;

/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a ULID as text.
const TEXT_LENGTH: usize = 26;

/// The text was not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_ followed by 26 characters of Crockford base 32")]
pub struct InvalidId {
    /// The prefix that was expected, without the underscore.
    pub prefix: &'static str,
}

fn encode(bits: u128) -> [u8; TEXT_LENGTH] {
    let mut text = [b'0'; TEXT_LENGTH];
    let mut rest = bits;
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET[(rest & 31) as usize];
        rest >>= 5;
    }
    text
}

fn decode(text: &[u8]) -> Option<u128> {
    // 26 characters hold 130 bits: the first may only use its lowest three.
    if text.len() != TEXT_LENGTH || text[0] > b'7' {
        return None;
    }
    let mut bits = 0_u128;
    for character in text {
        let value = ALPHABET.iter().position(|it| it == character)?;
        bits = (bits << 5) | value as u128;
    }
    Some(bits)
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What the text form starts with, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from milliseconds since the epoch and 80 further bits.
            ///
            /// Bits above 48 of `ms` and above 80 of `low` are ignored.
            pub const fn from_parts(ms: u64, low: u128) -> Self {
                let high = (ms as u128) & ((1 << 48) - 1);
                Self((high << 80) | (low & ((1 << 80) - 1)))
            }

            /// The id as a number, for storage in bytes.
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// The id with these bits, read back from storage.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = encode(self.0);
                let text = std::str::from_utf8(&text).map_err(|_| fmt::Error)?;
                write!(f, concat!($prefix, "_{}"), text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| decode(rest.as_bytes()))
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }
    )*};
}

ids! {
    /// One installation's store; made when the store is created.
    StoreId = "sto";
    /// An environment: everything else belongs to exactly one.
    EnvironmentId = "env";
    /// An API key (the record of it, never its secret).
    ApiKeyId = "key";
    /// A meter.
    MeterId = "mtr";
    /// A feature.
    FeatureId = "fea";
    /// A customer.
    CustomerId = "cus";
    /// An entitlement.
    EntitlementId = "ent";
    /// A grant of an entitlement.
    GrantId = "grt";
    /// A rule.
    RuleId = "rul";
    /// A line inside a rule; minted when the line enters the rule.
    LineId = "lin";
    /// A channel.
    ChannelId = "chn";
    /// A notification.
    NotificationId = "ntf";
    /// A delivery of a notification to a channel.
    DeliveryId = "dlv";
    /// A row of the audit trail.
    AuditId = "aud";
}

impl NotificationId {
    /// The id of the notification of what happened at a time and has this digest: the time's
    /// milliseconds, and the first 80 bits of the digest.
    pub fn of_digest(at: Timestamp, digest: &[u8; 32]) -> Self {
        let low = digest.iter().take(10).fold(0_u128, |bits, it| (bits << 8) | u128::from(*it));
        Self::from_parts(at.as_ms().max(0) as u64, low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_sorts_by_time() {
        let early = CustomerId::from_parts(1, u128::MAX);
        let late = CustomerId::from_parts(2, 0);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(late.to_string().parse(), Ok(late));
        assert_eq!(late.to_string().len(), 4 + TEXT_LENGTH);
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        let good = RuleId::from_parts(7, 9).to_string();
        let cases = [
            String::new(),
            "rul_".to_owned(),
            good.replace("rul", "lin"),
            good.replace('7', "U"),
            format!("{good}0"),
            format!("rul_8{}", &good[5..]),
        ];
        for case in cases {
            assert_eq!(case.parse::<RuleId>(), Err(InvalidId { prefix: "rul" }), "{case}");
        }
    }
}
