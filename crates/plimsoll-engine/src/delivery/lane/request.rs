//! Makes the request of an attempt from what is known of the channel.
//!
//! Not here: sending it (`client`).

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use plimsoll_core::time::Timestamp;

use super::ready::Job;
use crate::delivery::{
    channels::Channel,
    client::{InvalidTarget, Target},
    formats::Format,
    signature,
};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// Who sends.
const AGENT: &str = concat!("Plimsoll/", env!("CARGO_PKG_VERSION"));

/// A channel with everything that its requests have in common.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) channel: Arc<Channel>,
    pub(super) target: Arc<Target>,
    headers: HeaderMap,
}

impl Prepared {
    pub(super) fn new(channel: Arc<Channel>) -> Result<Self, InvalidTarget> {
        let target = Target::new(&channel.url)?;
        let mut headers = HeaderMap::with_capacity(channel.headers.len() + 8);
        for (name, value) in &channel.headers {
            headers.append(name, value.clone());
        }
        headers.insert(HOST, target.authority().clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        match channel.format {
            Format::Plimsoll => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        Ok(Self { channel, target: Arc::new(target), headers })
    }

    /// The request of an attempt that begins at `now`, on the machine's clock.
    pub(super) fn request(&self, job: &Job, now: Timestamp) -> Request<Full<Bytes>> {
        let id = job.notification.to_string();
        let timestamp = (now.as_ms().div_euclid(1_000)).to_string();
        let signature = signature::sign(&self.channel.secrets, now, &id, &timestamp, &job.body);
        let mut headers = self.headers.clone();
        for (name, value) in
            [(WEBHOOK_ID, id), (WEBHOOK_TIMESTAMP, timestamp), (WEBHOOK_SIGNATURE, signature)]
        {
            let value = HeaderValue::try_from(value).expect("ids, digits and base64 are ASCII");
            headers.insert(name, value);
        }
        let mut request = Request::new(Full::new(job.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.uri().clone();
        *request.headers_mut() = headers;
        request
    }
}
