//! CloudEvents in binary mode: attributes in `ce-…` headers, the body is the data.
//!
//! The event is put together as the structured JSON that it stands for, so that everything behind
//! knows one form only.
//!
//! Not here: which attributes an event must have (`plimsoll_engine::ingest`).

use axum::http::{HeaderMap, HeaderValue};
use plimsoll_engine::ops::problem::ProblemCode;
use serde_json::{Map, Value, value::RawValue};

use crate::problem::{Answer, Ending};

/// What an attribute's header begins with.
const PREFIX: &str = "ce-";
/// The attribute without which no CloudEvent is one.
const SPECVERSION: &str = "ce-specversion";

/// Whether the request is an event in binary mode.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    headers.contains_key(SPECVERSION)
}

/// The structured form of the event whose data is `data`, which is JSON or empty.
pub(crate) fn structured(headers: &HeaderMap, data: &[u8]) -> Answer<Vec<u8>> {
    let mut event = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        // The data is the body: a header of that name would be a second one.
        if attribute == "data" || attribute == "data_base64" || attribute == "datacontenttype" {
            let detail = "the body is the data, and content-type is its type";
            return Err(Ending::at(ProblemCode::EventMalformed, name.as_str(), detail));
        }
        let text = decode(name.as_str(), value)?;
        if event.insert(attribute.to_owned(), Value::String(text)).is_some() {
            let detail = "the attribute is given twice";
            return Err(Ending::at(ProblemCode::EventMalformed, name.as_str(), detail));
        }
    }
    let mut text = serde_json::to_vec(&event).expect("a map of texts is JSON");
    if !data.is_empty() {
        // Checked by itself, so that it cannot end the object and write attributes behind it.
        let data: &RawValue = serde_json::from_slice(data).map_err(|error| {
            Ending::new(ProblemCode::MalformedJson, format!("the body is not JSON: {error}"))
        })?;
        text.pop();
        text.extend_from_slice(b",\"data\":");
        text.extend_from_slice(data.get().as_bytes());
        text.push(b'}');
    }
    Ok(text)
}

/// The text of a header's value: percent-encoded UTF-8, as the HTTP binding of CloudEvents says.
fn decode(name: &str, value: &HeaderValue) -> Answer<String> {
    let wrong = || {
        let detail = "the value is not percent-encoded UTF-8";
        Ending::at(ProblemCode::EventMalformed, name, detail)
    };
    let text = value.to_str().map_err(|_| wrong())?;
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn attributes_and_data_become_one_object() {
        let plain = [("ce-specversion", "1.0"), ("ce-id", "a"), ("content-type", "text/json")];
        let encoded = [("ce-specversion", "1.0"), ("ce-subject", "Caf%C3%A9%20%22x%22")];
        let broken = [("ce-specversion", "1.0"), ("ce-subject", "%ff")];
        let twice = [("ce-specversion", "1.0"), ("ce-id", "a"), ("ce-id", "b")];
        let data = [("ce-specversion", "1.0"), ("ce-data", "{}")];
        let cases = [
            (&plain[..], "", Ok(r#"{"specversion":"1.0","id":"a"}"#)),
            (&plain, "{\"n\":1.50}", Ok(r#"{"specversion":"1.0","id":"a","data":{"n":1.50}}"#)),
            (&encoded, "7", Ok(r#"{"specversion":"1.0","subject":"Café \"x\"","data":7}"#)),
            (&plain, "1,\"id\":\"b\"", Err(ProblemCode::MalformedJson)),
            (&plain, "{\"n\":", Err(ProblemCode::MalformedJson)),
            (&broken, "", Err(ProblemCode::EventMalformed)),
            (&twice, "", Err(ProblemCode::EventMalformed)),
            (&data, "", Err(ProblemCode::EventMalformed)),
        ];
        for (pairs, body, expected) in cases {
            let got = structured(&headers(pairs), body.as_bytes()).map_err(|it| match it {
                Ending::Problem(problem) => problem.code,
                Ending::Repeated(_) => ProblemCode::Internal,
            });
            let got = got.map(|it| String::from_utf8(it.clone()).expect("JSON is UTF-8"));
            assert_eq!(got, expected.map(str::to_owned), "{pairs:?} {body}");
        }
    }
}
