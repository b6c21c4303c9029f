//! A walk over the usage of one environment on one partition's log.
//!
//! Rows come in the order of their stamps, which for one environment is the order of acceptance;
//! the events of a row in the order in which they were accepted. The walk reads ahead in pages that
//! begin small and grow, so that a short list is cheap and a long one takes few reads.
//!
//! Times: an event's effective time is never after its row's stamp, and not before it by more than
//! the dedupe window and [`limits::STAMP_LAG_MS`]. So a range of times is a range of stamps.
//!
//! Not here: several partitions together (`events`), rows that are no usage, applying anything.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use plimsoll_core::{
    codec::Corrupt,
    command::RowKind,
    ids::{CustomerId, EnvironmentId},
    limits,
    time::Timestamp,
};
use plimsoll_store::{
    ReadError, Store,
    log::{
        LogRow,
        stretch::{self, Direction, Head, Place, Stretch},
    },
    uncounted::{self, UncountedRow},
};

use super::filter::EventFilter;
use crate::partition::{
    uncounted_row::{self, Uncounted, UncountedEvent},
    usage_row::{self, EventRef, RowReader},
};

/// Heads that the first read of a scan brings; each further one brings twice as many.
const FIRST_ROWS: usize = 32;
/// Bytes that the first read of payloads brings; each further one brings twice as many.
const FIRST_BYTES: usize = 64 * 1024;

/// What to walk over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRequest {
    /// Whose usage.
    pub environment: EnvironmentId,
    /// On which partition.
    pub partition: u32,
    /// From which end.
    pub direction: Direction,
    /// Only rows that come after this place in the direction of the walk.
    pub after: Option<Place>,
    /// Which events.
    pub filter: EventFilter,
    /// Whether to look up why events were not counted; done in any case if the filter asks.
    pub with_reasons: bool,
}

/// How much may still be read. A scan charges what it does; who drives it decides when to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanBudget {
    /// Rows to look at.
    pub rows: usize,
    /// Bytes of rows, as stored, to read.
    pub bytes: usize,
}

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The store cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored cannot be understood. Waiting does not help.
    #[error("partition {partition}, log position {position}: {source}")]
    Corrupt {
        /// Which partition.
        partition: u32,
        /// Which row.
        position: i64,
        /// What is wrong.
        source: Corrupt,
    },
}

/// A row of the log with those of its events that were asked for.
#[derive(Debug)]
pub struct ScannedRow {
    /// Where it stands.
    pub place: Place,
    bytes: Vec<u8>,
    found: Vec<Found>,
    uncounted: Vec<UncountedEvent>,
}

/// An event that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScannedEvent<'a> {
    /// Its place in the row, from 0.
    pub index: u32,
    /// Whose it is.
    pub customer: CustomerId,
    /// Its effective time.
    pub time: Timestamp,
    /// The event as it was sent.
    pub raw: &'a str,
    /// The meters that could not count it; empty if the scan does not look.
    pub uncounted: &'a [Uncounted],
}

/// An event that was found, by its place in the bytes of its row.
#[derive(Debug)]
struct Found {
    index: u32,
    customer: CustomerId,
    time: Timestamp,
    raw: Range<usize>,
}

/// A row whose payload is here, not decoded yet.
#[derive(Debug)]
struct Fetched {
    place: Place,
    /// Absent if it was pruned a moment ago, or cannot hold what is asked for.
    row: Option<LogRow>,
    uncounted: Vec<UncountedEvent>,
}

/// The walk. Rows that are committed while it goes on may or may not be in it.
#[derive(Debug)]
pub struct LogScan {
    store: Arc<dyn Store>,
    request: ScanRequest,
    /// What has not been looked at yet; nothing if there is no more.
    ahead: Option<Stretch>,
    heads: VecDeque<Head>,
    rows: VecDeque<Fetched>,
    head_reads: u32,
    row_reads: u32,
}

impl Default for ScanBudget {
    /// What one request may cost.
    fn default() -> Self {
        Self { rows: limits::SCAN_ROWS, bytes: limits::SCAN_BYTES }
    }
}

impl ScanBudget {
    /// Whether the bound is reached.
    pub fn is_spent(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }

