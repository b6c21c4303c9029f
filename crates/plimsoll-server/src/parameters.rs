//! What stands in the URL: path segments and the query, with errors that name the parameter.
//!
//! An unknown query parameter is refused by name, as an unknown field is: a misspelt filter that is
//! ignored gives a wrong list in silence.
//!
//! Not here: what a cursor holds (`plimsoll_engine::ops`).

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use plimsoll_engine::ops::problem::ProblemCode;
use serde::de::DeserializeOwned;

use crate::{problem::Ending, state::App};

/// The query, read into a struct that refuses unknown fields.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Ending> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a query into a struct that refuses unknown fields.
pub(crate) fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Ending> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    if let Some((name, _)) = pairs.clone().find(|(name, value)| has_nul(name) || has_nul(value)) {
        let detail = "a parameter cannot hold NUL";
        return Err(Ending::at(ProblemCode::InvalidParameter, name.replace('\0', ""), detail));
    }
    let deserializer = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let said = error.inner().to_string();
        // "unknown field `x`, expected …" and "duplicate field `x`" name the parameter themselves.
        let named = said.split('`').nth(1).filter(|_| path == ".");
        let field = named.map_or_else(|| path.clone(), str::to_owned);
        let detail = said.replace("field", "parameter").replace('`', "");
        Ending::at(ProblemCode::InvalidParameter, field, detail)
    })
}

fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

/// The single name in a route such as `/v1/meters/{meter}`: an id or a key.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) String);

impl FromRequestParts<App> for Name {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Ending> {
        let Path(name) = path::<String>(parts, app).await?;
        check_segment(&name)?;
        Ok(Self(name))
    }
}

/// The two names in a route such as `/v1/customers/{customer}/entitlements/{feature}`.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) String, pub(crate) String);

impl FromRequestParts<App> for Names {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Ending> {
        let Path((first, second)) = path::<(String, String)>(parts, app).await?;
        check_segment(&first)?;
        check_segment(&second)?;
        Ok(Self(first, second))
    }
}

/// The three names in a route such as
/// `/v1/customers/{customer}/entitlements/{feature}/grants/{grant}`.
#[derive(Debug)]
pub(crate) struct ThreeNames(pub(crate) String, pub(crate) String, pub(crate) String);

impl FromRequestParts<App> for ThreeNames {
    type Rejection = Ending;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Ending> {
        let Path((first, second, third)) = path::<(String, String, String)>(parts, app).await?;
        check_segment(&first)?;
        check_segment(&second)?;
        check_segment(&third)?;
        Ok(Self(first, second, third))
    }
}

async fn path<T: DeserializeOwned + Send>(parts: &mut Parts, app: &App) -> Result<Path<T>, Ending> {
    Path::from_request_parts(parts, app).await.map_err(|_| nothing_here())
}

fn check_segment(segment: &str) -> Result<(), Ending> {
    if has_nul(segment) { Err(nothing_here()) } else { Ok(()) }
}

fn nothing_here() -> Ending {
    Ending::new(ProblemCode::NotFound, "no resource has such a name")
}

#[cfg(test)]
mod tests {
    use plimsoll_engine::ops::problem::ProblemCode;
    use serde::Deserialize;

    use super::{Ending, parse};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it parses matters")]
    struct Example {
        limit: Option<usize>,
        cursor: Option<String>,
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", None),
            ("limit=5&cursor=a%20b", None),
            ("limit=five", Some("limit")),
            ("limit=-1", Some("limit")),
            ("limit=", Some("limit")),
            ("lmit=5", Some("lmit")),
            ("limit=1&limit=2", Some("limit")),
            ("cursor=%00", Some("cursor")),
        ];
        for (query, expected) in cases {
            let got = parse::<Example>(query).err();
            let got = got.map(|it| match it {
                Ending::Problem(problem) => (problem.code, problem.field.unwrap_or_default()),
                Ending::Repeated(_) => unreachable!("parsing repeats nothing"),
            });
            let expected = expected.map(|it| (ProblemCode::InvalidParameter, it.to_owned()));
            assert_eq!(got, expected, "{query}");
        }
    }
}
