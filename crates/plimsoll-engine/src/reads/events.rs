//! The events of an environment as they were accepted, the newest first, in pages.
//!
//! The order is that of acceptance: stamp, partition, position, index in the row. A page goes on
//! where the one before ended, whatever was accepted in the meantime.
//!
//! Not here: reading one partition (`log_scan`), documents and parameters (`ops`).

use std::{cmp::Ordering, sync::Arc};

use futures_util::future::try_join_all;
use plimsoll_core::{
    ids::{CustomerId, EnvironmentId},
    limits,
    time::Timestamp,
};
use plimsoll_store::{
    Store,
    log::stretch::{Direction, Place},
};

use super::{
    filter::EventFilter,
    log_scan::{LogScan, ScanBudget, ScanError, ScanRequest, ScannedEvent, ScannedRow},
};
use crate::partition::{partition_of, uncounted_row::Uncounted};

/// Reads the events of all partitions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EventReader {
    store: Arc<dyn Store>,
    partitions: u32,
}

/// The place of an event among all events of its environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// When it was accepted.
    pub stamped_at: Timestamp,
    /// By which partition.
    pub partition: u32,
    /// In which row of its log.
    pub position: i64,
    /// Where in the row, from 0.
    pub index: u32,
}

/// An accepted event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEvent {
    /// Where it stands.
    pub place: EventPlace,
    /// Whose it is.
    pub customer: CustomerId,
    /// Its effective time.
    pub time: Timestamp,
    /// The event as it was sent.
    pub raw: String,
    /// The meters that could not count it, and why.
    pub uncounted: Vec<Uncounted>,
}

/// A part of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events, the newest first.
    pub events: Vec<ListedEvent>,
    /// What the next page comes after; nothing if this is the last.
    pub last: Option<EventPlace>,
    /// Bytes of the events.
    bytes: usize,
}

impl EventReader {
    /// Since when every accepted event is there, by the machine's clock; nothing if none was
    /// pruned.
    pub async fn complete_from(&self) -> Result<Option<Timestamp>, plimsoll_store::ReadError> {
        plimsoll_store::base::complete_from(&*self.store).await
    }

    /// Over a store that was made with so many partitions.
    pub fn new(store: Arc<dyn Store>, partitions: u32) -> Self {
        Self { store, partitions }
    }

    /// The newest events after a place, at most `limit`.
    ///
    /// When the budget is spent the page ends, and may be short or empty although more follow; but
    /// every call gets on by one row of the log at least. A page also ends at
    /// [`limits::EVENTS_PAGE_BYTES`].
    pub async fn list(
        &self,
        environment: EnvironmentId,
        filter: &EventFilter,
        after: Option<EventPlace>,
        limit: usize,
        mut budget: ScanBudget,
    ) -> Result<EventPage, ScanError> {
        let mut scans = self.scans(environment, filter, after);
        let mut fronts = try_join_all(scans.iter_mut().map(|(_, scan)| scan.peek())).await?;
        let mut page = EventPage::default();
        while let Some(next) = newest(&scans, &fronts) {
            let (Some((partition, scan)), Some(front)) =
                (scans.get_mut(next), fronts.get_mut(next))
            else {
                break;
            };
            let Some(row) = scan.next(&mut budget).await? else { break };
            if page.take(*partition, &row, after, limit) {
                break;
            }
            if budget.is_spent() {
                page.last = Some(EventPlace::of(*partition, row.place, 0));
                break;
            }
            *front = scan.peek().await?;
            // Rows are decoded here, and many may be at hand: others have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(page)
    }

    /// A walk over each partition in which there may be something.
    fn scans(
        &self,
        environment: EnvironmentId,
        filter: &EventFilter,
        after: Option<EventPlace>,
    ) -> Vec<(u32, LogScan)> {
        let partitions = match filter.customer {
            None => 0..self.partitions,
            Some(customer) => {
                let one = partition_of(customer, self.partitions as usize) as u32;
                one..one + 1
            }
        };
        let scan = |partition| {
            let request = ScanRequest {
                environment,
                partition,
                direction: Direction::Backward,
                after: after.map(|it| it.row_bound(partition)),
                filter: filter.clone(),
                with_reasons: true,
            };
            (partition, LogScan::new(Arc::clone(&self.store), request))
        };
        partitions.map(scan).collect()
    }
}

/// Which of the walks has the newest row in front.
fn newest(scans: &[(u32, LogScan)], fronts: &[Option<Place>]) -> Option<usize> {
    let rows = scans.iter().zip(fronts).enumerate();
    rows.filter_map(|(at, ((partition, _), front))| {
        front.map(|it| (EventPlace::of(*partition, it, 0), at))
    })
    .max()
    .map(|(_, at)| at)
}

impl EventPlace {
    fn of(partition: u32, row: Place, index: u32) -> Self {
        let Place { stamped_at, position } = row;
        Self { stamped_at, partition, position, index }
    }

    /// What the rows of a partition must come before to hold anything older than this event.
    fn row_bound(self, partition: u32) -> Place {
        let position = match partition.cmp(&self.partition) {
            Ordering::Less => i64::MAX,
            // Its own row holds older ones, unless it is the first there.
            Ordering::Equal if self.index > 0 => self.position.saturating_add(1),
            Ordering::Equal => self.position,
            Ordering::Greater => i64::MIN,
        };
        Place { stamped_at: self.stamped_at, position }
    }
}

impl EventPage {
    /// Takes what is new on this row. True if the page is full and there is more.
    fn take(
        &mut self,
        partition: u32,
        row: &ScannedRow,
        after: Option<EventPlace>,
        limit: usize,
    ) -> bool {
        for event in row.events().rev() {
            let place = EventPlace::of(partition, row.place, event.index);
            if after.is_some_and(|after| place >= after) {
                continue;
            }
            self.bytes += event.raw.len();
            let is_large = self.bytes > limits::EVENTS_PAGE_BYTES && !self.events.is_empty();
            if self.events.len() == limit || is_large {
                self.last = self.events.last().map(|it| it.place);
                return true;
            }
            self.events.push(ListedEvent::of(place, &event));
        }
        false
    }
}

impl ListedEvent {
    fn of(place: EventPlace, event: &ScannedEvent<'_>) -> Self {
        Self {
            place,
            customer: event.customer,
            time: event.time,
            raw: event.raw.to_owned(),
            uncounted: event.uncounted.to_vec(),
        }
    }
}
