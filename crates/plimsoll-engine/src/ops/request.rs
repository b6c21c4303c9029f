//! Reads a request body into its type, and says exactly what is wrong if it is none.
//!
//! Two passes. The first walks the JSON as it stands and refuses what no request may hold: a field
//! given twice at any depth, NUL, lone surrogates, deep nesting. The second reads the type; what it
//! refuses (an unknown field, a missing one, a wrong type) is named by its path.
//!
//! Not here: what the values must be (each resource checks its own), usage events (`ingest`).

use std::{borrow::Cow, collections::BTreeSet, fmt};

use plimsoll_core::limits;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use crate::ops::problem::{Problem, ProblemCode};

/// A field of a `PATCH`: left alone, emptied, or set.
///
/// Absent keeps, `null` clears, a value sets. Fields of this type need `#[serde(default)]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// The field is not in the request.
    #[default]
    Keep,
    /// The field is `null`.
    Clear,
    /// The field has a value.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T> Patch<T> {
    /// What the field becomes, if it may be empty.
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// A field that a `PATCH` must not have, because it never changes.
///
/// It is part of the request's type so that naming it gives `field_immutable` and a reason, which
/// says more than `unknown_field`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Immutable {
    given: bool,
}

impl<'de> Deserialize<'de> for Immutable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Self { given: true })
    }
}

impl Immutable {
    /// Refuses the request if it has the field.
    pub fn check(self, field: &'static str) -> Result<(), Problem> {
        if self.given {
            let detail = format!("{field} is set when the resource is made and never changes");
            return Err(Problem::at(ProblemCode::FieldImmutable, field, detail));
        }
        Ok(())
    }
}

/// Reads a request of type `T`.
///
/// An empty body is read as `{}`, for requests in which every field is optional.
pub fn parse_request<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    walk(body)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        refused_by_type(&path, error.inner())
    })
}

/// Turns what serde says about a value at `path` into a problem with code and field.
fn refused_by_type(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    // Positions in the text mean little beside the field's name.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
    let path = if path == "." { "" } else { path };
    if let Some(name) = quoted_after(text, "missing field ") {
        let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let detail = format!("{field} is required");
        return Problem::at(ProblemCode::MissingField, field, detail);
    }
    if text.starts_with("unknown field ") {
        return Problem::at(ProblemCode::UnknownField, path, text.replace('`', ""));
    }
    let detail = format!("{path}: {}", text.replace('`', ""));
    Problem::at(ProblemCode::InvalidField, path, detail)
}

fn quoted_after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// Refuses JSON that no request may hold.
fn walk(body: &[u8]) -> Result<(), Problem> {
    let mut place = Place::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let walked = Walk { place: &mut place, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    let Err(error) = walked else { return Ok(()) };
    if let Some(problem) = place.problem.take() {
        return Err(problem);
    }
    let text = error.to_string();
    if text.contains("surrogate") || text.contains("hex escape") {
        let detail = "the text holds half of a surrogate pair, which is no character";
        return Err(Problem::at(ProblemCode::InvalidCharacter, place.path(), detail));
    }
    if text.contains("number out of range") {
        let detail = "the number has more digits than can be held exactly";
        return Err(Problem::at(ProblemCode::InvalidField, place.path(), detail));
    }
    let detail = match error.classify() {
        Category::Data => "expected a JSON object".to_owned(),
        Category::Io | Category::Syntax | Category::Eof => format!("the body is not JSON: {text}"),
    };
    Err(Problem::new(ProblemCode::MalformedJson, detail))
}

/// Where the walk is, and what it refused there.
#[derive(Default)]
struct Place {
    segments: Vec<Segment>,
    problem: Option<Problem>,
}

enum Segment {
    Name(String),
    Index(usize),
}

impl Place {
    fn path(&self) -> String {
        use fmt::Write as _;
        let mut path = String::new();
        for segment in &self.segments {
            let written = match segment {
                Segment::Name(name) if path.is_empty() => write!(path, "{name}"),
                Segment::Name(name) => write!(path, ".{name}"),
                Segment::Index(index) => write!(path, "[{index}]"),
            };
            written.expect("writing to a string never fails");
        }
        path
    }

    fn refuse<E: serde::de::Error>(&mut self, code: ProblemCode, detail: &str) -> E {
        self.problem = Some(Problem::at(code, self.path(), detail));
        E::custom(detail)
    }
}

struct Walk<'a> {
    place: &'a mut Place,
    depth: usize,
}

