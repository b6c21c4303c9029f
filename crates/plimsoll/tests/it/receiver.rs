//! A receiver of webhooks that keeps everything it gets, outside the program under test.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use serde_json::Value;

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a webhook is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Listens on a port of its own until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let receiver = Self {
            address: listener.local_addr().expect("a bound socket"),
            received: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
        };
        let accepting = receiver.clone();
        let accept = move || {
            for stream in listener.incoming().flatten() {
                let receiver = accepting.clone();
                let serve = move || receiver.serve(&stream);
                thread::Builder::new().spawn(serve).expect("a thread");
            }
        };
        thread::Builder::new().name("receiver".to_owned()).spawn(accept).expect("a thread");
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What it answers from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What it got so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no holder of this lock panics").clone()
    }

    /// Reads requests from one connection until it ends.
    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            self.received.lock().ok()?.push(Received { headers, body });
            let status = self.status.load(Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
            let mut writer = stream;
            writer.write_all(answer.as_bytes()).ok()?;
        }
    }
}
