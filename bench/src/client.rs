//! The least HTTP/1.1 client that can drive the product: one connection, ready-made bytes.
//!
//! It writes requests that were built before the measurement and reads answers with a
//! `content-length`. Two cores are shared with the product, so every instruction here is a loss.
//!
//! Not here: TLS, redirects, chunked answers, pipelining.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// More than any answer that a workload asks for.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// One connection; one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The whole body.
    pub(crate) body: &'a [u8],
}

impl Connection {
    /// Connects with Nagle's algorithm off.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Writes `request` and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(message) = parse(&self.buffer)? {
                let body = &self.buffer[message.body_start..message.end];
                return Ok(Answer { status: status(&self.buffer)?, body });
            }
        }
    }
}

/// Where the body of a complete message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// The first byte after the empty line.
    pub(crate) body_start: usize,
    /// The first byte after the body.
    pub(crate) end: usize,
}

/// Finds the end of the message at the start of `bytes`; `None` while it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Message>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let body_start = head + 4;
    let length = content_length(&bytes[..head])?;
    if length > ANSWER_BYTES_MAX {
        return Err(io::Error::other("the answer is larger than any that is expected"));
    }
    let end = body_start + length;
    Ok((bytes.len() >= end).then_some(Message { body_start, end }))
}

/// Where `needle` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

fn status(head: &[u8]) -> io::Result<u16> {
    head.get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .ok_or_else(|| io::Error::other("the answer has no status"))
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let value = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(NAME.len())?;
        name.eq_ignore_ascii_case(NAME).then_some(value)
    });
    let Some(value) = value else {
        return match find(head, b"ransfer-") {
            Some(_) => Err(io::Error::other("the answer is chunked")),
            None => Ok(0),
        };
    };
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.trim().parse().ok())
        .ok_or_else(|| io::Error::other("content-length is not a number"))
}

/// The bytes of a request with a JSON body.
pub(crate) fn request(method: &str, path: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len(),
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_where_its_length_says() {
        let check = |bytes: &[u8], expected: Option<(usize, usize)>| {
            let found = parse(bytes).unwrap();
            assert_eq!(found.map(|it| (it.body_start, it.end)), expected);
        };
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", None);
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", Some((38, 40)));
        check(b"HTTP/1.1 204 No Content\r\n\r\n", Some((27, 27)));
        parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap_err();
        assert_eq!(status(b"HTTP/1.1 503 x").unwrap(), 503);
    }
}
