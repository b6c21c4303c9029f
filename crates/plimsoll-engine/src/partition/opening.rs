//! What a customer used in a period before there was an entitlement to count it.
//!
//! It is added up from the cells of the meter: those that have closed, from the store, and those
//! that are open, from memory. The owner of the partition does it in the turn that makes the
//! entitlement, while nothing else is applied, so that every event counts once.
//!
//! Not here: whether the meter is old enough (`ops::entitlement`), what cells are (the core).

use plimsoll_core::{
    catalog::meter::UncountedReason,
    codec::Reader,
    command::CustomerCommand,
    entitlement::EntitlementKind,
    ids::{CustomerId, MeterId},
    metering::cell::{Cell, Resolution},
    state::State,
    time::Timestamp,
};
use plimsoll_store::{
    Store,
    archive::{self, CellRange},
};

use super::{archive::ArchiveError, gathered::ChangeReply};
use crate::ops::port::{ChangeError, CustomerChange};

/// Closed cells that one query fetches.
const CELLS: u32 = 1_000;

/// Why there is no opening.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    /// The cells do not add up to a number.
    #[error("the usage does not add up: {}", .0.code())]
    Unmeasurable(UncountedReason),
    /// The cells could not be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Puts what was used in the period so far into the entitlements of those changes that ask for it.
/// A change for which it cannot be measured is refused and taken out. The machine's clock shows
/// `now`.
pub(super) async fn fill_all(
    store: &dyn Store,
    state: &State,
    changes: &mut Vec<(CustomerChange, ChangeReply)>,
    now: Timestamp,
) -> Result<(), ArchiveError> {
    let mut refused = Vec::new();
    for (index, (change, _)) in changes.iter_mut().enumerate() {
        match fill(store, state, change, now).await {
            Ok(()) => {}
            Err(OpeningError::Archive(error)) => return Err(error),
            Err(OpeningError::Unmeasurable(reason)) => refused.push((index, reason.code())),
        }
    }
    for (index, reason) in refused.into_iter().rev() {
        let (_, reply) = changes.remove(index);
        // Whoever asked may have gone.
        drop(reply.send(Err(ChangeError::NotMeasurable { reason })));
    }
    Ok(())
}

async fn fill(
    store: &dyn Store,
    state: &State,
    change: &mut CustomerChange,
    now: Timestamp,
) -> Result<(), OpeningError> {
    let Some(meter) = change.opening else { return Ok(()) };
    let stamp = state.stamp(change.environment, now);
    for command in &mut change.commands {
        let CustomerCommand::PutEntitlement { customer, entitlement } = command else { continue };
        let EntitlementKind::Metered(terms) = &mut entitlement.kind else { continue };
        let from = terms.period.window_at(stamp).from;
        let used = usage_since(store, state, (*customer, meter), from).await?;
        terms.opening = used.map(Box::new);
    }
    Ok(())
}

/// Everything that one customer used of a meter from a moment on, which must be the start of an
/// hour; nothing if there is no usage.
async fn usage_since(
    store: &dyn Store,
    state: &State,
    (customer, meter): (CustomerId, MeterId),
    from: Timestamp,
) -> Result<Option<Cell>, OpeningError> {
    let first_day = Resolution::Day.start_of(from.plus_ms(Resolution::Day.length_ms() - 1));
    let (open_hour, open_day) = state.customer_cells(customer, meter);
    // Of the open day, the days from the store know nothing; its hours are there one by one.
    let hours_to = match open_day {
        Some(day) if day.from < from => Timestamp::MAX,
        _ => first_day,
    };
    let range = |resolution, from, to| CellRange {
        meter,
        resolution,
        begin: (customer, from),
        last: customer,
        from,
        to,
    };
    let mut cells = closed(store, range(Resolution::Hour, from, hours_to)).await?;
    cells.extend(closed(store, range(Resolution::Day, first_day, Timestamp::MAX)).await?);
    cells.extend(open_day.filter(|it| it.from >= from).cloned());
    cells.extend(open_hour.filter(|it| it.from >= from).cloned());
    let mut cells = cells.into_iter();
    let Some(mut used) = cells.next() else { return Ok(None) };
    for cell in cells {
        used.merge(&cell).map_err(OpeningError::Unmeasurable)?;
    }
    Ok(Some(used))
}

/// The closed cells of a range, in the order of time.
async fn closed(store: &dyn Store, mut range: CellRange) -> Result<Vec<Cell>, ArchiveError> {
    let mut cells = Vec::new();
    loop {
        let rows = archive::cells_of_range(store, &range, CELLS).await?;
        for row in &rows {
            let mut reader = Reader::of_version(&row.payload, row.core_version);
            cells.push(Cell::decode(&mut reader)?);
            reader.finish()?;
        }
        match rows.last() {
            Some(last) if rows.len() == CELLS as usize => {
                range.begin.1 = last.key.from.plus_ms(1);
            }
            _ => return Ok(cells),
        }
    }
}