impl Walk<'_> {
    fn text<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.place.refuse(ProblemCode::InvalidCharacter, "a text cannot hold NUL"));
        }
        Ok(())
    }

    fn deeper<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        if self.depth == limits::JSON_DEPTH {
            let detail = format!("more than {} levels of nesting", limits::JSON_DEPTH);
            return Err(self.place.refuse(ProblemCode::JsonTooDeep, &detail));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth == 0 {
            deserializer.deserialize_map(self)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        for index in 0.. {
            self.place.segments.push(Segment::Index(index));
            let item = Walk { place: self.place, depth };
            let more = items.next_element_seed(item)?.is_some();
            self.place.segments.pop();
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut seen = BTreeSet::new();
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            self.place.segments.push(Segment::Name(name.clone().into_owned()));
            Walk { place: self.place, depth }.text(&name)?;
            if !seen.insert(name.into_owned()) {
                let detail = "the field is given twice";
                return Err(self.place.refuse(ProblemCode::DuplicateField, detail));
            }
            fields.next_value_seed(Walk { place: self.place, depth })?;
            self.place.segments.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ops::scalar::Decimal;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only whether it parses matters")]
        value: Decimal,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it parses matters")]
    struct Example {
        key: String,
        #[serde(default)]
        lines: Vec<Inner>,
        #[serde(default)]
        metadata: BTreeMap<String, String>,
    }

    #[test]
    fn what_is_wrong_is_named() {
        use ProblemCode as C;
        let deep = format!(r#"{{"key":{}1{}}}"#, "[".repeat(80), "]".repeat(80));
        let cases = [
            (r#"{"key":"a","lines":[{"value":1.5}],"metadata":{"a":"b"}}"#, None),
            (" ", Some((C::MissingField, "key"))),
            ("", Some((C::MissingField, "key"))),
            ("[1]", Some((C::MalformedJson, ""))),
            ("7", Some((C::MalformedJson, ""))),
            (r#"{"key":"#, Some((C::MalformedJson, ""))),
            (r#"{"key":"a"} x"#, Some((C::MalformedJson, ""))),
            (r#"{"key":"a","nme":1}"#, Some((C::UnknownField, "nme"))),
            (r#"{"key":"a","lines":[{"value":1,"x":1}]}"#, Some((C::UnknownField, "lines[0].x"))),
            (r#"{"key":"a","lines":[{}]}"#, Some((C::MissingField, "lines[0].value"))),
            (r#"{"key":"a","lines":[{"value":"x"}]}"#, Some((C::InvalidField, "lines[0].value"))),
            (r#"{"key":"a","lines":[{"value":1e400}]}"#, Some((C::InvalidField, "lines[0].value"))),
            (r#"{"key":7}"#, Some((C::InvalidField, "key"))),
            (r#"{"key":"a","key":"a"}"#, Some((C::DuplicateField, "key"))),
            (
                r#"{"key":"a","metadata":{"x":"1","x":"2"}}"#,
                Some((C::DuplicateField, "metadata.x")),
            ),
            (r#"{"key":"a\u0000"}"#, Some((C::InvalidCharacter, "key"))),
            (r#"{"key":"a","metadata":{"\u0000":""}}"#, Some((C::InvalidCharacter, "metadata.\0"))),
            (r#"{"key":"\ud800"}"#, Some((C::InvalidCharacter, "key"))),
            (r#"{"key":"\ud800\u0041"}"#, Some((C::InvalidCharacter, "key"))),
            (deep.as_str(), Some((C::JsonTooDeep, ""))),
        ];
        for (body, expected) in cases {
            let got = parse_request::<Example>(body.as_bytes()).err();
            let got = got.map(|it| (it.code, it.field.unwrap_or_default()));
            let got = got.map(|(code, field)| {
                (code, if code == C::JsonTooDeep { String::new() } else { field })
            });
            assert_eq!(got, expected.map(|(code, field)| (code, field.to_owned())), "{body}");
        }
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        #[derive(Debug, Deserialize)]
        struct Example {
            #[serde(default)]
            limit: Patch<String>,
        }
        let cases = [
            ("{}", Patch::Keep),
            (r#"{"limit":null}"#, Patch::Clear),
            (r#"{"limit":"5"}"#, Patch::Set("5".to_owned())),
        ];
        for (body, expected) in cases {
            let got = parse_request::<Example>(body.as_bytes()).unwrap();
            assert_eq!(got.limit, expected, "{body}");
        }
    }
}
