//! Reads `Retry-After`, which receivers write in every imaginable way.
//!
//! Not here: how much of it is honoured (`plimsoll_core::delivery::schedule`).

use hyper::header::{HeaderMap, RETRY_AFTER};
use plimsoll_core::time::Timestamp;

/// The wait that the headers ask for, in milliseconds; `None` if there is none that can be read.
///
/// A date is counted from `now`; one that has passed is a wait of 0.
pub(super) fn parse(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    seconds(text).or_else(|| date(text, now))
}

/// Whole seconds; a fraction, which the standard does not know but some send, is rounded up.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let rounding = i64::from(fraction.bytes().any(|it| it != b'0'));
    // Digits that do not fit are a very long wait, which is capped later anyway.
    let whole: i64 = whole.parse().unwrap_or(i64::MAX);
    Some(whole.saturating_add(rounding).saturating_mul(1_000))
}

fn date(text: &str, now: Timestamp) -> Option<i64> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let at = Timestamp::from_ms(i64::try_from(since_epoch.as_millis()).ok()?);
    Some(at.ms_since(now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, a minute earlier.
    const NOW: Timestamp = Timestamp::from_ms(784_111_717_000);

    fn check(text: &[u8], expected: Option<i64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.try_into().unwrap());
        assert_eq!(parse(&headers, NOW), expected, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn seconds_and_dates_are_read_and_the_rest_is_not() {
        check(b"120", Some(120_000));
        check(b" 120 ", Some(120_000));
        check(b"0", Some(0));
        check(b"120.6", Some(121_000));
        check(b"120.0", Some(120_000));
        check(b"99999999999", Some(99_999_999_999_000));
        check(&[b'9'; 100], Some(i64::MAX));
        check(b"Sun, 06 Nov 1994 08:49:37 GMT", Some(60_000));
        check(b"Sunday, 06-Nov-94 08:49:37 GMT", Some(60_000));
        check(b"Sun Nov  6 08:49:37 1994", Some(60_000));
        check(b"Sat, 05 Nov 1994 08:49:37 GMT", Some(0));
        for garbage in
            ["", "-1", "+5", "inf", "NaN", "1e300", "1.", ".5", "5 s", "soon", "١٢", "0x10"]
        {
            check(garbage.as_bytes(), None);
        }
        check(b"\xff\xfe", None);
        assert_eq!(parse(&HeaderMap::new(), NOW), None);
    }
}
