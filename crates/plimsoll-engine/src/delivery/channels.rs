//! The channels as the lanes see them: committed, in memory, with their secrets ready to sign.
//!
//! `ops` puts a channel here after its change is committed. A lane notices at its next attempt, or
//! at once if it is idle.
//!
//! Not here: the documents of the API and their storage (`ops`).

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::{Arc, Mutex, RwLock},
};

use hashbrown::HashMap;
use hyper::header::{HeaderName, HeaderValue};
use plimsoll_core::ids::{ChannelId, EnvironmentId};
use tokio::sync::Notify;
use url::Url;

use super::{formats::Format, signature::Secret};

/// Where notifications go, as it is now.
#[derive(Debug)]
pub struct Channel {
    /// The id.
    pub id: ChannelId,
    /// The environment that it belongs to.
    pub environment: EnvironmentId,
    /// Its name.
    pub name: String,
    /// Where requests go; passed [`vet_url`](super::guard::vet_url).
    pub url: Url,
    /// Custom headers; passed [`vet_header`](super::guard::vet_header).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The secrets that sign, the newest first.
    pub secrets: Vec<Secret>,
    /// The wire format that it speaks.
    pub format: Format,
    /// Whether nothing is to be sent to it.
    pub disabled: bool,
    /// The life-cycle types that it takes directly; `*` stands for all.
    pub event_types: Vec<String>,
    /// Requests a second at the most; `None` for no limit.
    pub rate_limit: Option<NonZeroU32>,
}

/// All channels of all environments. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ChannelRegistry {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    channels: RwLock<HashMap<ChannelId, Arc<Channel>>>,
    /// Channels that changed since the dispatcher last looked. A set, so that it is bounded by the
    /// number of channels however often they change.
    changed: Mutex<BTreeSet<ChannelId>>,
    changes: Notify,
}

impl ChannelRegistry {
    /// A registry without channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a channel, or replaces what was known of it.
    pub fn put(&self, channel: Channel) {
        let id = channel.id;
        self.write(|channels| {
            channels.insert(id, Arc::new(channel));
        });
        self.announce(id);
    }

    /// Forgets a channel; its open deliveries will fail.
    pub fn remove(&self, id: ChannelId) {
        self.write(|channels| {
            channels.remove(&id);
        });
        self.announce(id);
    }

    /// The channel with this id.
    pub fn get(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.shared.channels.read().expect("no holder of this lock panics").get(&id).cloned()
    }

    /// The channels of an environment that take notifications of a life-cycle type directly, in the
    /// order of their ids.
    pub fn takers(&self, environment: EnvironmentId, r#type: &str) -> Vec<Arc<Channel>> {
        let channels = self.shared.channels.read().expect("no holder of this lock panics");
        let takes = |it: &&Arc<Channel>| {
            it.environment == environment
                && it.event_types.iter().any(|it| it == "*" || it == r#type)
        };
        let mut takers: Vec<_> = channels.values().filter(takes).cloned().collect();
        takers.sort_by_key(|it| it.id);
        takers
    }

    /// Waits until channels have changed since the last call, and says which.
    ///
    /// For the dispatcher alone: each change is told once.
    pub(super) async fn changed(&self) -> BTreeSet<ChannelId> {
        loop {
            let changed = std::mem::take(
                &mut *self.shared.changed.lock().expect("no holder of this lock panics"),
            );
            if !changed.is_empty() {
                return changed;
            }
            self.shared.changes.notified().await;
        }
    }

    fn write(&self, change: impl FnOnce(&mut HashMap<ChannelId, Arc<Channel>>)) {
        change(&mut self.shared.channels.write().expect("no holder of this lock panics"));
    }

    fn announce(&self, id: ChannelId) {
        self.shared.changed.lock().expect("no holder of this lock panics").insert(id);
        self.shared.changes.notify_one();
    }
}
