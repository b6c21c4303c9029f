//! `/v1/usage`: what was used when, by whom, as JSON or CSV.
//!
//! Not here: adding it up (`plimsoll_engine::reads`).

use std::borrow::Cow;

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use plimsoll_engine::ops::{
    problem::ProblemCode,
    usage::{Usage, UsageItem, UsageRequest},
};

use crate::{auth::Reading, json::Json, parameters, problem::Answer, problem::Ending, state::App};

/// The header that tells where the next page begins, where the body cannot.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("next-cursor");

/// Read usage by time, customer and group-by keys of a meter.
#[utoipa::path(
    get, path = "/v1/usage", tag = "usage",
    params(
        UsageRequest,
        ("filter" = Option<BTreeMap<String, String>>, Query, style = DeepObject, explode,
            description = "Only usage with these values: `filter[model]=small,large`. Every key \
                           must fit, each with one of its values.")
    ),
    responses((
        status = 200, description = "One page.",
        headers((
            "next-cursor" = Option<String>,
            description = "With CSV: where the next page begins; absent on the last page."
        )),
        content((Usage = "application/json"), (String = "text/csv"))
    ))
)]
pub(crate) async fn get_usage(
    State(app): State<App>,
    Reading(context): Reading,
    headers: HeaderMap,
    UsageParameters(request): UsageParameters,
) -> Answer<Response> {
    let usage = app.ops.usage(&context, request).await?;
    let mut response =
        if prefers_csv(&headers) { csv(&usage) } else { Json(usage).into_response() };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// The query: parameters with fixed names, and `filter[…]` as often as it is wanted.
#[derive(Debug)]
pub(crate) struct UsageParameters(UsageRequest);

impl FromRequestParts<App> for UsageParameters {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Answer<Self> {
        read_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn read_query(query: &str) -> Answer<UsageRequest> {
    let mut others = form_urlencoded::Serializer::new(String::new());
    let mut filters = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let filtered = name.strip_prefix("filter[").and_then(|it| it.strip_suffix(']'));
        match filtered {
            Some(_) if value.contains('\0') => {
                let detail = "a parameter cannot hold NUL";
                return Err(Ending::at(ProblemCode::InvalidParameter, name, detail));
            }
            Some(key) => filters.push((key.to_owned(), value.into_owned())),
            None => drop(others.append_pair(&name, &value)),
        }
    }
    let request: UsageRequest = parameters::parse(&others.finish())?;
    Ok(UsageRequest { filters, ..request })
}

/// Whether the request would rather have CSV than JSON.
fn prefers_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let ranges: Vec<(String, u32)> = accept.flat_map(|it| it.split(',')).map(range).collect();
    let quality = |names: [&str; 3]| {
        // The most exact range that fits decides.
        let fits = |name: &&str| ranges.iter().find(|it| it.0.eq_ignore_ascii_case(name));
        names.iter().find_map(fits).map_or(0, |it| it.1)
    };
    quality(["text/csv", "text/*", "*/*"]) > quality(["application/json", "application/*", "*/*"])
}

/// A media range and its quality in thousandths.
fn range(text: &str) -> (String, u32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let quality = parts.find_map(|it| it.strip_prefix("q=").or_else(|| it.strip_prefix("Q=")));
    (name, quality.map_or(Some(1_000), thousandths).unwrap_or(0))
}

/// `0.25` in thousandths, as RFC 9110 writes a quality: at most three places.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let places = format!("{places:0<3}").get(..3)?.parse::<u32>().ok()?;
    Some((whole.parse::<u32>().ok()?.min(1) * 1_000 + places).min(1_000))
}

/// The rows as RFC 4180 has them, with a header line.
fn csv(usage: &Usage) -> Response {
    let mut text = String::new();
    let mut names = vec![Cow::from("from"), Cow::from("to")];
    names.extend(usage.by_customer.then_some(Cow::from("customer")));
    // A key may be called as a column is.
    names.extend(usage.groups.iter().map(|it| Cow::from(format!("group.{it}"))));
    names.push(Cow::from("value"));
    line(&mut text, names.into_iter().map(Some));
    for UsageItem { from, to, value, customer, group } in &usage.items {
        let mut fields = vec![Some(Cow::from(from.to_string())), Some(Cow::from(to.to_string()))];
        fields.extend(customer.map(|it| Some(Cow::from(it.to_string()))));
        fields.extend(group.0.iter().map(|(_, value)| value.as_deref().map(Cow::from)));
        fields.push(value.map(|it| Cow::from(it.to_string())));
        line(&mut text, fields.into_iter());
    }
    let content_type = "text/csv; charset=utf-8; header=present";
    let mut response = ([(header::CONTENT_TYPE, content_type)], text).into_response();
    let cursor = usage.next_cursor.as_deref().and_then(|it| HeaderValue::from_str(it).ok());
    if let Some(cursor) = cursor {
        response.headers_mut().insert(NEXT_CURSOR, cursor);
    }
    response
}

/// One line. A text that is empty is quoted, to be told apart from none.
fn line<'a>(text: &mut String, fields: impl Iterator<Item = Option<Cow<'a, str>>>) {
    for (place, field) in fields.enumerate() {
        if place > 0 {
            text.push(',');
        }
        match field {
            None => {}
            Some(field) if field.is_empty() || field.contains([',', '"', '\r', '\n']) => {
                text.push('"');
                text.push_str(&field.replace('"', "\"\""));
                text.push('"');
            }
            Some(field) => text.push_str(&field),
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_given_to_those_who_prefer_it() {
        let cases = [
            ("", false),
            ("*/*", false),
            ("text/csv", true),
            ("TEXT/CSV; charset=utf-8", true),
            ("text/*", true),
            ("application/json, text/csv", false),
            ("application/json;q=0.5, text/csv", true),
            ("text/csv;q=0.1, */*;q=0.05", true),
            ("text/csv;q=0, */*", false),
            ("text/html", false),
            ("text/csv;q=nonsense", false),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_csv(&headers), expected, "{accept}");
        }
        let mut twice = HeaderMap::new();
        twice.append(header::ACCEPT, HeaderValue::from_static("application/json;q=0.2"));
        twice.append(header::ACCEPT, HeaderValue::from_static("text/csv"));
        assert!(prefers_csv(&twice));
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let mut text = String::new();
        let fields = [Some("plain"), None, Some(""), Some("a,b"), Some("say \"x\""), Some("a\nb")];
        line(&mut text, fields.into_iter().map(|it| it.map(Cow::from)));
        assert_eq!(text, "plain,,\"\",\"a,b\",\"say \"\"x\"\"\",\"a\nb\"\r\n");
    }

    #[test]
    fn filters_stand_beside_the_other_parameters() {
        let request = read_query("meter=m&filter[model]=a,b&limit=7&filter%5Bx%5D=c").ok();
        let filters = vec![("model".into(), "a,b".into()), ("x".into(), "c".into())];
        let limit = Some(7);
        let expected = UsageRequest { meter: "m".into(), limit, filters, ..<_>::default() };
        assert_eq!(request, Some(expected));
        for wrong in ["", "meter=m&filter=a", "meter=m&filter[a=b", "meter=m&meter=n", "x=1"] {
            assert!(read_query(wrong).is_err(), "{wrong}");
        }
        assert!(read_query("meter=m&filter[a]=%00").is_err());
    }
}