    fn charge(&mut self, rows: usize, bytes: usize) {
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl ScannedRow {
    /// The events, in the order of their acceptance.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = ScannedEvent<'_>> {
        self.found.iter().map(|it| ScannedEvent {
            index: it.index,
            customer: it.customer,
            time: it.time,
            raw: self.raw(it.raw.clone()),
            uncounted: reasons(&self.uncounted, it.index),
        })
    }

    fn raw(&self, place: Range<usize>) -> &str {
        let bytes = self.bytes.get(place).unwrap_or_default();
        std::str::from_utf8(bytes).expect("it was read as text from the same bytes")
    }
}

impl LogScan {
    /// A walk that has not begun.
    pub fn new(store: Arc<dyn Store>, request: ScanRequest) -> Self {
        let ahead = stretch_of(&request);
        let (heads, rows) = (VecDeque::new(), VecDeque::new());
        Self { store, request, ahead, heads, rows, head_reads: 0, row_reads: 0 }
    }

    /// Where the next row stands; nothing at the end.
    pub async fn peek(&mut self) -> Result<Option<Place>, ScanError> {
        if let Some(row) = self.rows.front() {
            return Ok(Some(row.place));
        }
        self.fill_heads().await?;
        Ok(self.heads.front().map(|it| it.place))
    }

    /// The next row, also if nothing in it was asked for; nothing at the end.
    pub async fn next(&mut self, budget: &mut ScanBudget) -> Result<Option<ScannedRow>, ScanError> {
        if self.rows.is_empty() {
            self.fill_heads().await?;
            self.fill_rows(budget).await?;
        }
        let Some(fetched) = self.rows.pop_front() else { return Ok(None) };
        budget.charge(1, 0);
        let position = fetched.place.position;
        self.scanned(fetched).map(Some).map_err(|source| self.corrupt(position, source))
    }

    async fn fill_heads(&mut self) -> Result<(), ScanError> {
        let Some(ahead) = self.ahead.filter(|_| self.heads.is_empty()) else { return Ok(()) };
        let ScanRequest { environment, direction, .. } = self.request;
        let store = &*self.store;
        let most = grown(FIRST_ROWS, self.head_reads, limits::SCAN_PAGE_ROWS);
        self.head_reads += 1;
        let limit = most as u32;
        let heads = if self.request.filter.counted == Some(false) {
            let (partition, range) = (ahead.partition, (ahead.from, ahead.before));
            uncounted::heads(store, environment, partition, range, direction, limit).await?
        } else {
            stretch::heads(store, &ahead, direction, limit).await?
        };
        let last = heads.last().filter(|_| heads.len() == most).map(|it| it.place);
        self.ahead = last.map(|it| match direction {
            Direction::Forward => Stretch { from: just_after(it), ..ahead },
            Direction::Backward => Stretch { before: it, ..ahead },
        });
        self.heads = heads.into();
        Ok(())
    }

    /// Brings the payloads of the next heads.
    async fn fill_rows(&mut self, budget: &mut ScanBudget) -> Result<(), ScanError> {
        let heads = self.next_heads();
        let mut uncounted = self.uncounted(&heads).await?;
        let customer = self.request.filter.uncounted_customer();
        let can_hold_some = |it: &&Head| {
            let events = uncounted.get(&it.place.position);
            let of =
                |customer| events.is_some_and(|it| it.iter().any(|it| it.customer == customer));
            customer.is_none_or(of)
        };
        let wanted: Vec<&Head> = heads.iter().filter(can_hold_some).collect();
        budget.charge(0, wanted.iter().map(|it| it.payload_bytes).sum());
        let positions: Vec<i64> = wanted.iter().map(|it| it.place.position).collect();
        let rows = stretch::rows(&*self.store, self.request.partition, &positions).await?;
        let mut rows: BTreeMap<i64, LogRow> =
            rows.into_iter().map(|it| (it.position, it)).collect();
        let fetched = heads.into_iter().map(|Head { place, .. }| Fetched {
            place,
            row: rows.remove(&place.position),
            uncounted: uncounted.remove(&place.position).unwrap_or_default(),
        });
        self.rows = fetched.collect();
        Ok(())
    }

