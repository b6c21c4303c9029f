//! The least HTTP client that can test a server: one request, one connection, blocking.

use std::{
    fmt::Write as _,
    io::{self, Read, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::wait;

/// Talks to one server with one API key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// Sends a request and reads the whole answer. An error means that there is no whole answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
        let mut stream = self.request(method, path, body)?;
        stream.set_read_timeout(Some(wait::DEADLINE))?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    /// Sends a request and does not wait for what comes of it.
    pub(crate) fn send_and_hang_up(&self, method: &str, path: &str, body: &[u8]) {
        drop(self.request(method, path, body).expect("the server reads"));
    }

    fn request(&self, method: &str, path: &str, body: &[u8]) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        write!(head, "authorization: Bearer {}\r\n", self.key).map_err(io::Error::other)?;
        write!(head, "content-length: {}\r\n", body.len()).map_err(io::Error::other)?;
        head.push_str("content-type: application/json\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        Ok(stream)
    }

    /// Sends a request that must succeed, and returns its document.
    pub(crate) fn call(&self, method: &str, path: &str, document: &Value) -> Value {
        let body = if document.is_null() { String::new() } else { document.to_string() };
        let response = self.send(method, path, body.as_bytes()).expect("an answer");
        let text = String::from_utf8_lossy(&response.body);
        assert!((200..300).contains(&response.status), "{method} {path}: {text}");
        response.json()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null)
    }

    pub(crate) fn post(&self, path: &str, document: &Value) -> Value {
        self.call("POST", path, document)
    }

    /// All items of a list, page by page.
    pub(crate) fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=1000{cursor}"));
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

/// A whole answer: its head, and as many bytes as the head announces.
fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|it| {
        let (name, value) = it.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let body = answer[end + 4..].to_vec();
    (length.unwrap_or(0) == body.len()).then_some(Response { status, body })
}
