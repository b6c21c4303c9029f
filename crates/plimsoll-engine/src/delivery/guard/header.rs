//! Which custom headers a channel may send.
//!
//! A header that frames the message, names the host or looks like a signature would let a channel
//! speak for the sender or smuggle a second request.
//!
//! Not here: how many headers a channel has (`limits::CHANNEL_HEADERS`, checked where it is made).

use hyper::header::{HeaderName, HeaderValue};
use plimsoll_core::limits;

/// Names that the sender owns, and names that concern one connection only.
const RESERVED: [&str; 24] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-http-method-override",
    "x-method-override",
];

/// What every name of a signature header begins with, in every wire format.
const RESERVED_PREFIXES: [&str; 4] = ["webhook-", "svix-", "x-schematic-", "x-plimsoll-"];

/// Why a custom header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeaderRefusal {
    /// The name is empty or has a character that names do not have.
    #[error("the name of a header consists of letters, digits and hyphens")]
    InvalidName,
    /// The name belongs to the sender or to the connection.
    #[error("this header is set by the sender and cannot be changed")]
    ReservedName,
    /// The value has a character other than printable ASCII.
    #[error("the value of a header consists of printable ASCII characters")]
    InvalidValue,
    /// The value is too long.
    #[error("the value of a header has at most {} bytes", limits::HEADER_VALUE_BYTES)]
    TooLong,
}

impl HeaderRefusal {
    /// The stable code of the API.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidName => "header_name_invalid",
            Self::ReservedName => "header_name_reserved",
            Self::InvalidValue => "header_value_invalid",
            Self::TooLong => "header_value_too_long",
        }
    }
}

/// Judges one custom header, and gives it in the form in which it is sent.
///
/// The value is marked as sensitive, so that it is not printed: it is often a credential.
pub fn vet_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderRefusal> {
    let name = HeaderName::try_from(name).map_err(|_| HeaderRefusal::InvalidName)?;
    let text = name.as_str();
    if RESERVED.contains(&text) || RESERVED_PREFIXES.iter().any(|it| text.starts_with(it)) {
        return Err(HeaderRefusal::ReservedName);
    }
    if value.len() > limits::HEADER_VALUE_BYTES {
        return Err(HeaderRefusal::TooLong);
    }
    if !value.bytes().all(|it| matches!(it, b' '..=b'~')) {
        return Err(HeaderRefusal::InvalidValue);
    }
    let mut value = HeaderValue::try_from(value).map_err(|_| HeaderRefusal::InvalidValue)?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expected: Result<(), HeaderRefusal>) {
        assert_eq!(vet_header(name, value).map(|_| ()), expected, "{name:?}: {value:?}");
    }

    #[test]
    fn headers_of_the_receiver_pass() {
        check("authorization", "Bearer x", Ok(()));
        check("Authorization", "Bearer x", Ok(()));
        check("x-api-key", "", Ok(()));
        check("x-team", "a,b;c=\"d\"", Ok(()));
        check("cookie", "a=b", Ok(()));
        check("x-long", &"v".repeat(limits::HEADER_VALUE_BYTES), Ok(()));
    }

    #[test]
    fn headers_of_the_sender_are_refused() {
        for name in RESERVED {
            check(name, "x", Err(HeaderRefusal::ReservedName));
            check(&name.to_uppercase(), "x", Err(HeaderRefusal::ReservedName));
        }
        for name in [
            "webhook-id",
            "Webhook-Signature",
            "webhook-anything",
            "svix-id",
            "X-Schematic-Webhook-Signature",
            "x-plimsoll-test",
        ] {
            check(name, "x", Err(HeaderRefusal::ReservedName));
        }
    }

    #[test]
    fn what_would_break_the_message_is_refused() {
        for name in ["", " ", "a b", "a:", "a\r\nb", "a\0", "naïve", "\u{ff48}ost", "a\n"] {
            check(name, "x", Err(HeaderRefusal::InvalidName));
        }
        for value in ["a\r\nhost: b", "a\nb", "a\rb", "a\0b", "\t", "naïve", "\u{7f}", "☃"] {
            check("x-a", value, Err(HeaderRefusal::InvalidValue));
        }
        let long = "v".repeat(limits::HEADER_VALUE_BYTES + 1);
        check("x-a", &long, Err(HeaderRefusal::TooLong));
    }

    #[test]
    fn a_value_is_not_printed() {
        let (_, value) = vet_header("authorization", "Bearer secret").unwrap();
        assert!(!format!("{value:?}").contains("secret"));
    }
}
