//! Verification: replays the log of every partition and compares everything that follows from it
//! with what is stored.
//!
//! Compared are the checkpoint, byte by byte where it was written; every entitlement and grant as
//! a restart would find it; what has closed; and every notification, both ways.
//!
//! Not here: printing it (the command line).

use std::{collections::BTreeSet, fmt};

use plimsoll_core::{
    archive::Settled,
    codec::CORE_VERSION,
    effect::Effect,
    ids::EntitlementId,
    limits,
    state::{GrantBalance, State},
    time::Timestamp,
};
use plimsoll_store::{
    Store,
    checkpoint::{self, CheckpointRow},
    log,
};

use super::{
    Replay, ReplayError,
    archive::ReplayArchive,
    begin,
    compare::{Comparison, value_text},
    expected::{Notifications, Scope},
    partition_count, restore,
};
use crate::partition::HEAD;

/// Bytes that one read of a checkpoint brings at the most.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Something that is stored otherwise than the log gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose log.
    pub partition: u32,
    /// What differs.
    pub what: String,
    /// What the store says.
    pub stored: String,
    /// What the log gives.
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, what, stored, replayed } = self;
        write!(f, "partition {partition}: {what}: stored: {stored}; by the log: {replayed}")
    }
}

/// What verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows of the log that were replayed.
    pub rows: u64,
    /// Usage events in them.
    pub events: u64,
    /// Metered entitlements that were compared.
    pub entitlements: u64,
    /// Notifications that were compared.
    pub notifications: u64,
    /// From when on the log is complete; nothing if it has its first row.
    pub complete_from: Option<Timestamp>,
    /// The first [`limits::VERIFY_DIFFERENCES`] differences.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub total: u64,
}

/// Counts differences and keeps the first.
#[derive(Debug, Default)]
pub(super) struct Tally {
    partition: u32,
    differences: Vec<Difference>,
    total: u64,
}

impl Tally {
    pub(super) fn note(
        &mut self,
        what: String,
        stored: impl fmt::Display,
        replayed: impl fmt::Display,
    ) {
        self.total += 1;
        if self.differences.len() < limits::VERIFY_DIFFERENCES {
            let partition = self.partition;
            let (stored, replayed) = (stored.to_string(), replayed.to_string());
            self.differences.push(Difference { partition, what, stored, replayed });
        }
    }
}

/// Verifies the whole store, or one partition of it. Nothing may write to it meanwhile.
pub async fn verify(store: &dyn Store, only: Option<u32>) -> Result<Verified, ReplayError> {
    let partitions = partition_count(store).await?;
    let mut verified = Verified::default();
    let mut tally = Tally::default();
    for partition in (0..partitions).filter(|it| only.is_none_or(|only| only == *it)) {
        tally.partition = partition;
        Verification { store, partition, partitions, tally: &mut tally, verified: &mut verified }
            .run()
            .await?;
    }
    verified.differences = tally.differences;
    verified.total = tally.total;
    Ok(verified)
}

/// One partition being verified.
struct Verification<'a> {
    store: &'a dyn Store,
    partition: u32,
    partitions: u32,
    tally: &'a mut Tally,
    verified: &'a mut Verified,
}

