//! A typed client: one server, one key.

use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client as Connections, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::net::SocketAddr;

/// Talks to one server with one key, or with none.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    connections: Connections<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    pub(crate) key: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a problem; empty for a success.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The field that a problem names.
    pub(crate) fn field(&self) -> String {
        self.json()["field"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, key: Option<&str>) -> Self {
        let connections = Connections::builder(TokioExecutor::new()).build_http();
        Self { connections, address, key: key.map(str::to_owned) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same server with another key.
    pub(crate) fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// Sends exactly this.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.connections.request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, document: &Value) -> Answer {
        self.json(Method::POST, path, document).await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, document: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, document.to_string()).await
    }

    /// Sends a request that must succeed, and gives its document.
    pub(crate) async fn make(&self, path: &str, document: &Value) -> Value {
        let answer = self.post(path, document).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{path}: {:?}", answer.body);
        answer.json()
    }
}
