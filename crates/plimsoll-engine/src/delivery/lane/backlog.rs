//! How a lane and the store keep in step.
//!
//! A lane that is not *behind* has every due delivery of its channel in memory, and takes offers as
//! they come. When it is behind (its queue was full, it has just started, a retry is due), it drops
//! offers, since the store has them, and reads pages from the front of what is due, passing over
//! what it holds. A page that is not full ends that.
//!
//! Not here: sending (`attempts`).

use std::sync::{Arc, atomic::Ordering};

use plimsoll_core::{
    ids::{ChannelId, DeliveryId},
    limits,
    time::Timestamp,
};
use plimsoll_store::{
    ReadError, Store,
    delivery::{self, DueDelivery, DuePlace},
};

use super::{Door, Event, Lane, ready::Job};
use crate::delivery::dispatcher::Outbound;

/// Deliveries that one read brings into memory.
const PAGE: usize = 256;
/// A lane that is behind reads when fewer than this are ready.
const REFILL_BELOW: usize = 128;
/// Least distance between two reads for retries, which come due one by one.
const READ_INTERVAL_US: u64 = 20_000;
/// Wait after a read that failed.
const READ_RETRY_US: u64 = 1_000_000;

/// What a lane knows about the part of its work that is in the store only.
#[derive(Debug)]
pub(super) struct Backlog {
    is_behind: bool,
    /// The mark of `Settled` when the read under way began.
    reading_since: Option<u64>,
    /// Offers that came during a read, in order.
    arrivals: Vec<Outbound>,
    /// An offer was dropped since the read under way began.
    has_missed: bool,
    /// The earliest time at which a delivery that is in the store only is due again.
    retry_at: Option<Timestamp>,
    /// No read before this.
    read_not_before_us: u64,
}

/// What the store had.
pub(super) struct Page {
    result: Result<(Vec<DueDelivery>, Option<Timestamp>), ReadError>,
    limit: usize,
}

impl Default for Backlog {
    /// A lane starts behind: what is open in the store is unknown.
    fn default() -> Self {
        Self {
            is_behind: true,
            reading_since: None,
            arrivals: Vec::new(),
            has_missed: false,
            retry_at: None,
            read_not_before_us: 0,
        }
    }
}

impl Backlog {
    /// Whether deliveries may be due that are in the store only.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Notes that deliveries may be due that are in the store only.
    pub(super) fn is_behind_again(&mut self) {
        self.is_behind = true;
        self.has_missed = true;
    }

    /// Notes when a delivery will be tried again.
    pub(super) fn expect_retry(&mut self, at: Timestamp) {
        self.retry_at = Some(self.retry_at.map_or(at, |it| it.min(at)));
    }
}

impl Lane {
    /// Takes an offer into memory, if it is the lane's turn to have it there.
    pub(super) fn accept(&mut self, outbound: Outbound) {
        if self.flags.look_into_store.swap(false, Ordering::Acquire) {
            self.backlog.is_behind_again();
        }
        if self.turn_away() {
            return;
        }
        if self.is_known(outbound.delivery, 0) {
            return;
        }
        if self.backlog.is_behind {
            let is_reading = self.backlog.reading_since.is_some();
            if is_reading && self.backlog.arrivals.len() < limits::LANE_QUEUE {
                self.backlog.arrivals.push(outbound);
            } else {
                self.backlog.has_missed = true;
            }
        } else if self.ready.len() >= limits::LANE_QUEUE {
            self.backlog.is_behind_again();
        } else {
            self.hold(Job::from(outbound));
        }
    }

    /// Reads a page if something may be due that is in the store only, and there is room for it.
    pub(super) fn read_if_needed(&mut self) {
        let now_us = self.now_us();
        if self.read_due_us(now_us).is_none_or(|it| it > now_us) {
            return;
        }
        // A channel in trouble is probed one request at a time: a few are enough.
        let wanted = if self.pace.is_in_trouble() { limits::LANE_CONCURRENCY } else { PAGE };
        let limit = self.held.len() + wanted;
        let store = Arc::clone(&self.shared.deps.store);
        let now = self.shared.deps.clock.now();
        let channel = self.id;
        self.backlog.reading_since = Some(self.settled.mark());
        self.backlog.has_missed = false;
        self.backlog.retry_at = None;
        if !self.backlog.is_behind {
            self.backlog.read_not_before_us = now_us + READ_INTERVAL_US;
        }
        self.work.push(Box::pin(async move {
            let result = read(&*store, channel, now, limit).await;
            Event::Read(Page { result, limit })
        }));
    }

