//! The published vectors of Standard Webhooks, its negative ones, and a foreign verifier.

use hyper::HeaderMap;
use ring::signature::{ED25519, UnparsedPublicKey};
use standardwebhooks::Webhook;

use super::*;
use crate::deps::SystemRandom;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const KEY_PAIR: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4\
                        AJ6p9lMicMFs6Kvg==";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: &str = "1614265330";
const BODY: &str = r#"{"test": 2432232314}"#;
const NOW: Timestamp = Timestamp::from_ms(1_614_265_330_000);

fn secret(text: &str) -> Secret {
    Secret::parse(text, None).unwrap()
}

#[test]
fn published_vectors() {
    let cases = [
        (SECRET, ID, TIMESTAMP, BODY, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        (
            OTHER_SECRET,
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            KEY_PAIR,
            ID,
            TIMESTAMP,
            BODY,
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+\
             m7TBAg==",
        ),
    ];
    for (text, id, timestamp, body, expected) in cases {
        let got = sign(&[secret(text)], NOW, id, timestamp, body.as_bytes());
        assert_eq!(got, expected);
    }
}

#[test]
fn the_public_key_verifies() {
    let pair = secret(KEY_PAIR);
    let public = pair.public_key().unwrap();
    assert_eq!(public, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    let header = sign(&[pair], NOW, ID, TIMESTAMP, BODY.as_bytes());
    let signature = BASE64_STANDARD.decode(header.strip_prefix("v1a,").unwrap()).unwrap();
    let key = BASE64_STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
    let message = format!("{ID}.{TIMESTAMP}.{BODY}");
    UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), &signature).unwrap();
    assert_eq!(secret(SECRET).public_key(), None);
}

#[test]
fn every_valid_secret_signs_in_order() {
    let at = |ms| Some(NOW.plus_ms(ms));
    let secrets = [
        secret(SECRET),
        Secret::parse(OTHER_SECRET, at(1)).unwrap(),
        Secret::parse(KEY_PAIR, at(0)).unwrap(),
    ];
    let both = sign(&secrets, NOW, ID, TIMESTAMP, BODY.as_bytes());
    let entries: Vec<_> = both.split(' ').collect();
    assert_eq!(entries.len(), 2, "{both}");
    assert_eq!(entries[0], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    // Each entry has exactly one comma: the Python verifier fails on any other number.
    assert!(entries.iter().all(|it| it.matches(',').count() == 1), "{both}");
    let later = sign(&secrets, NOW.plus_ms(1), ID, TIMESTAMP, BODY.as_bytes());
    assert_eq!(later, entries[0]);
    assert_eq!(sign(&[], NOW, ID, TIMESTAMP, b""), "");
}

#[test]
fn what_is_not_a_secret_is_refused() {
    let of_bytes = |count| format!("whsec_{}", BASE64_STANDARD.encode(vec![7_u8; count]));
    let cases = [
        (String::new(), Some(InvalidSecret::Prefix)),
        ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), Some(InvalidSecret::Prefix)),
        (
            "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=".to_owned(),
            Some(InvalidSecret::Prefix),
        ),
        ("whsec_".to_owned(), Some(InvalidSecret::Length)),
        ("whsec_!".to_owned(), Some(InvalidSecret::Base64)),
        (of_bytes(23), Some(InvalidSecret::Length)),
        (of_bytes(24), None),
        (of_bytes(25).trim_end_matches('=').to_owned(), None),
        (of_bytes(64), None),
        (of_bytes(65), Some(InvalidSecret::Length)),
        ("whsk_AAAA".to_owned(), Some(InvalidSecret::Length)),
        (KEY_PAIR.replace("6Xb", "7Xb"), Some(InvalidSecret::KeyPair)),
    ];
    for (text, expected) in cases {
        assert_eq!(Secret::parse(&text, None).err(), expected, "{text}");
    }
}

#[test]
fn a_secret_is_not_printed() {
    let printed = format!("{:?}", secret(SECRET));
    assert_eq!(printed, "Secret { expires_at: None, .. }");
}

/// The verifier checks the time against the machine's clock, hence the signature of now.
fn verify(text: &str, header: &str, timestamp: &str, body: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", ID.parse().unwrap());
    headers.insert("webhook-timestamp", timestamp.parse().unwrap());
    headers.insert("webhook-signature", header.parse().unwrap());
    Webhook::new(text).unwrap().verify(body, &headers).is_ok()
}

#[test]
fn a_foreign_verifier_takes_what_we_sign() {
    use crate::deps::{Clock as _, SystemClock};

    let now = SystemClock::new().now();
    let seconds = now.as_ms() / 1000;
    let timestamp = seconds.to_string();
    let text = Secret::generate(&SystemRandom);
    for body in ["", "{}", BODY, "{\"name\":\"Ünïcode ☃\"}"] {
        let body = body.as_bytes();
        let alone = sign(&[secret(&text)], now, ID, &timestamp, body);
        assert!(verify(&text, &alone, &timestamp, body));
        let secrets = [secret(KEY_PAIR), secret(SECRET), secret(&text)];
        let among_others = sign(&secrets, now, ID, &timestamp, body);
        assert!(verify(&text, &among_others, &timestamp, body));
        assert!(!verify(OTHER_SECRET, &among_others, &timestamp, body));
        assert!(!verify(&text, &alone, &timestamp, b"other"));
        assert!(!verify(&text, "v1,", &timestamp, body));
        assert!(!verify(&text, &alone[..11], &timestamp, body));
        for skew in [-301, 301] {
            let skewed = (seconds + skew).to_string();
            let signature = sign(&[secret(&text)], now, ID, &skewed, body);
            assert!(!verify(&text, &signature, &skewed, body), "{skew}");
        }
    }
}
