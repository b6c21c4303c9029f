//! Talks to the product as any client would: JSON over HTTP.
//!
//! Not here: shortcuts into the server. The demonstration proves nothing that a stranger with an
//! API key could not see.

use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, body::Bytes, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// A client with an API key.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: String,
}

/// Why a request gave no document.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ApiError {
    #[error("cannot build the request {method} {path}: {source}")]
    Request { method: Method, path: String, source: hyper::http::Error },
    #[error("{method} {path} got no answer: {source}")]
    NoAnswer { method: Method, path: String, source: hyper_util::client::legacy::Error },
    #[error("{method} {path} got half an answer: {source}")]
    HalfAnswer { method: Method, path: String, source: hyper::Error },
    #[error("{method} {path} was answered {status}: {body}")]
    Refused { method: Method, path: String, status: StatusCode, body: String },
    #[error("{method} {path} was answered with something that is not JSON: {source}")]
    NotJson { method: Method, path: String, source: serde_json::Error },
}

impl Api {
    /// A client of the server at `address`.
    pub(in crate::cli) fn new(address: SocketAddr, key: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: format!("http://{address}"),
            authorization: format!("Bearer {key}"),
        }
    }

    /// Gets the document at `path`.
    pub(in crate::cli) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// Posts a document and returns the one that comes back.
    pub(in crate::cli) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        self.send(Method::POST, path, Bytes::from(body.to_string())).await
    }

    /// Posts a body that is JSON already.
    pub(in crate::cli) async fn post_text(
        &self,
        path: &str,
        body: String,
    ) -> Result<Value, ApiError> {
        self.send(Method::POST, path, Bytes::from(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Value, ApiError> {
        // Every error says which request it was about.
        let about = || (method.clone(), path.to_owned());
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|source| {
                let (method, path) = about();
                ApiError::Request { method, path, source }
            })?;
        let answer = self.client.request(request).await.map_err(|source| {
            let (method, path) = about();
            ApiError::NoAnswer { method, path, source }
        })?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|source| {
            let (method, path) = about();
            ApiError::HalfAnswer { method, path, source }
        })?;
        let body = body.to_bytes();
        if !status.is_success() {
            let (method, path) = about();
            let body = String::from_utf8_lossy(&body).into_owned();
            return Err(ApiError::Refused { method, path, status, body });
        }
        serde_json::from_slice(&body).map_err(|source| {
            let (method, path) = about();
            ApiError::NotJson { method, path, source }
        })
    }
}
