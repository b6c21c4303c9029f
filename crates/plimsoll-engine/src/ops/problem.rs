//! What is told to a caller whose request cannot be done: a stable code, and words for people.
//!
//! Every code has a page in `docs/reference/errors`, so that the answer can point at it. A code,
//! once released, keeps its meaning and its status.
//!
//! Not here: how a problem looks in HTTP (`plimsoll-server`).

use std::fmt;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Problem {
    /// What happened, for programs.
    pub code: ProblemCode,
    /// Which field of the request is at fault, as a path such as `lines[1].value`.
    pub field: Option<String>,
    /// What happened, for people: one sentence about this very request.
    pub detail: String,
    /// After how many seconds the same request may succeed, where that is known.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of the request as a whole.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, field: None, detail: detail.into(), retry_after_s: None }
    }

    /// A problem of one field of the request.
    pub fn at(code: ProblemCode, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(code, detail) }
    }

    /// The same problem, with the time after which to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// What every problem with this code has in common, for people.
    pub fn title(&self) -> &'static str {
        self.code.title()
    }

    /// Nothing of this kind answers to this name in the caller's environment.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("there is no {kind} {name:?}"))
    }

    /// A value of the request breaks its rule.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::at(ProblemCode::InvalidField, field, detail)
    }
}

macro_rules! problem_codes {
    ($($name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// The stable codes of problems.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ProblemCode {
            $(
                #[doc = $title]
                $name,
            )*
        }

        impl ProblemCode {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as programs see it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The HTTP status that goes with it, always the same.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// A few words for people, always the same.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

problem_codes! {
    // The request as text.
    MalformedJson = "malformed_json", 400, "The body is not JSON";
    JsonTooDeep = "json_too_deep", 400, "The body is nested too deeply";
    InvalidParameter = "invalid_parameter", 400, "A query parameter is not understood";
    InvalidCursor = "invalid_cursor", 400, "The cursor is not one that a list gave";
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    TooManyEvents = "too_many_events", 413, "The batch has too many events";
    UnsupportedMediaType = "unsupported_media_type", 415, "The content type is not understood";
    UnsupportedEncoding = "unsupported_encoding", 415, "The content encoding is not understood";
    MethodNotAllowed = "method_not_allowed", 405, "The route does not take this method";
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time";

    // Who asks.
    Unauthenticated = "unauthenticated", 401, "The request carries no valid API key";
    KeyExpired = "key_expired", 401, "The API key has expired";
    InsufficientScope = "insufficient_scope", 403, "The API key may not do this";

    // What is addressed.
    NotFound = "not_found", 404, "There is nothing here";

    // Fields, whatever the resource.
    MissingField = "missing_field", 422, "A required field is missing";
    UnknownField = "unknown_field", 422, "The request has a field that does not exist";
    DuplicateField = "duplicate_field", 422, "A field is given twice";
    InvalidField = "invalid_field", 422, "A field has a value that it cannot have";
    InvalidCharacter = "invalid_character", 422, "A text holds a character that is not allowed";
    FieldImmutable = "field_immutable", 422, "The field cannot be changed";
    InvalidKey = "invalid_key", 422, "The key is not one";
    InvalidMetadata = "invalid_metadata", 422, "The metadata is over a bound";
    TooManyItems = "too_many_items", 422, "A list in the request is too long";
    KeyInUse = "key_in_use", 409, "Another resource of this kind has the key";
    ConcurrentChange = "concurrent_change", 409, "The resource was changed at the same moment";
    ResourceLimit = "resource_limit", 409, "The environment holds no more resources of this kind";

    // Meters and features.
    UnknownAggregation = "unknown_aggregation", 422, "The aggregation does not exist";
    ValuePropertyRequired =
        "value_property_required", 422, "The aggregation needs a value property";
    ValuePropertyNotAllowed =
        "value_property_not_allowed", 422, "The aggregation takes no value property";
    InvalidValueProperty = "invalid_value_property", 422, "The value property is not a path";
    MultiplierRequired = "multiplier_required", 422, "The aggregation needs a multiplier";
    MultiplierNotAllowed =
        "multiplier_not_allowed", 422, "The aggregation takes no multiplier";
    InvalidMultiplier = "invalid_multiplier", 422, "The multiplier is not above zero";
    UnknownBucket = "unknown_bucket", 422, "There are no buckets of this length";
    BucketNotAllowed = "bucket_not_allowed", 422, "The aggregation takes no buckets";
    InvalidGroupBy = "invalid_group_by", 422, "A group-by key has no usable name or path";
    InvalidFilter = "invalid_filter", 422, "A filter cannot be applied";
    MeterNotFound = "meter_not_found", 422, "The request names a meter that does not exist";
    MeterInUse = "meter_in_use", 409, "A feature is measured by the meter";
    UnknownFeatureType = "unknown_feature_type", 422, "The feature type does not exist";
    FeatureNotFound = "feature_not_found", 422, "The request names a feature that does not exist";
    FeatureInUse = "feature_in_use", 409, "An entitlement or a rule names the feature";

    // Customers and entitlements.
    CustomerNotFound =
        "customer_not_found", 422, "The request names a customer that does not exist";
    SubjectInUse = "subject_in_use", 409, "The subject belongs to another customer";
    EntitlementExists =
        "entitlement_exists", 409, "The customer is entitled to the feature already";
    EntitlementTypeMismatch =
        "entitlement_type_mismatch", 422, "The entitlement's type is not its feature's";
    EntitlementNotMetered =
        "entitlement_not_metered", 422, "Only a metered entitlement has usage";
    LimitOverflow = "limit_overflow", 422, "The sources add up to more than can be held";
    InvalidSource = "invalid_source", 422, "A source of the entitlement is not one";
    InvalidTier = "invalid_tier", 422, "A tier of the entitlement is not one";
    UsageNotMeasurable =
        "usage_not_measurable", 422, "The usage of the period so far is not known";
    TimeInPast = "time_in_past", 422, "The change would take effect in the past";
    ResetTooSoon = "reset_too_soon", 409, "The period began at this moment or later";

    AggregationNotLimitable =
        "aggregation_not_limitable", 422, "The feature's aggregation cannot be limited";

    // Channels.
    ChannelTypeNotAvailable =
        "channel_type_not_available", 422, "The type of channel is not available";
    FormatNotAvailable = "format_not_available", 422, "The wire format is not available";
    UrlTooLong = "url_too_long", 422, "The URL is too long";
    UrlCharacterNotAllowed =
        "url_character_not_allowed", 422, "The URL holds a character that is not allowed";
    UrlSchemeNotAllowed = "url_scheme_not_allowed", 422, "The URL is neither https nor http";
    UrlInvalid = "url_invalid", 422, "The URL is not one";
    UrlCredentialsNotAllowed =
        "url_credentials_not_allowed", 422, "The URL holds a user name or a password";
    UrlHostNotAllowed = "url_host_not_allowed", 422, "The URL names a host that is not public";
    UrlAddressNotAllowed =
        "url_address_not_allowed", 422, "The URL leads to an address that is not public";
    UrlPortNotAllowed = "url_port_not_allowed", 422, "The URL has the port of another protocol";
    HeaderNameInvalid = "header_name_invalid", 422, "The header's name is not one";
    HeaderNameReserved = "header_name_reserved", 422, "The header is set by the sender";
    HeaderValueInvalid = "header_value_invalid", 422, "The header's value cannot be sent";
    HeaderValueTooLong = "header_value_too_long", 422, "The header's value is too long";
    UnknownEventType = "unknown_event_type", 422, "The notification type does not exist";
    InvalidSecret = "invalid_secret", 422, "The secret is not one";
    ChannelNotFound = "channel_not_found", 422, "The request names a channel that does not exist";
    ChannelInUse = "channel_in_use", 409, "A rule names the channel";

    // Rules.
    UnknownRuleType = "unknown_rule_type", 422, "The rule type does not exist";
    LinesRequired = "lines_required", 422, "The rule type needs lines";
    LinesNotAllowed = "lines_not_allowed", 422, "The rule type takes no lines";
    LineValueInvalid = "line_value_invalid", 422, "The line's value is out of range";
    DuplicateLine = "duplicate_line", 422, "The rule has the same line twice";
    GroupNotAllowed = "group_not_allowed", 422, "The kind of line takes no group";
    InvalidGroup = "invalid_group", 422, "The line's group is over a bound";
    GroupKeyNotFound =
        "group_key_not_found", 422, "No feature of the rule is told apart by the key";
    InvalidWarningPercentage =
        "invalid_warning_percentage", 422, "The warning percentage is out of range";

    // Keys and environments.
    LastAdminKey = "last_admin_key", 409, "The environment would have no admin key left";

    // Reading usage.
    UnknownGroupKey = "unknown_group_key", 422, "The meter has no such group-by key";
    TimeNotAligned = "time_not_aligned", 422, "The time is not the start of a whole window";
    MinutesTooOld = "minutes_too_old", 422, "Minutes are kept for a day only";
    RangeTooLarge = "range_too_large", 422, "The request asks for more than one answer can hold";
    UsageOutOfRange = "usage_out_of_range", 422, "The usage has more digits than can be held";
    ClockNotSettable =
        "clock_not_settable", 409, "The environment follows the machine's clock";
    ClockBackwards = "clock_backwards", 409, "The clock would go back";

    // Usage. All but the first and the last stand in the list of what was rejected.
    EventMalformed = "event_malformed", 422, "The event is not a CloudEvent";
    EventNotAnObject = "event_not_an_object", 422, "The event is not a JSON object";
    SpecversionUnsupported = "specversion_unsupported", 422, "The event is not CloudEvents 1.0";
    AttributeMissing = "attribute_missing", 422, "The event lacks an attribute";
    AttributeNotAString = "attribute_not_a_string", 422, "An attribute of the event is no string";
    AttributeLength = "attribute_length", 422, "An attribute of the event is empty or too long";
    AttributeControlCharacter =
        "attribute_control_character", 422, "An attribute of the event holds a control character";
    AttributeRepeated = "attribute_repeated", 422, "An attribute of the event is given twice";
    InvalidText = "invalid_text", 422, "The event holds a text that is none";
    DataBase64Unsupported = "data_base64_unsupported", 422, "The event carries its data as base64";
    EventTooLarge = "event_too_large", 422, "The event is too large";
    EventTimeInvalid = "event_time_invalid", 422, "The event's time is not RFC 3339";
    EventTimeTooOld = "event_time_too_old", 422, "The event is older than the dedupe window";
    EventTimeInFuture = "event_time_in_future", 422, "The event is from the future";
    UnknownSubject = "unknown_subject", 422, "No customer has the event's subject";
    CustomerDeleted = "customer_deleted", 422, "The event's customer has been deleted";
    NothingAccepted = "nothing_accepted", 422, "Every event of the batch was rejected";

    // Repeating a request.
    InvalidIdempotencyKey = "invalid_idempotency_key", 400, "The idempotency key is not one";
    IdempotencyInFlight =
        "idempotency_in_flight", 409, "A request with this idempotency key is being done";
    IdempotencyKeyReused =
        "idempotency_key_reused", 422, "The idempotency key was used for another request";

    // The server.
    TooManyRequests = "too_many_requests", 429, "The server has as much to do as it will take";
    RetrySameIds = "retry_same_ids", 503, "It is not known whether the events were stored";
    Unavailable = "unavailable", 503, "The store does not answer";
    Internal = "internal", 500, "Something is wrong in the server";
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    #[test]
    fn codes_are_distinct_snake_case_and_errors() {
        let texts: BTreeSet<_> = ProblemCode::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(texts.len(), ProblemCode::ALL.len());
        for code in ProblemCode::ALL {
            let text = code.as_str();
            let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
            assert!(text.bytes().all(plain), "{text}");
            assert!((400..=503).contains(&code.status()), "{text}");
        }
    }

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/errors");
        for code in ProblemCode::ALL {
            let page = folder.join(format!("{code}.md"));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(text.starts_with(&format!("# {code}\n")), "no page at {}", page.display());
            let lines = text.lines().filter(|it| !it.is_empty()).count();
            assert!((3..=8).contains(&lines), "{code} has {lines} lines");
            let status = format!("HTTP {}.", code.status());
            assert!(text.contains(&status), "{code} does not say {status}");
        }
        let known: BTreeSet<_> = ProblemCode::ALL.iter().map(|it| format!("{it}.md")).collect();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "README.md" || known.contains(&name), "{name} is no code");
        }
    }
}
