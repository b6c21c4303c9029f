//! A CloudEvent 1.0 as it arrives and as it stands on the log.
//!
//! Not here: whose event it is, whether it was seen before (`ingest`, `partition`).

use std::{borrow::Cow, collections::BTreeSet};

use plimsoll_core::{
    catalog::meter::{FoundValue, ValuePath},
    limits,
    time::Timestamp,
};

use super::json::{Kind, Malformed, Model, Scanner, Value};

/// What is wrong with one event. It is refused, the others of its request are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The stable code.
    pub code: &'static str,
    /// What is wrong, with the attribute's name.
    pub detail: String,
}

impl Refused {
    pub(super) fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// The attributes that Plimsoll reads, and where the data stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The whole event as it was written.
    pub raw: &'a str,
    /// `id`
    pub id: Cow<'a, str>,
    /// `source`
    pub source: Cow<'a, str>,
    /// `type`
    pub event_type: Cow<'a, str>,
    /// `type` as it was written, with its quotes.
    pub event_type_raw: &'a str,
    /// `subject`
    pub subject: Cow<'a, str>,
    /// `time`, if there is one.
    pub time: Option<Timestamp>,
    /// `data`, if there is any.
    pub data: Option<Value<'a>>,
}

/// The values of the attributes, as they are found.
#[derive(Default)]
struct Found<'a> {
    spec_version: Option<Value<'a>>,
    id: Option<Value<'a>>,
    source: Option<Value<'a>>,
    event_type: Option<Value<'a>>,
    subject: Option<Value<'a>>,
    time: Option<Value<'a>>,
    data: Option<Value<'a>>,
    data_base64: Option<Value<'a>>,
    content_type: Option<Value<'a>>,
    schema: Option<Value<'a>>,
    /// Names that CloudEvents does not know. Sorted: whoever sends thousands gets no square of it.
    extensions: BTreeSet<Cow<'a, str>>,
    repeated: Option<Cow<'a, str>>,
}

/// What the name of a member is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    Data,
    DataBase64,
    ContentType,
    Schema,
    Extension,
}

impl Attribute {
    fn of(name: &Value<'_>) -> Self {
        match name.text().as_deref() {
            Some("specversion") => Self::SpecVersion,
            Some("id") => Self::Id,
            Some("source") => Self::Source,
            Some("type") => Self::Type,
            Some("subject") => Self::Subject,
            Some("time") => Self::Time,
            Some("data") => Self::Data,
            Some("data_base64") => Self::DataBase64,
            Some("datacontenttype") => Self::ContentType,
            Some("dataschema") => Self::Schema,
            _ => Self::Extension,
        }
    }
}

impl<'a> Found<'a> {
    fn member(&mut self, attribute: Attribute, name: Value<'a>, value: Value<'a>) {
        let slot = match attribute {
            Attribute::SpecVersion => &mut self.spec_version,
            Attribute::Id => &mut self.id,
            Attribute::Source => &mut self.source,
            Attribute::Type => &mut self.event_type,
            Attribute::Subject => &mut self.subject,
            Attribute::Time => &mut self.time,
            Attribute::Data => &mut self.data,
            Attribute::DataBase64 => &mut self.data_base64,
            Attribute::ContentType => &mut self.content_type,
            Attribute::Schema => &mut self.schema,
            Attribute::Extension => return self.extension(name.text()),
        };
        if slot.replace(value).is_some() {
            self.repeated = name.text();
        }
    }

    /// Takes note of a name that nothing here reads; none, if it is half of a surrogate pair.
    fn extension(&mut self, name: Option<Cow<'a, str>>) {
        let Some(name) = name else { return };
        if self.extensions.contains(&name) {
            self.repeated = Some(name);
        } else {
            self.extensions.insert(name);
        }
    }
}

/// Reads events one after the other. One that is like the one before it costs less.
#[derive(Debug, Default)]
pub struct EventReader<'a> {
    model: Model<'a, Attribute>,
}

