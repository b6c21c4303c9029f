//! What of a channel passes the guard: its URL, its headers; and what of the headers is shown.

use std::collections::BTreeMap;

use plimsoll_core::{ids::ChannelId, limits};

use crate::{
    delivery::guard::{AllowList, HeaderRefusal, UrlRefusal, vet_header, vet_url},
    ops::{
        plan::json,
        problem::{Problem, ProblemCode},
        request::Patch,
        secret::Sealed,
    },
    vault::Vault,
};

/// What is shown in place of a credential.
const MASK: &str = "***";

/// Parts of a header's name that say that its value is a credential.
const CREDENTIAL_NAMES: [&str; 6] = ["auth", "cookie", "key", "pass", "secret", "token"];

/// Checks where a channel's requests go.
pub(super) fn check_url(url: &str, allow: &AllowList) -> Result<(), Problem> {
    vet_url(url, allow)
        .map(drop)
        .map_err(|refusal| Problem::at(url_code(refusal), "url", refusal.to_string()))
}

/// Checks headers, and gives them by their names in lower case.
pub(super) fn checked_headers(
    headers: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Problem> {
    if headers.len() > limits::CHANNEL_HEADERS {
        let detail = format!("a channel has at most {} headers", limits::CHANNEL_HEADERS);
        return Err(Problem::at(ProblemCode::TooManyItems, "headers", detail));
    }
    let mut checked = BTreeMap::new();
    for (name, value) in headers {
        let field = format!("headers.{name}");
        let (vetted, _) = vet_header(&name, &value).map_err(|refusal| {
            Problem::at(header_code(refusal), field.clone(), refusal.to_string())
        })?;
        if checked.insert(vetted.as_str().to_owned(), value).is_some() {
            let detail = "the header is given twice: its name has no upper or lower case";
            return Err(Problem::at(ProblemCode::DuplicateField, field, detail));
        }
    }
    Ok(checked)
}

/// Headers after a change: a value sets, null removes, the mask leaves one as it is.
pub(super) fn patched_headers(
    mut current: BTreeMap<String, String>,
    patch: Patch<BTreeMap<String, Option<String>>>,
) -> Result<BTreeMap<String, String>, Problem> {
    let changes = match patch {
        Patch::Keep => return Ok(current),
        Patch::Clear => return Ok(BTreeMap::new()),
        Patch::Set(changes) => changes,
    };
    for (name, value) in changes {
        let lower = name.to_ascii_lowercase();
        match value {
            Some(value) if value == MASK && current.contains_key(&lower) => {}
            Some(value) => drop(current.insert(lower, value)),
            None => drop(current.remove(&lower)),
        }
    }
    checked_headers(current)
}

/// Headers as documents show them.
pub(super) fn shown_headers(headers: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |name: &str, value| {
        if CREDENTIAL_NAMES.iter().any(|it| name.contains(it)) { MASK.to_owned() } else { value }
    };
    headers.into_iter().map(|(name, value)| (name.clone(), shown(&name, value))).collect()
}

/// All headers of a channel as one sealed text.
pub(super) fn seal_headers(
    vault: &Vault,
    channel: ChannelId,
    headers: &BTreeMap<String, String>,
) -> Sealed {
    Sealed::seal(vault, channel, &json(headers))
}

const fn url_code(refusal: UrlRefusal) -> ProblemCode {
    match refusal {
        UrlRefusal::TooLong => ProblemCode::UrlTooLong,
        UrlRefusal::Character => ProblemCode::UrlCharacterNotAllowed,
        UrlRefusal::Scheme => ProblemCode::UrlSchemeNotAllowed,
        UrlRefusal::Invalid => ProblemCode::UrlInvalid,
        UrlRefusal::Credentials => ProblemCode::UrlCredentialsNotAllowed,
        UrlRefusal::LocalName => ProblemCode::UrlHostNotAllowed,
        UrlRefusal::Address(_) => ProblemCode::UrlAddressNotAllowed,
        UrlRefusal::Port => ProblemCode::UrlPortNotAllowed,
    }
}

const fn header_code(refusal: HeaderRefusal) -> ProblemCode {
    match refusal {
        HeaderRefusal::InvalidName => ProblemCode::HeaderNameInvalid,
        HeaderRefusal::ReservedName => ProblemCode::HeaderNameReserved,
        HeaderRefusal::InvalidValue => ProblemCode::HeaderValueInvalid,
        HeaderRefusal::TooLong => ProblemCode::HeaderValueTooLong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_guard() {
        let urls = [
            UrlRefusal::TooLong,
            UrlRefusal::Character,
            UrlRefusal::Scheme,
            UrlRefusal::Invalid,
            UrlRefusal::Credentials,
            UrlRefusal::LocalName,
            UrlRefusal::Port,
        ];
        for refusal in urls {
            assert_eq!(url_code(refusal).as_str(), refusal.code());
        }
        let headers = [
            HeaderRefusal::InvalidName,
            HeaderRefusal::ReservedName,
            HeaderRefusal::InvalidValue,
            HeaderRefusal::TooLong,
        ];
        for refusal in headers {
            assert_eq!(header_code(refusal).as_str(), refusal.code());
        }
    }

    #[test]
    fn a_mask_leaves_a_header_as_it_is() {
        let current = BTreeMap::from([
            ("authorization".to_owned(), "Bearer x".to_owned()),
            ("x-team".to_owned(), "blue".to_owned()),
        ]);
        let patch = BTreeMap::from([
            ("Authorization".to_owned(), Some("***".to_owned())),
            ("x-team".to_owned(), None),
            ("X-Stage".to_owned(), Some("prod".to_owned())),
        ]);
        let after = patched_headers(current, Patch::Set(patch)).unwrap();
        assert_eq!(after["authorization"], "Bearer x");
        assert_eq!(after.keys().collect::<Vec<_>>(), ["authorization", "x-stage"]);
        assert_eq!(shown_headers(after)["authorization"], "***");
    }
}
