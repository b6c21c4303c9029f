//! Hands deliveries to the lanes of their channels.
//!
//! [`DispatcherHandle::offer`] is called right after the commit that made the deliveries. It never
//! waits: what does not fit into memory is in the store, and its lane will find it there. At the
//! start, and every few seconds as a safety net, the store is asked which channels have open
//! deliveries.
//!
//! Not here: the order and pace of one channel (`lane`), HTTP (`client`).

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

use bytes::Bytes;
use hashbrown::HashMap;
use plimsoll_core::{
    ids::{ChannelId, CustomerId, DeliveryId, NotificationId},
    limits,
};
use plimsoll_store::delivery;
use tokio::sync::{Semaphore, mpsc};

use super::{
    channels::ChannelRegistry,
    client::Client,
    lane::{self, LaneHandle},
    meters::Meters,
    writer::{self, Finished},
};
use crate::deps::{BoxFuture, Deps};

/// How often the store is asked for deliveries that nobody works on.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// How long a delivery may be due before the sweep takes care of it.
const SWEEP_AGE_MS: i64 = 5_000;
/// Wait after the store could not be asked.
const SWEEP_RETRY: Duration = Duration::from_secs(1);

/// One committed delivery that has had no attempt.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its notification; the `webhook-id`.
    pub notification: NotificationId,
    /// Where it goes.
    pub channel: ChannelId,
    /// Whom it is about; first attempts of one customer on one channel start in order.
    pub customer: Option<CustomerId>,
    /// Its place in the order of its partition.
    pub ordinal: i64,
    /// The frozen body.
    pub body: Bytes,
}

/// What the control plane wants to know of the channels.
pub trait ChannelEvents: Send + Sync + fmt::Debug {
    /// The receiver answered 410: the channel is to be disabled. Called again if it was not.
    fn gone(&self, channel: ChannelId) -> BoxFuture<'static, ()>;
}

/// Starts delivery.
#[derive(Debug)]
pub struct Dispatcher;

/// Offers deliveries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DispatcherHandle {
    shared: Arc<Shared>,
}

/// What all lanes share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) deps: Deps,
    pub(super) channels: ChannelRegistry,
    pub(super) client: Client,
    pub(super) meters: Meters,
    pub(super) events: OnceLock<Arc<dyn ChannelEvents>>,
    /// Requests in flight beyond the first of each lane.
    pub(super) slots: Arc<Semaphore>,
    lanes: RwLock<HashMap<ChannelId, LaneHandle>>,
    /// Weak, so that the writer ends when the last lane has.
    results: mpsc::WeakSender<Finished>,
    runtime: tokio::runtime::Handle,
}

impl Dispatcher {
    /// Starts delivery on the current runtime, beginning with everything open in the store.
    ///
    /// `channels` must hold every channel by now: the open deliveries of a channel that is missing
    /// from it fail as `channel_disabled`. Stopping `deps.tasks` ends it: what is in flight may
    /// finish within a bounded time, and results are written.
    pub fn start(deps: Deps, channels: ChannelRegistry, client: Client) -> DispatcherHandle {
        let (sender, results) = mpsc::channel(writer::QUEUE_RESULTS);
        let shared = Arc::new(Shared {
            channels,
            client,
            meters: Meters::new(),
            events: OnceLock::new(),
            slots: Arc::new(Semaphore::new(limits::DISPATCH_CONCURRENCY)),
            lanes: RwLock::default(),
            results: sender.downgrade(),
            runtime: tokio::runtime::Handle::current(),
            deps,
        });
        let deps = &shared.deps;
        deps.tasks.spawn(writer::run(deps.clone(), results));
        deps.tasks.spawn(watch(Arc::clone(&shared), sender));
        DispatcherHandle { shared }
    }
}

impl DispatcherHandle {
    /// Takes over deliveries that have just been committed, in the order of their commits.
    ///
    /// Never waits, and may be called from any thread.
    pub fn offer(&self, deliveries: Vec<Outbound>) {
        for outbound in deliveries {
            self.shared.offer(outbound);
        }
    }