impl<'a> EventReader<'a> {
    /// Reads the event at which the scanner stands.
    ///
    /// The outer error means that the text is not JSON: nothing after it can be read either.
    pub fn read(
        &mut self,
        scanner: &mut Scanner<'a>,
    ) -> Result<Result<Event<'a>, Refused>, Malformed> {
        if scanner.peek() != Some(b'{') {
            scanner.value()?;
            return Ok(Err(Refused::new("event_not_an_object", "an event is a JSON object")));
        }
        let start = scanner.position();
        let mut found = Found::default();
        scanner.object_like(&mut self.model, Attribute::of, |attribute, name, value| {
            found.member(attribute, name, value);
        })?;
        let broken = scanner.take_broken_surrogates();
        Ok(attributes(scanner.text_since(start), &found, broken))
    }
}

fn attributes<'a>(
    raw: &'a str,
    found: &Found<'a>,
    broken_surrogates: bool,
) -> Result<Event<'a>, Refused> {
    if let Some(name) = &found.repeated {
        return Err(Refused::new("attribute_repeated", format!("{name} stands twice")));
    }
    if raw.len() > limits::EVENT_BYTES {
        let bound = limits::EVENT_BYTES;
        return Err(Refused::new("event_too_large", format!("an event has at most {bound} bytes")));
    }
    if broken_surrogates {
        let detail = "a string holds half of a surrogate pair, which is no character";
        return Err(Refused::new("invalid_text", detail));
    }
    let version = attribute("specversion", found.spec_version)?;
    if version != "1.0" {
        return Err(Refused::new("specversion_unsupported", "specversion must be 1.0"));
    }
    if found.data_base64.is_some() {
        let detail = "data_base64 is not read: send data as JSON";
        return Err(Refused::new("data_base64_unsupported", detail));
    }
    let time = match found.time {
        None => None,
        Some(value) => Some(time(value)?),
    };
    Ok(Event {
        raw,
        id: attribute("id", found.id)?,
        source: attribute("source", found.source)?,
        event_type: attribute("type", found.event_type)?,
        event_type_raw: found.event_type.map_or("", |it| it.raw),
        subject: attribute("subject", found.subject)?,
        time,
        data: found.data,
    })
}

fn attribute<'a>(name: &'static str, value: Option<Value<'a>>) -> Result<Cow<'a, str>, Refused> {
    let value = value
        .filter(|it| it.kind != Kind::Null)
        .ok_or_else(|| Refused::new("attribute_missing", format!("{name} is missing")))?;
    let text = value
        .text()
        .ok_or_else(|| Refused::new("attribute_not_a_string", format!("{name} is not a string")))?;
    if text.is_empty() || text.len() > limits::EVENT_ATTRIBUTE_BYTES {
        let bound = limits::EVENT_ATTRIBUTE_BYTES;
        let detail = format!("{name} must have 1 to {bound} bytes");
        return Err(Refused::new("attribute_length", detail));
    }
    // Unescaped text has no control characters: the scanner refuses them.
    if matches!(text, Cow::Owned(_)) && text.chars().any(char::is_control) {
        let detail = format!("{name} holds a control character");
        return Err(Refused::new("attribute_control_character", detail));
    }
    Ok(text)
}

fn time(value: Value<'_>) -> Result<Timestamp, Refused> {
    let text = attribute("time", Some(value))?;
    text.parse().map_err(|error| Refused::new("event_time_invalid", format!("time: {error}")))
}

