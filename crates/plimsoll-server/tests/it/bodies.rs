//! Compressed bodies, and bounds that a header cannot lie away.

use std::io::{Read, Write};

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::{client::Client, company, company::event, product::Product};

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_taken() {
    let product = Product::start().await;
    let client = product.live();
    company::set_up(&client).await;
    let events: Vec<_> = (0..1_000).map(|it| event(&it.to_string(), 1)).collect();
    let plain = json!(events).to_string().into_bytes();
    let parts = plain.split_at(plain.len() / 2);
    let two_members = [gzip(parts.0), gzip(parts.1)].concat();
    let cases = [
        ("identity", plain.clone()),
        ("gzip", gzip(&plain)),
        ("GZIP", gzip(&plain)),
        ("gzip", two_members),
        ("zstd", zstd(&plain)),
    ];
    for (encoding, body) in cases {
        let answer = post(&client, encoding, body).await;
        assert_eq!(answer.0, StatusCode::OK, "{encoding}: {}", answer.1);
    }
    assert_eq!(company::usage(&client).await, "1000");
    let small = gzip(company::meter().to_string().replace("tokens", "more").as_bytes());
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = client.send(Method::POST, "/v1/meters", &headers, small).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.body);
    product.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decompressed_within_bounds_is_refused() {
    let product = Product::start().await;
    let client = product.live();
    let bomb = vec![b' '; 200_000_000];
    let plain = event("1", 1).to_string().into_bytes();
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 8].to_vec();
    let cases = [
        ("gzip", gzip(&bomb), 413, "body_too_large"),
        ("zstd", zstd(&bomb), 413, "body_too_large"),
        ("gzip", plain.clone(), 415, "unsupported_encoding"),
        ("zstd", plain.clone(), 415, "unsupported_encoding"),
        ("gzip", cut(gzip(&plain)), 415, "unsupported_encoding"),
        ("zstd", cut(zstd(&plain)), 415, "unsupported_encoding"),
        ("br", plain.clone(), 415, "unsupported_encoding"),
        ("gzip, gzip", gzip(&gzip(&plain)), 415, "unsupported_encoding"),
    ];
    for (encoding, body, status, code) in cases {
        let (got, text) = post(&client, encoding, body).await;
        assert_eq!(got.as_u16(), status, "{encoding}: {text}");
        assert!(text.contains(code), "{encoding}: {text}");
    }
    product.stop().await;
}

/// A chunked body says nothing of its length, and is bounded all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_is_bounded_while_it_is_read() {
    let product = Product::start().await;
    let client = product.live();
    let key = client.key.clone().expect("a key");
    let address = client.address();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        let head = format!(
            "POST /v1/meters HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("the server reads");
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        // 50 MB, written to the end before anything is read.
        for _ in 0..800 {
            stream.write_all(chunk.as_bytes()).expect("the server reads on");
        }
        stream.write_all(b"0\r\n\r\n").expect("the server reads on");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    });
    assert_eq!(answer.await.expect("no panic"), "HTTP/1.1 413");
    product.stop().await;
}

async fn post(client: &Client, encoding: &str, body: Vec<u8>) -> (StatusCode, String) {
    let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
    let answer = client.send(Method::POST, "/v1/events", &headers, body).await;
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).expect("memory can be read")
}
