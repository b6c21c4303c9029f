//! What each kind of answer, or of none, makes of a delivery.

use std::time::Duration;

use plimsoll_core::limits;
use plimsoll_store::delivery::DeliveryState::{self, Failed, Sending, Success};

use super::{receiver::Reply, world::World};

/// What an attempt is recorded as.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    state: DeliveryState,
    status: Option<u16>,
    error: Option<String>,
}

fn recorded(
    state: DeliveryState,
    status: impl Into<Option<u16>>,
    error: impl Into<Option<&'static str>>,
) -> Recorded {
    Recorded { state, status: status.into(), error: error.into().map(str::to_owned) }
}

/// Sends one delivery to a receiver that replies so, and gives the response body it left.
async fn check(reply: Reply, expected: Recorded) -> Vec<u8> {
    check_after(reply, Duration::ZERO, expected).await
}

/// The same, with the clock skipped ahead once the request has arrived.
async fn check_after(reply: Reply, skip: Duration, expected: Recorded) -> Vec<u8> {
    let name = format!("{:.120}", format!("{reply:?}"));
    let mut world = World::start().await;
    let receiver = world.receiver(reply).await;
    let channel = world.channel(&receiver.url());
    let delivery = world.send_one(channel).await;
    receiver.wait_for(1).await;
    if !skip.is_zero() {
        // Let what the receiver writes at once arrive first.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        world.clock.skip(skip);
    }
    let row = world.attempted(delivery, 1).await;
    let attempt = world.attempts(delivery).await.remove(0);
    let got = Recorded { state: row.state, status: attempt.status, error: attempt.error };
    assert_eq!(got, expected, "{name}");
    assert_eq!(row.next_attempt_at.is_some(), row.state == Sending, "{name}");
    assert_eq!(receiver.received().len(), 1, "nothing is followed or repeated: {name}");
    world.end().await;
    attempt.response_body.map(Vec::from).unwrap_or_default()
}

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[tokio::test]
async fn statuses() {
    for status in [200, 201, 202, 204, 299] {
        check(Reply::status(status, "", ""), recorded(Success, status, None)).await;
    }
    for status in [300, 304, 400, 401, 404, 429, 500, 501, 502, 503, 504, 599] {
        check(Reply::status(status, "", "no"), recorded(Sending, status, None)).await;
    }
    for status in [301, 302, 307, 308] {
        let headers = "location: http://127.0.0.1:1/\r\n";
        check(Reply::status(status, headers, ""), recorded(Sending, status, None)).await;
    }
    check(Reply::status(410, "", ""), recorded(Failed, 410, None)).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_reported() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::status(410, "", "")).await;
    let channel = world.channel(&receiver.url());
    let sent = world.send(channel, 1).await;
    world.reached(sent[0].delivery, Failed).await;
    assert_eq!(world.events.all(), [channel]);
    world.end().await;
}

#[tokio::test]
async fn bodies_are_kept_as_they_came_and_bounded() {
    let gzip = "content-encoding: gzip\r\n";
    let body = check(Reply::status(200, gzip, "\u{1f}bomb"), recorded(Success, 200, None)).await;
    assert_eq!(body, "\u{1f}bomb".as_bytes());

    let nul = check(Reply::status(200, "", "a\0b"), recorded(Success, 200, None)).await;
    assert_eq!(nul, b"a\0b");

    let long = "x".repeat(limits::RESPONSE_READ_BYTES - 1);
    let body = check(Reply::status(500, "", &long), recorded(Sending, 500, None)).await;
    assert_eq!(body.len(), limits::RESPONSE_BODY_BYTES);

    let endless = Reply::WriteForEver(bytes("HTTP/1.1 200 OK\r\n\r\n"), vec![b'x'; 8_192]);
    let body = check(endless, recorded(Success, 200, None)).await;
    assert_eq!(body.len(), limits::RESPONSE_BODY_BYTES);

    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = b"1;extension=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\nx\r\n".to_vec();
    let endless = Reply::WriteForEver(bytes(chunks), chunk);
    check(endless, recorded(Success, 200, None)).await;

    let huge = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\nok";
    let broken = Reply::WriteAndClose(bytes(huge));
    assert_eq!(check(broken, recorded(Success, 200, None)).await, b"ok");
}

#[tokio::test]
async fn what_is_not_an_answer() {
    let protocol = || recorded(Sending, None, "protocol");
    let head = "HTTP/1.1 200 OK\r\n";
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok".to_owned(),
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        "HTTP/9.9 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 2x0 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_owned(),
        format!("{head}x: {}\r\n\r\n", "y".repeat(1_000_000)),
        format!("{head}{}\r\n", "x: y\r\n".repeat(10_000)),
    ] {
        check(Reply::WriteAndStall(text.into_bytes()), protocol()).await;
    }
    let flood = Reply::WriteForEver(Vec::new(), bytes("HTTP/1.1 100 Continue\r\n\r\n"));
    check(flood, protocol()).await;
    let flood = Reply::WriteForEver(bytes(head), bytes("x: yyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"));
    check(flood, protocol()).await;
    for text in ["", "HTTP/1.1 200 OK\r\nconte"] {
        check(Reply::WriteAndClose(bytes(text)), recorded(Sending, None, "connect")).await;
    }
}

#[tokio::test]
async fn receivers_that_take_their_time() {
    let timeout = || recorded(Sending, None, "timeout");
    let skip = Duration::from_millis(limits::ATTEMPT_TIMEOUT_MS);
    check_after(Reply::WriteAndStall(Vec::new()), skip, timeout()).await;
    check_after(Reply::WriteAndStall(bytes("HTTP/1.1 200 OK\r\nx: ")), skip, timeout()).await;
    // The status is known: the rest of the body changes nothing.
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok";
    let body =
        check_after(Reply::WriteAndStall(bytes(half)), skip, recorded(Success, 200, None)).await;
    assert_eq!(body, b"ok");
}

#[tokio::test]
async fn a_second_answer_that_nobody_asked_for_is_not_taken_for_the_next() {
    let mut world = World::start().await;
    let one = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let stray = "HTTP/1.1 500 No\r\ncontent-length: 5\r\n\r\nstray";
    let receiver = world.receiver(Reply::Write(bytes(&format!("{one}{stray}")))).await;
    let channel = world.channel(&receiver.url());
    for number in 0..10 {
        let delivery = world.send_one(channel).await;
        let row = world.reached(delivery, Success).await;
        assert_eq!(row.attempts, 1);
        assert_eq!(receiver.received()[number].connection, number);
    }
    world.end().await;
}