    /// When the next read is to be made, for the timer.
    pub(super) fn next_read_us(&self, now_us: u64) -> Option<u64> {
        self.read_due_us(now_us)
    }

    fn read_due_us(&self, now_us: u64) -> Option<u64> {
        let backlog = &self.backlog;
        let has_room = self.ready.len() < REFILL_BELOW;
        let is_open = matches!(self.door, Door::Open(_));
        if backlog.reading_since.is_some() || !has_room || !is_open {
            return None;
        }
        let wanted_us = if backlog.is_behind {
            now_us
        } else {
            let wait_ms = backlog.retry_at?.ms_since(self.shared.deps.clock.now());
            let wait_us = u64::try_from(wait_ms).unwrap_or(0).saturating_mul(1_000);
            now_us.saturating_add(wait_us)
        };
        // Nothing can be sent before the pause is over, so nothing needs to be known.
        Some(wanted_us.max(backlog.read_not_before_us).max(self.pace.paused_until_us()))
    }

    /// Takes a page into memory.
    pub(super) fn take_page(&mut self, page: Page) {
        let since = self.backlog.reading_since.take().expect("one read at a time");
        let arrivals = std::mem::take(&mut self.backlog.arrivals);
        let (rows, retry_at) = match page.result {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(channel = %self.id, %error, "due deliveries cannot be read");
                self.backlog.is_behind_again();
                self.backlog.read_not_before_us = self.now_us() + READ_RETRY_US;
                return;
            }
        };
        if !self.settled.reaches_back_to(since) || !matches!(self.door, Door::Open(_)) {
            self.backlog.is_behind_again();
            return;
        }
        let is_all = rows.len() < page.limit;
        for row in rows {
            if !self.is_known(row.delivery.id, row.delivery.attempts) {
                self.hold(Job::from(row));
            }
        }
        if let Some(at) = retry_at {
            self.backlog.expect_retry(at);
        }
        self.backlog.is_behind = !is_all || self.backlog.has_missed;
        if !self.backlog.is_behind {
            for outbound in arrivals {
                self.accept(outbound);
            }
        }
    }

    fn is_known(&self, delivery: DeliveryId, attempts: u32) -> bool {
        self.held.contains(&delivery) || self.settled.is_stale(delivery, attempts)
    }

    /// Drops jobs that were not started; the store has them.
    pub(super) fn let_go(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            self.held.remove(&job.delivery);
            self.shared.meters.queued.decrement(1);
        }
    }

    fn hold(&mut self, job: Job) {
        self.held.insert(job.delivery);
        self.shared.meters.queued.increment(1);
        self.ready.push(job);
    }
}

impl From<Outbound> for Job {
    fn from(outbound: Outbound) -> Self {
        let Outbound { delivery, notification, customer, body, .. } = outbound;
        Self { delivery, notification, customer, body, attempts: 0 }
    }
}

impl From<DueDelivery> for Job {
    fn from(due: DueDelivery) -> Self {
        let DueDelivery { delivery: row, body } = due;
        Self {
            delivery: row.id,
            notification: row.notification,
            customer: row.customer,
            body,
            attempts: row.attempts,
        }
    }
}

/// What is due at `now`, from the front, and when the next one is due if that is all.
async fn read(
    store: &dyn Store,
    channel: ChannelId,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<DueDelivery>, Option<Timestamp>), ReadError> {
    let count = u32::try_from(limit).unwrap_or(u32::MAX);
    let due = delivery::due(store, channel, now, None, count).await?;
    if due.len() >= limit {
        return Ok((due, None));
    }
    let end_of_due =
        DuePlace { next_attempt_at: now, ordinal: i64::MAX, id: DeliveryId::from_bits(u128::MAX) };
    let later = delivery::due(store, channel, Timestamp::MAX, Some(end_of_due), 1).await?;
    let retry_at = later.first().and_then(|it| it.delivery.next_attempt_at);
    Ok((due, retry_at))
}