    /// Tells `events` from now on. Only the first call counts.
    pub fn listen(&self, events: Arc<dyn ChannelEvents>) {
        if self.shared.events.set(events).is_err() {
            tracing::error!("channel events have a listener already");
        }
    }

    /// The channels that deliveries go to.
    pub fn channels(&self) -> &ChannelRegistry {
        &self.shared.channels
    }

    /// The client that sends them.
    pub fn client(&self) -> &Client {
        &self.shared.client
    }
}

impl Shared {
    fn offer(self: &Arc<Self>, outbound: Outbound) {
        let channel = outbound.channel;
        let lanes = self.lanes.read().expect("no holder of this lock panics");
        let outbound = match lanes.get(&channel) {
            None => outbound,
            Some(lane) => match lane.offer(outbound) {
                None => return,
                Some(outbound) => outbound,
            },
        };
        drop(lanes);
        // A lane that has ended meanwhile leaves the delivery to the one after it, which begins
        // by looking into the store.
        drop(self.with_lane(channel, |lane| lane.offer(outbound)));
    }

    /// Has a lane look into the store.
    fn nudge(self: &Arc<Self>, channel: ChannelId) {
        self.with_lane(channel, LaneHandle::look_into_store);
    }

    /// Runs `work` with the lane of a channel, which is started if there is none.
    fn with_lane<T>(
        self: &Arc<Self>,
        channel: ChannelId,
        work: impl FnOnce(&LaneHandle) -> T,
    ) -> Option<T> {
        let mut lanes = self.lanes.write().expect("no holder of this lock panics");
        let is_running = lanes.get(&channel).is_some_and(LaneHandle::is_running);
        if !is_running {
            // Without a sender everything is stopping.
            let results = self.results.upgrade()?;
            let _runtime = self.runtime.enter();
            lanes.insert(channel, lane::start(self, channel, results));
        }
        lanes.get(&channel).map(work)
    }

    /// Tells the lanes of these channels that they changed. A channel without a lane has nothing
    /// open that a lane would have to know of.
    fn announce(&self, changed: &BTreeSet<ChannelId>) {
        let lanes = self.lanes.read().expect("no holder of this lock panics");
        changed.iter().filter_map(|it| lanes.get(it)).for_each(LaneHandle::look_at_channel);
    }

    /// Has every lane look into the store whose channel has a delivery that nobody works on.
    async fn sweep(self: &Arc<Self>, age_ms: i64) -> Result<(), plimsoll_store::ReadError> {
        let deps = &self.deps;
        let now = deps.clock.now();
        let mut oldest_ms = 0;
        for open in delivery::open_channels(&*deps.store).await? {
            let due_for_ms = now.ms_since(open.next_attempt_at);
            oldest_ms = oldest_ms.max(due_for_ms);
            if due_for_ms >= age_ms {
                self.nudge(open.channel);
            }
        }
        self.meters
            .oldest_due_seconds
            .set(Duration::from_millis(oldest_ms.unsigned_abs()).as_secs_f64());
        Ok(())
    }
}

/// Sweeps, and tells lanes when their channels change. Holds the writer's inbox open.
async fn watch(shared: Arc<Shared>, results: mpsc::Sender<Finished>) {
    let stopping = shared.deps.tasks.stopping();
    tokio::pin!(stopping);
    // At the start everything open is picked up, whenever it is due.
    let mut age_ms = i64::MIN;
    loop {
        let wait = match shared.sweep(age_ms).await {
            Ok(()) => {
                age_ms = SWEEP_AGE_MS;
                SWEEP_INTERVAL
            }
            Err(error) => {
                tracing::warn!(%error, "open deliveries cannot be read, trying again");
                SWEEP_RETRY
            }
        };
        let swept = shared.deps.clock.sleep(wait);
        tokio::pin!(swept);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => {
                    drop(results);
                    return;
                }
                () = &mut swept => break,
                changed = shared.channels.changed() => shared.announce(&changed),
            }
        }
    }
}
