//! The scanner beside serde_json, and its shortcuts beside the plain way.
//!
//! Not here: events (`event`).

use proptest::prelude::*;

use super::*;

fn scan(text: &str) -> Result<(), Malformed> {
    let mut scanner = Scanner::new(text);
    scanner.value()?;
    scanner.finish()
}

#[test]
fn agrees_with_serde_json() {
    let cases = [
        "{}",
        "[]",
        " { \"a\" : [ 1 , -2.5e+3 , true , false , null ] , \"b\" : \"x\\n\\u00e9\" } ",
        "0",
        "-0",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "{\"a\":1,}",
        "[1,]",
        "[1 2]",
        "{a:1}",
        "{\"a\" 1}",
        "\"unterminated",
        "\"tab\tinside\"",
        "\"nul\0inside\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "nul",
        "truee",
        "",
        " ",
        "{}{}",
        "\"ünïcode\"",
        "[\"\\ud83d\\ude00\"]",
    ];
    for text in cases {
        let expected = serde_json::from_str::<serde_json::Value>(text).is_ok();
        assert_eq!(scan(text).is_ok(), expected, "{text}: {:?}", scan(text));
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(scan(&nested(limits::JSON_DEPTH)), Ok(()));
    assert!(scan(&nested(limits::JSON_DEPTH + 1)).is_err());
    assert!(scan(&"[".repeat(1_000_000)).is_err());
}

#[test]
fn halves_of_surrogate_pairs_are_noted() {
    let cases = [
        (r#""\ud83d\ude00""#, false),
        (r#""\ud83d""#, true),
        (r#""\ude00""#, true),
        (r#""\ud83d\n""#, true),
        (r#""\ud83d\u0041""#, true),
        (r#"{"\udfff":1}"#, true),
    ];
    for (text, broken) in cases {
        let mut scanner = Scanner::new(text);
        scanner.value().unwrap();
        assert_eq!(scanner.take_broken_surrogates(), broken, "{text}");
    }
}

/// Objects of few names and values, so that neighbours have much in common; some are broken.
fn any_object() -> impl Strategy<Value = String> {
    let member = (
        prop::sample::select(vec![r#""a""#, r#""b""#, r#" "c" "#, r#""\u0061""#, r#""\ud800""#]),
        prop::sample::select(vec![":", " : ", ""]),
        prop::sample::select(vec![
            r#""x""#,
            r#""xy""#,
            r#""\ud800""#,
            "1",
            "12",
            "true",
            "{}",
            "[1]",
            r#"" "#,
        ]),
    );
    let member = member.prop_map(|(name, colon, value)| format!("{name}{colon}{value}"));
    prop::collection::vec(member, 0..5).prop_map(|it| format!("{{{}}}", it.join(",")))
}

proptest! {
    #[test]
    fn the_end_of_plain_text_is_found(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let stop = bytes.iter().position(|it| matches!(it, b'"' | b'\\' | 0..=0x1f));
        prop_assert_eq!(plain_bytes(&bytes), stop.unwrap_or(bytes.len()));
    }

    #[test]
    fn any_string_is_judged_as_serde_json_does(text in "\"[a-zé\\\\\"\u{0}-\u{22}]{0,40}\"") {
        let reference: Result<String, _> = serde_json::from_str(&text);
        let mut scanner = Scanner::new(&text);
        let value = scanner.value().and_then(|it| scanner.finish().map(|()| it));
        let ours = value.ok().and_then(|it| it.text());
        prop_assert_eq!(ours.map(Cow::into_owned), reference.ok());
    }

    #[test]
    fn an_object_like_the_last_is_read_as_any_other(
        texts in prop::collection::vec(any_object(), 1..6),
    ) {
        let joined = texts.join("");
        let mut alike = Scanner::new(&joined);
        let mut plain = Scanner::new(&joined);
        let mut model = Model::default();
        for _ in &texts {
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            let ours = alike.object_like(
                &mut model,
                |name| name.raw.len(),
                |length, name, value| found.push((length, name, value)),
            );
            let reference = plain.object(|name, value| {
                expected.push((name.raw.len(), name, value));
            });
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(&ours, &reference);
            prop_assert_eq!(alike.position(), plain.position());
            prop_assert_eq!(alike.take_broken_surrogates(), plain.take_broken_surrogates());
            if ours.is_err() {
                break;
            }
        }
    }

    #[test]
    fn any_text_is_judged_as_serde_json_does(
        text in "[\\[\\]{}:,\"\\\\a0-9.eE+\\-tfnrulsu ]{0,24}",
    ) {
        let reference: Result<serde_json::Value, _> = serde_json::from_str(&text);
        // serde_json refuses numbers that no float holds; we read numbers ourselves.
        let out_of_range = |it: &serde_json::Error| it.to_string().contains("range");
        let beyond_floats = reference.as_ref().is_err_and(out_of_range);
        if !beyond_floats {
            let mut scanner = Scanner::new(&text);
            let ours = scanner.value().and_then(|_| scanner.finish());
            let broken = scanner.take_broken_surrogates();
            prop_assert_eq!(ours.is_ok() && !broken, reference.is_ok());
        }
    }
}
