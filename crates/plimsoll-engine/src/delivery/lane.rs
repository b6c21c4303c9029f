//! One channel's lane: a task that owns everything about sending to it.
//!
//! The task drives its connections, its attempts and its view of the store itself; nothing on the
//! way from an offer to the first byte takes a lock or wakes another task. Whatever its receiver
//! does costs the other lanes nothing but the machine's time.
//!
//! Guarantees: a delivery is never under way twice at once; first attempts of one customer start
//! in order; what is not in memory is in the store and is found there in order.
//!
//! Not here: what a result means (`plimsoll_core::delivery`), writing results (`writer`).

mod attempts;
mod backlog;
mod door;
mod ready;
mod request;
mod settled;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use hashbrown::HashSet;
use plimsoll_core::{
    delivery::pace::Pace,
    ids::{ChannelId, DeliveryId},
    limits,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc};

use self::{
    attempts::{Attempt, Attempts, Sent},
    backlog::{Backlog, Page},
    door::Door,
    ready::Ready,
    settled::Settled,
};
use super::{
    client::{Exchange, Failure},
    dispatcher::{Outbound, Shared},
    writer::{Finished, Written},
};
use crate::deps::BoxFuture;

/// How long the requests in flight may take to finish after a stop.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The longest sleep: after it, a clock that was set is noticed.
const SLEEP_LONGEST_US: u64 = 60_000_000;
/// Events handled before the lane looks at everything else again.
const EVENTS_AT_ONCE: usize = 64;

/// The dispatcher's end of a lane.
#[derive(Debug)]
pub(super) struct LaneHandle {
    inbox: mpsc::Sender<Outbound>,
    flags: Arc<Flags>,
}

/// What a lane is told beside deliveries.
#[derive(Debug, Default)]
struct Flags {
    /// A delivery did not fit into the inbox, or somebody found one in the store.
    look_into_store: AtomicBool,
    wake: Notify,
}

/// The state of a lane; its task owns it.
struct Lane {
    id: ChannelId,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Outbound>,
    flags: Arc<Flags>,
    written: mpsc::UnboundedReceiver<Vec<Written>>,
    door: Door,
    pace: Pace,
    ready: Ready,
    /// Every delivery that is in memory: ready, in flight, or with a result not yet written.
    held: HashSet<DeliveryId>,
    attempts: Attempts,
    backlog: Backlog,
    settled: Settled,
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    timer: Option<Timer>,
}

struct Timer {
    at_us: u64,
    sleep: BoxFuture<'static, ()>,
}

/// What the work of a lane comes to.
#[expect(clippy::large_enum_variant, reason = "the large variants are the common ones")]
enum Event {
    /// An attempt's request is on its way, or will not be.
    Begun(Attempt, Result<Exchange, Failure>),
    /// An attempt has its result.
    Ended(Attempt, Sent),
    /// The writer has taken a result.
    Submitted(Option<OwnedSemaphorePermit>),
    /// A slot among all lanes is free.
    Slot(OwnedSemaphorePermit),
    /// The store was read.
    Read(Page),
    /// Open deliveries of a closed channel were failed, or not.
    Swept(Result<(), ()>),
}

/// Starts the lane of a channel.
pub(super) fn start(
    shared: &Arc<Shared>,
    channel: ChannelId,
    results: mpsc::Sender<Finished>,
) -> LaneHandle {
    let (sender, inbox) = mpsc::channel(limits::LANE_QUEUE);
    let (tell, written) = mpsc::unbounded_channel();
    let flags = Arc::new(Flags::default());
    let lane = Lane {
        id: channel,
        inbox,
        flags: Arc::clone(&flags),
        written,
        door: Door::unknown(micros(shared.deps.clock.elapsed())),
        pace: Pace::new(None),
        ready: Ready::default(),
        held: HashSet::new(),
        attempts: Attempts::new(results, tell),
        backlog: Backlog::default(),
        settled: Settled::default(),
        work: FuturesUnordered::new(),
        timer: None,
        shared: Arc::clone(shared),
    };
    shared.deps.tasks.spawn(lane.run());
    LaneHandle { inbox: sender, flags }
}

impl LaneHandle {
    /// Hands over a delivery; gives it back if the lane has ended.
    pub(super) fn offer(&self, outbound: Outbound) -> Option<Outbound> {
        match self.inbox.try_send(outbound) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.look_into_store();
                None
            }
            Err(mpsc::error::TrySendError::Closed(outbound)) => Some(outbound),
        }
    }

    /// Has the lane look into the store.
    pub(super) fn look_into_store(&self) {
        self.flags.look_into_store.store(true, Ordering::Release);
        self.flags.wake.notify_one();
    }

    /// Has the lane look at its channel.
    pub(super) fn look_at_channel(&self) {
        self.flags.wake.notify_one();
    }

    /// Whether the lane has not ended.
    pub(super) fn is_running(&self) -> bool {
        !self.inbox.is_closed()
    }
}

