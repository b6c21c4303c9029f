//! Where the client goes, and where it refuses to go whatever the name says.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header::HOST};
use plimsoll_engine::delivery::client::Target;
use plimsoll_store::delivery::DeliveryState;

use super::{
    receiver::Reply,
    world::{World, channel, rand},
};

/// Sends one delivery to `url`, which is not vetted first, and gives the class of its error.
async fn error_of(world: &mut World, url: &str) -> String {
    let id = plimsoll_core::ids::ChannelId::from_parts(1, rand());
    world.put(channel(id, url.parse().unwrap()));
    let delivery = world.send_one(id).await;
    let row = world.attempted(delivery, 1).await;
    assert_eq!(row.state, DeliveryState::Sending, "{url}");
    row.error.unwrap()
}

#[tokio::test]
async fn addresses_are_judged_when_they_are_dialled() {
    let mut world = World::start().await;
    world.names.set("private.example.com", &["10.0.0.1"]);
    world.names.set("metadata.example.com", &["169.254.169.254"]);
    world.names.set("mapped.example.com", &["::ffff:10.0.0.1"]);
    world.names.set("mixed.example.com", &["127.0.0.1", "192.168.0.1"]);
    for url in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://0x0a000001/",
        "http://private.example.com/",
        "http://metadata.example.com./",
        "http://mapped.example.com/",
        "http://mixed.example.com/",
    ] {
        assert_eq!(error_of(&mut world, url).await, "blocked_destination", "{url}");
    }
    world.end().await;
}

#[tokio::test]
async fn failures_on_the_way_have_their_class() {
    let mut world = World::start().await;
    let plain = world.receiver(Reply::status(400, "", "")).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    for (url, class) in [
        ("http://missing.example.com/".to_owned(), "dns"),
        (format!("http://{closed}/"), "refused"),
        (format!("https://{}/", plain.address), "tls"),
    ] {
        assert_eq!(error_of(&mut world, &url).await, class, "{url}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_name_leads_to_the_address_that_was_judged() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    world.names.set("hooks.example.com", &["127.0.0.1"]);
    let id = world.channel(&format!("http://hooks.example.com:{}/x", receiver.address.port()));
    let delivery = world.send_one(id).await;
    world.reached(delivery, DeliveryState::Success).await;
    let host = format!("hooks.example.com:{}", receiver.address.port());
    assert_eq!(receiver.received()[0].header("host"), host);
    // The name moves to a private address: the next connection is refused.
    world.names.set("hooks.example.com", &["10.0.0.1"]);
    world.clock.skip(std::time::Duration::from_secs(5));
    let delivery = world.send_one(id).await;
    let row = world.attempted(delivery, 1).await;
    assert_eq!(row.error.as_deref(), Some("blocked_destination"));
    assert_eq!(receiver.received().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_changed_url_is_used_from_the_next_attempt_on() {
    let mut world = World::start().await;
    let first = world.receiver(Reply::status(500, "", "")).await;
    let second = world.receiver(Reply::ok()).await;
    let id = world.channel(&first.url());
    let delivery = world.send_one(id).await;
    world.attempted(delivery, 1).await;
    world.put(channel(id, second.url().parse().unwrap()));
    world.skip_to_next_attempt(delivery).await;
    world.reached(delivery, DeliveryState::Success).await;
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
    world.end().await;
}

#[tokio::test]
async fn a_single_request_passes_the_same_guard() {
    let world = World::start().await;
    let receiver = world.receiver(Reply::status(418, "retry-after: 3\r\n", "tea")).await;
    let client = world.client();
    let send = async |url: &str| {
        let target = Target::new(&url.parse().unwrap()).unwrap();
        let request = Request::post(target.uri().clone()).header(HOST, target.authority());
        let request = request.body(Full::new(Bytes::from("{}"))).unwrap();
        client.send(&target, request).await
    };
    let answer = send(&receiver.url()).await.unwrap();
    assert_eq!(
        (answer.status, answer.retry_after_ms, &*answer.body),
        (418, Some(3_000), &b"tea"[..])
    );
    let failure = send("http://10.0.0.1/").await.unwrap_err();
    assert_eq!(failure.class.as_str(), "blocked_destination");
    assert_eq!(failure.detail, "10.0.0.1 is a private address");
    world.end().await;
}