impl Verification<'_> {
    async fn run(mut self) -> Result<(), ReplayError> {
        let checkpoint = self.checkpoint().await?;
        let (state, start) = begin(self.store, self.partition).await?;
        let complete_from = start.base.map(|it| it.at);
        self.verified.complete_from = self.verified.complete_from.max(complete_from);
        let archive = ReplayArchive::after(&state, start.base.is_some());
        let mut replay = Replay::from(self.partition, state, start.position, archive);
        let mut entitlements = BTreeSet::new();
        let mut notifications = Notifications::default();
        self.replay(&mut replay, &checkpoint, &mut notifications, &mut entitlements).await?;
        let scope = Scope {
            partition: self.partition,
            partitions: self.partitions,
            first: start.position + 1,
            last: replay.position,
        };
        let is_cut = start.base.is_some();
        notifications.find_extra(self.store, scope, is_cut, self.tally).await?;
        self.verified.notifications += notifications.compared;
        self.compare_live(&replay.state, &checkpoint).await?;
        let mut comparison = Comparison {
            store: self.store,
            scope,
            known_after: start.base.map(|it| it.stamped_at),
            archive: &mut replay.archive,
            entitlements: &entitlements,
        };
        comparison.windows(self.tally).await?;
        comparison.cells(self.tally).await?;
        comparison.segments(self.tally).await?;
        Ok(())
    }

    async fn checkpoint(&self) -> Result<Vec<CheckpointRow>, ReplayError> {
        let mut rows: Vec<CheckpointRow> = Vec::new();
        loop {
            let after = rows.last().map(|it| it.slice);
            let page = checkpoint::read(self.store, self.partition, after, PAGE_BYTES).await?;
            if page.is_empty() {
                return Ok(rows);
            }
            rows.extend(page);
        }
    }

    /// Replays to the end of the log as it is now, comparing on the way.
    async fn replay(
        &mut self,
        replay: &mut Replay<ReplayArchive>,
        checkpoint: &[CheckpointRow],
        notifications: &mut Notifications,
        entitlements: &mut BTreeSet<EntitlementId>,
    ) -> Result<(), ReplayError> {
        let last = log::last_position(self.store, self.partition).await? as u64;
        let mut effects: Vec<Effect> = Vec::new();
        entitlements.extend(replay.state.metered_entitlements().map(|it| it.1));
        while replay.position < last {
            let rows = replay.next_rows(self.store).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows.iter().take_while(|it| it.position as u64 <= last) {
                self.verified.events += replay.apply(row, &mut effects)?.events;
                self.verified.rows += 1;
                notifications.take(&mut effects, &replay.state);
                self.compare_checkpoint(replay, checkpoint);
                if notifications.is_full() {
                    notifications.compare(self.store, self.tally).await?;
                }
            }
            entitlements.extend(replay.state.metered_entitlements().map(|it| it.1));
        }
        entitlements.extend(replay.archive.kept.segments.keys().map(|it| it.0));
        notifications.compare(self.store, self.tally).await?;
        Ok(())
    }

    /// Compares what a checkpoint says of the position that was just reached.
    fn compare_checkpoint(&mut self, replay: &Replay<ReplayArchive>, rows: &[CheckpointRow]) {
        let here = |it: &&CheckpointRow| {
            it.position as u64 == replay.position && i64::from(it.core_version) == CORE_VERSION
        };
        for row in rows.iter().filter(here) {
            let (name, replayed) = if row.slice == HEAD {
                ("head of the checkpoint".to_owned(), replay.state.encode_head())
            } else {
                let slice = row.slice as usize - 1;
                let name = format!("slice {slice} of the checkpoint");
                (name, replay.state.encode_slice(slice))
            };
            if row.payload != replayed {
                let at = format!("{name} at position {}", row.position);
                let size = |bytes: &[u8]| format!("{} other bytes", bytes.len());
                self.tally.note(at, size(&row.payload), size(&replayed));
            }
        }
    }

    /// Compares with the state that a start of the server would find.
    async fn compare_live(
        &mut self,
        replayed: &State,
        checkpoint: &[CheckpointRow],
    ) -> Result<(), ReplayError> {
        let Some((state, position)) = restore(self.partition, checkpoint)? else {
            self.verified.entitlements += replayed.metered_entitlements().count() as u64;
            return Ok(());
        };
        let mut live = Replay::from(self.partition, state, position, Settled);
        let mut effects = Vec::new();
        loop {
            let rows = live.next_rows(self.store).await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                live.apply(row, &mut effects)?;
                effects.clear();
            }
        }
        live.state.finish_replay();
        self.compare_states(&live.state, replayed);
        Ok(())
    }

    fn compare_states(&mut self, live: &State, replayed: &State) {
        let before = self.tally.total;
        for (customer, entitlement) in replayed.metered_entitlements() {
            self.verified.entitlements += 1;
            let what = |part: &str| format!("{part} of {entitlement} of {customer}");
            // As of the last row: neither has worked off what came later.
            let value = |it: &State| it.value(customer, entitlement, Timestamp::MIN);
            let (stored, expected) = (value(live), value(replayed));
            if stored != expected {
                let show =
                    |it: Option<_>| it.map_or_else(|| "none".to_owned(), |it| value_text(&it));
                self.tally.note(what("value"), show(stored), show(expected));
            }
            let grants = |it: &State| it.grant_balances(customer, entitlement, Timestamp::MIN);
            let (stored, expected) = (grants(live), grants(replayed));
            if stored != expected {
                self.tally.note(what("grants"), grants_text(stored), grants_text(expected));
            }
        }
        let extra: BTreeSet<_> = replayed.metered_entitlements().collect();
        for (customer, entitlement) in live.metered_entitlements() {
            if !extra.contains(&(customer, entitlement)) {
                self.tally.note(format!("{entitlement} of {customer}"), "kept", "not in the log");
            }
        }
        let same = live.encode_head() == replayed.encode_head()
            && live.slice_count() == replayed.slice_count()
            && (0..replayed.slice_count())
                .all(|it| live.encode_slice(it) == replayed.encode_slice(it));
        if !same && self.tally.total == before {
            let what = "state after the last row".to_owned();
            self.tally.note(what, "other lines, clocks or catalogue", "the same values");
        }
    }
}

fn grants_text(grants: Option<Vec<GrantBalance>>) -> String {
    let grants = grants.unwrap_or_default();
    let texts = grants.iter().map(|it| format!("{} {}", it.grant, it.balance));
    texts.collect::<Vec<_>>().join(", ")
}