/// What stands at `path` inside the data of an event.
///
/// Where an object has a member twice, the last one counts, as JSON readers do.
pub fn find<'a>(data: Option<Value<'a>>, path: &ValuePath, text: &'a mut String) -> FoundValue<'a> {
    let Some(mut value) = data else { return FoundValue::Missing };
    for member in path.members() {
        if value.kind != Kind::Object {
            return FoundValue::Missing;
        }
        let mut next = None;
        // The event was scanned when it was accepted, so this cannot fail.
        let walked = Scanner::new(value.raw).object(|name, value| {
            if name.text().as_deref() == Some(member) {
                next = Some(value);
            }
        });
        match (walked, next) {
            (Ok(()), Some(found)) => value = found,
            _ => return FoundValue::Missing,
        }
    }
    match value.kind {
        Kind::Number => FoundValue::Number(value.raw),
        Kind::String { .. } => match value.text() {
            Some(found) => {
                text.clear();
                text.push_str(&found);
                FoundValue::Text(text)
            }
            None => FoundValue::Other,
        },
        Kind::Boolean => FoundValue::Boolean(value.raw == "true"),
        Kind::Object | Kind::Array | Kind::Null => FoundValue::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> Result<Event<'_>, &'static str> {
        let mut scanner = Scanner::new(text);
        let event = EventReader::default().read(&mut scanner).map_err(|_| "not json")?;
        event.map_err(|it| it.code)
    }

    #[test]
    fn events_that_are_refused() {
        let base = r#""specversion":"1.0","id":"1","source":"s","type":"t","subject":"c""#;
        let long = "x".repeat(limits::EVENT_ATTRIBUTE_BYTES + 1);
        let cases = [
            (format!("{{{base}}}"), Ok(())),
            (format!(r#"{{{base},"extension":[{{}}]}}"#), Ok(())),
            (format!(r#"{{{base},"time":"2026-01-01T00:00:00Z"}}"#), Ok(())),
            (format!(r#"{{{base},"time":"today"}}"#), Err("event_time_invalid")),
            (format!(r#"{{{base},"time":5}}"#), Err("attribute_not_a_string")),
            (format!(r#"{{{base},"id":"2"}}"#), Err("attribute_repeated")),
            (format!(r#"{{{base},"\u0069d":"2"}}"#), Err("attribute_repeated")),
            (format!(r#"{{{base},"dataschema":"u","dataschema":"u"}}"#), Err("attribute_repeated")),
            (format!(r#"{{{base},"region":"eu","zone":"1"}}"#), Ok(())),
            (format!(r#"{{{base},"region":"eu","region":"us"}}"#), Err("attribute_repeated")),
            (format!(r#"{{{base},"region":"eu","re\u0067ion":"us"}}"#), Err("attribute_repeated")),
            (format!(r#"{{{base},"data":"\ud800"}}"#), Err("invalid_text")),
            (base.replace(r#""1.0""#, r#""0.3""#), Err("specversion_unsupported")),
            (base.replace(r#""id":"1","#, ""), Err("attribute_missing")),
            (base.replace(r#""id":"1""#, r#""id":1"#), Err("attribute_not_a_string")),
            (base.replace(r#""id":"1""#, r#""id":"""#), Err("attribute_length")),
            (base.replace(r#""id":"1""#, &format!(r#""id":"{long}""#)), Err("attribute_length")),
            (base.replace(r#""id":"1""#, r#""id":"a\u0000b""#), Err("attribute_control_character")),
            ("[1]".to_owned(), Err("event_not_an_object")),
            (format!("{{{base}"), Err("not json")),
        ];
        for (text, expected) in cases {
            let braced = text.starts_with(['{', '[']);
            let text = if braced { text } else { format!("{{{text}}}") };
            assert_eq!(read_one(&text).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn values_inside_the_data() {
        use FoundValue::{Missing, Number, Other, Text};
        let data = r#"{"n":1.50,"s":"7","e":"\u0037","o":{"n":2},"a":[1],"x":null,"d":1,"d":2}"#;
        let cases = [
            ("$.n", Number("1.50")),
            ("$.s", Text("7")),
            ("$.e", Text("7")),
            ("$.o.n", Number("2")),
            ("$['o']['n']", Number("2")),
            ("$.o", Other),
            ("$.a", Other),
            ("$.x", Other),
            ("$.n.n", Missing),
            ("$.missing", Missing),
            ("$.d", Number("2")),
        ];
        for (path, expected) in cases {
            let value = Scanner::new(data).value().ok();
            let mut text = String::new();
            assert_eq!(find(value, &path.parse().unwrap(), &mut text), expected, "{path}");
        }
        assert_eq!(find(None, &"$.n".parse().unwrap(), &mut String::new()), Missing);
    }
}
