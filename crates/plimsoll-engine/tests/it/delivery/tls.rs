//! Webhooks over TLS: a receiver with a certificate is reached by its name only.

use std::{net::SocketAddr, sync::Arc};

use plimsoll_store::delivery::DeliveryState;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    receiver::{Receiver, Reply},
    world::World,
};

/// An authority, and what it has issued to `hooks.example.com`.
struct Issued {
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// Makes an authority that nobody knows, for one test.
fn issue() -> Issued {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let receiver = CertificateParams::new(vec!["hooks.example.com".to_owned()]).unwrap();
    let certificate = receiver.signed_by(&key, &issuer).unwrap();
    Issued {
        authority: root.der().clone(),
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    }
}

/// Puts TLS in front of a receiver, and gives the port.
async fn terminate_tls(world: &World, receiver: &Receiver, issued: &Issued) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate.clone()], issued.key.clone_key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = receiver.address;
    let group = world.outside.clone();
    world.outside.spawn(async move {
        let stopping = group.stopping();
        tokio::pin!(stopping);
        loop {
            let (outer, _) = tokio::select! {
                () = &mut stopping => return,
                accepted = listener.accept() => accepted.unwrap(),
            };
            let relay = relay(acceptor.clone(), outer, address);
            let stopping = group.stopping();
            group.spawn(async move {
                tokio::select! {
                    () = stopping => {}
                    () = relay => {}
                }
            });
        }
    });
    port
}

async fn relay(acceptor: TlsAcceptor, outer: TcpStream, address: SocketAddr) {
    // A sender that does not trust the certificate breaks off.
    let Ok(mut outer) = acceptor.accept(outer).await else { return };
    let mut inner = TcpStream::connect(address).await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut outer, &mut inner).await);
}

#[tokio::test]
async fn a_trusted_receiver_is_reached_by_its_name() {
    let mut world = World::asleep().await;
    let issued = issue();
    world.trust(issued.authority.clone());
    world.wake();
    let receiver = world.receiver(Reply::ok()).await;
    let port = terminate_tls(&world, &receiver, &issued).await;
    world.names.set("hooks.example.com", &["127.0.0.1"]);
    world.names.set("other.example.com", &["127.0.0.1"]);
    let channel = world.channel(&format!("https://hooks.example.com:{port}/"));
    for _ in 0..3 {
        let delivery = world.send_one(channel).await;
        world.reached(delivery, DeliveryState::Success).await;
    }
    assert_eq!(receiver.received().last().unwrap().connection, 0, "one handshake");
    for host in ["other.example.com", "127.0.0.1"] {
        let channel = world.channel(&format!("https://{host}:{port}/"));
        let delivery = world.send_one(channel).await;
        let row = world.attempted(delivery, 1).await;
        assert_eq!(row.error.as_deref(), Some("tls"), "{host}");
    }
    world.end().await;
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    let mut world = World::start().await;
    let receiver = world.receiver(Reply::ok()).await;
    let port = terminate_tls(&world, &receiver, &issue()).await;
    world.names.set("hooks.example.com", &["127.0.0.1"]);
    let channel = world.channel(&format!("https://hooks.example.com:{port}/"));
    let delivery = world.send_one(channel).await;
    let row = world.attempted(delivery, 1).await;
    assert_eq!(row.error.as_deref(), Some("tls"));
    assert_eq!(receiver.received().len(), 0);
    world.end().await;
}