impl Lane {
    async fn run(mut self) {
        let stopping = self.shared.deps.tasks.stopping();
        tokio::pin!(stopping);
        let flags = Arc::clone(&self.flags);
        loop {
            self.advance();
            if self.has_nothing_left() {
                break;
            }
            tokio::select! {
                biased;
                () = &mut stopping => break,
                Some(event) = self.work.next(), if !self.work.is_empty() => self.handle(event),
                Some(written) = self.written.recv() => self.confirm(written),
                Some(outbound) = self.inbox.recv() => self.accept(outbound),
                () = flags.wake.notified() => {}
                () = fired(&mut self.timer) => self.timer = None,
            }
            self.handle_what_is_there();
        }
        self.finish().await;
    }

    /// Does everything that can be done now.
    fn advance(&mut self) {
        if self.flags.look_into_store.swap(false, Ordering::Acquire) {
            self.backlog.is_behind_again();
            self.turn_away();
        }
        self.look_at_door();
        self.read_if_needed();
        self.start_attempts();
        self.drop_idle_wires();
        self.spill_if_paused();
        self.set_timer();
    }

    /// Handles what has come meanwhile, without waiting.
    fn handle_what_is_there(&mut self) {
        for _ in 0..EVENTS_AT_ONCE {
            let Some(Some(event)) = self.work.next().now_or_never() else { break };
            self.handle(event);
        }
        while let Ok(written) = self.written.try_recv() {
            self.confirm(written);
        }
        for _ in 0..EVENTS_AT_ONCE {
            let Ok(outbound) = self.inbox.try_recv() else { break };
            self.accept(outbound);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Begun(attempt, begun) => self.begun(attempt, begun),
            Event::Ended(attempt, sent) => self.ended(attempt, sent),
            Event::Submitted(permit) => self.attempts.leave(permit, &self.shared.meters),
            Event::Slot(permit) => self.attempts.spare(permit),
            Event::Read(page) => self.take_page(page),
            Event::Swept(result) => self.swept(result),
        }
    }

    /// Notes what is durable: it is out of memory now.
    fn confirm(&mut self, written: Vec<Written>) {
        for Written { delivery, attempts } in written {
            self.held.remove(&delivery);
            self.settled.insert(delivery, attempts);
        }
    }

    /// Whether the lane is of no more use: its channel was deleted and nothing of it is left.
    fn has_nothing_left(&mut self) -> bool {
        let is_clean = matches!(self.door, Door::Closed { sweep_at_us: None, is_sweeping: false });
        if !is_clean || !self.held.is_empty() || self.attempts.in_flight() > 0 {
            return false;
        }
        if self.shared.channels.get(self.id).is_some() {
            return false;
        }
        // From here on offers go to a new lane; what came just before is in the store.
        self.inbox.close();
        self.inbox.is_empty()
    }

    /// Lets the requests in flight finish, for a while.
    async fn finish(mut self) {
        self.inbox.close();
        let mut grace = self.shared.deps.clock.sleep(STOP_GRACE);
        let ready = self.ready.clear();
        self.let_go(ready);
        while self.attempts.in_flight() > 0 {
            tokio::select! {
                biased;
                Some(event) = self.work.next() => self.handle(event),
                () = &mut grace => {
                    let count = self.attempts.in_flight();
                    tracing::info!(channel = %self.id, count, "the stop breaks off requests");
                    self.attempts.forget(&self.shared.meters);
                    break;
                }
            }
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.shared.deps.clock.elapsed())
    }

    /// Arms the timer for the next thing that happens by itself.
    fn set_timer(&mut self) {
        let now_us = self.now_us();
        let next_us = [
            self.next_start_us(now_us),
            self.attempts.idle_until_us(),
            self.next_read_us(now_us),
            self.next_look_us(),
        ]
        .into_iter()
        .flatten()
        .min();
        let Some(at_us) = next_us.map(|it| it.clamp(now_us, now_us + SLEEP_LONGEST_US)) else {
            return;
        };
        // One that fires too early costs a glance; arming one costs more than that.
        if self.timer.as_ref().is_some_and(|it| it.at_us <= at_us) {
            return;
        }
        let sleep = self.shared.deps.clock.sleep(Duration::from_micros(at_us - now_us));
        self.timer = Some(Timer { at_us, sleep });
    }
}

async fn fired(timer: &mut Option<Timer>) {
    match timer {
        Some(timer) => timer.sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