    /// Takes as many heads as one read of payloads may bring, but one at least.
    fn next_heads(&mut self) -> Vec<Head> {
        let most = grown(FIRST_BYTES, self.row_reads, limits::SCAN_PAGE_BYTES);
        self.row_reads += 1;
        let mut bytes = 0;
        let mut heads = Vec::new();
        while let Some(head) = self.heads.pop_front_if(|it| {
            bytes += it.payload_bytes;
            bytes <= most || heads.is_empty()
        }) {
            heads.push(head);
        }
        heads
    }

    /// What is uncounted in these rows, by position.
    async fn uncounted(
        &self,
        heads: &[Head],
    ) -> Result<BTreeMap<i64, Vec<UncountedEvent>>, ScanError> {
        if !self.request.with_reasons && self.request.filter.counted.is_none() {
            return Ok(BTreeMap::new());
        }
        let positions: Vec<i64> = heads.iter().map(|it| it.place.position).collect();
        let rows = uncounted::rows(&*self.store, self.request.partition, &positions).await?;
        let decode = |row: UncountedRow| match uncounted_row::decode(&row.payload) {
            Ok(events) => Ok((row.position, events)),
            Err(source) => Err(self.corrupt(row.position, source)),
        };
        rows.into_iter().map(decode).collect()
    }

    fn scanned(&self, fetched: Fetched) -> Result<ScannedRow, Corrupt> {
        let Fetched { place, row, uncounted } = fetched;
        let bytes = match &row {
            Some(row) => usage_row::unpack(&row.payload)?,
            None => Vec::new(),
        };
        let found = if row.is_some() { self.find(&bytes, &uncounted)? } else { Vec::new() };
        Ok(ScannedRow { place, bytes, found, uncounted })
    }

    /// The wanted events in the bytes of a row.
    fn find(&self, bytes: &[u8], uncounted: &[UncountedEvent]) -> Result<Vec<Found>, Corrupt> {
        let reader = RowReader::new(bytes)?;
        let mut found = Vec::new();
        if reader.environment != self.request.environment {
            return Ok(found);
        }
        for (index, event) in (0..).zip(reader) {
            let event = event?;
            let is_counted = || reasons(uncounted, index).is_empty();
            if self.request.filter.takes(event, is_counted)? {
                let EventRef { customer, time, raw } = event;
                let start = raw.as_ptr().addr() - bytes.as_ptr().addr();
                found.push(Found { index, customer, time, raw: start..start + raw.len() });
            }
        }
        Ok(found)
    }

    fn corrupt(&self, position: i64, source: Corrupt) -> ScanError {
        ScanError::Corrupt { partition: self.request.partition, position, source }
    }
}

/// The part of the log in which the events that are asked for can be.
fn stretch_of(request: &ScanRequest) -> Option<Stretch> {
    let at = |stamped_at| Place { stamped_at, position: i64::MIN };
    let lag_ms = limits::DEDUPE_WINDOW_MS + limits::STAMP_LAG_MS;
    let mut from = request.filter.from.map_or(Place::FIRST, at);
    let mut before = request.filter.to.map_or(Place::LAST, |it| at(it.plus_ms(lag_ms)));
    match (request.direction, request.after) {
        (_, None) => {}
        (Direction::Forward, Some(after)) => from = from.max(just_after(after)),
        (Direction::Backward, Some(after)) => before = before.min(after),
    }
    let (partition, kind) = (request.partition, RowKind::Usage.code() as u32);
    let is_possible = !request.filter.is_empty() && from < before;
    is_possible.then_some(Stretch { partition, kind, from, before })
}

/// The first place that comes after a row.
fn just_after(place: Place) -> Place {
    Place { position: place.position.saturating_add(1), ..place }
}

/// Why the event at this index of its row was not counted.
fn reasons(uncounted: &[UncountedEvent], index: u32) -> &[Uncounted] {
    let place = uncounted.binary_search_by_key(&index, |it| it.index);
    place.ok().and_then(|it| uncounted.get(it)).map_or(&[], |it| &it.reasons)
}

fn grown(first: usize, reads: u32, most: usize) -> usize {
    first.saturating_mul(2_usize.saturating_pow(reads)).min(most)
}
