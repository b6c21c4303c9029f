//! Usage by the hour and by the day: what is archived and what is open, together, is what anybody
//! would count who went through all events again; of each customer and of everybody in a slice.
//!
//! Not here: usage that entitlements count (`full_laws`).

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{
    full_history::{Applied, Event, HOUR_MS, Row, histories, rows_of},
    full_laws::config,
};
use crate::{
    catalog::meter::{Aggregation, Meter},
    command::{Command, ControlCommand},
    entitlement::period::Window,
    ids::CustomerId,
    metering::cell::{Cell, CellKey, CellScope, GroupValues, Groups, Resolution},
    quantity::Quantity,
    time::{DAY_MS, Timestamp},
};

/// A value of a cell, and the same by combinations of group values.
type Counted = (Option<Quantity>, BTreeMap<GroupValues, Option<Quantity>>);

/// Cells by who, which meter, how long and from when.
type Cells = BTreeMap<(u128, u128, i64, Timestamp), Counted>;

fn quantity(halves: i64) -> Quantity {
    Quantity::from_parts(i128::from(halves) * 5, 1).unwrap()
}

/// What events of one cell come to.
fn recount(meter: &Meter, window: Window, events: &[&Event]) -> Option<Quantity> {
    let values = || events.iter().map(|it| it.halves);
    Some(match &meter.aggregation {
        Aggregation::Count => Quantity::from_integer(events.len() as i64),
        Aggregation::Sum { .. } | Aggregation::BucketedSum { .. } => quantity(values().sum()),
        Aggregation::SumWithMultiplier { .. } => quantity(values().map(|it| -2 * it).sum()),
        Aggregation::Max { .. } => quantity(values().max()?),
        Aggregation::Min { .. } => quantity(values().min()?),
        Aggregation::Average { .. } => {
            let count = Quantity::from_integer(events.len() as i64);
            return quantity(values().sum()).rounded_div(count);
        }
        Aggregation::Latest { .. } => quantity(events.iter().max_by_key(|it| it.time)?.halves),
        Aggregation::UniqueCount { .. } => {
            Quantity::from_integer(values().collect::<BTreeSet<_>>().len() as i64)
        }
        Aggregation::BucketedMax { .. } => {
            let hour = |it: &Event| it.time.as_ms().div_euclid(HOUR_MS);
            let hours: BTreeSet<i64> = events.iter().map(|it| hour(it)).collect();
            let most = |of: i64| {
                let own = events.iter().filter(|it| hour(it) == of);
                own.map(|it| it.halves).max().unwrap_or(0)
            };
            quantity(hours.into_iter().map(most).sum())
        }
        Aggregation::WeightedSum { .. } => {
            let weighed = events.iter().map(|it| it.halves * window.to.ms_since(it.time));
            let length = Quantity::from_integer(window.to.ms_since(window.from));
            return quantity(weighed.sum()).rounded_div(length);
        }
    })
}

/// Every cell, counted from all events; `whose` says in whose cells an event of a customer is.
fn recounted(rows: &[Row], whose: impl Fn(CustomerId) -> u128, all_kinds: bool) -> Cells {
    let mut meters: Vec<&Meter> = Vec::new();
    let mut sorted: BTreeMap<(u128, u128, i64, Timestamp), Vec<&Event>> = BTreeMap::new();
    for row in rows {
        match row {
            Row::Command(Command::Control { command: ControlCommand::PutMeter(it), .. }) => {
                meters.push(it);
            }
            Row::Command(_) => {}
            Row::Usage { environment, events, .. } => {
                let measuring = |event: &Event| {
                    let of_type = meters.iter().filter(move |it| {
                        it.environment == *environment && *it.event_type == *event.event_type
                    });
                    let small = |it: &&&Meter| all_kinds || it.aggregation.is_small();
                    of_type.filter(small).map(|it| it.id.bits()).collect::<Vec<_>>()
                };
                for event in events {
                    for meter in measuring(event) {
                        for length_ms in [HOUR_MS, DAY_MS] {
                            let into = event.time.as_ms().rem_euclid(length_ms);
                            let from = event.time.plus_ms(-into);
                            let key = (whose(event.customer), meter, length_ms, from);
                            sorted.entry(key).or_default().push(event);
                        }
                    }
                }
            }
        }
    }
    let count = |(key, events): (_, Vec<&Event>)| {
        let (_, meter, length_ms, from): (u128, u128, i64, Timestamp) = key;
        let meter = meters.iter().find(|it| it.id.bits() == meter).unwrap();
        let window = Window { from, to: from.plus_ms(length_ms) };
        let mut parts: BTreeMap<GroupValues, Vec<&Event>> = BTreeMap::new();
        for event in &events {
            let values = event.groups.iter().map(|it| it.map(Box::from)).collect();
            parts.entry(values).or_default().push(event);
        }
        let part = |(values, events): (_, Vec<&Event>)| (values, recount(meter, window, &events));
        let parts = parts.into_iter().map(part).collect();
        (key, (recount(meter, window, &events), parts))
    };
    sorted.into_iter().map(count).collect()
}

fn shown(cell: &Cell, length_ms: i64) -> Counted {
    let window = Window { from: cell.from, to: cell.from.plus_ms(length_ms) };
    let Groups::Each(groups) = &cell.groups else { panic!("few groups: {cell:?}") };
    let groups = groups.iter().map(|(values, it)| (values.clone(), it.value_in(window)));
    (cell.total.value_in(window), groups.collect())
}

/// What is archived, with what is open: the open day is without the open hour.
fn kept(applied: &Applied, rows: &[Row], of_slices: bool) -> Cells {
    let mut cells: BTreeMap<CellKey, Cell> = applied.archive.cells.clone();
    let mut open = Vec::new();
    for row in rows {
        let Row::Command(Command::Control { command: ControlCommand::PutMeter(meter), .. }) = row
        else {
            continue;
        };
        if of_slices {
            let each = applied.state.slice_cells(meter.id);
            open.extend(each.map(|(slice, it)| (meter.id, CellScope::Slice(slice), it)));
        } else {
            let each = applied.state.customers_with_cells(meter.id);
            open.extend(each.map(|(who, it)| (meter.id, CellScope::Customer(who), it)));
        }
    }
    for (meter, scope, (hour, day)) in open {
        let own = [
            (Resolution::Hour, hour.cloned()),
            (Resolution::Day, day.cloned()),
            (Resolution::Day, hour.cloned()),
        ];
        for (resolution, cell) in own.into_iter().filter_map(|(a, b)| Some((a, b?))) {
            let from = resolution.start_of(cell.from);
            let key = CellKey { meter, scope, resolution, from };
            match cells.get_mut(&key) {
                Some(known) => known.merge(&cell).unwrap(),
                None => drop(cells.insert(key, Cell { from, ..cell })),
            }
        }
    }
    let of = |(key, cell): (&CellKey, &Cell)| {
        let who = match key.scope {
            CellScope::Customer(it) if !of_slices => it.bits(),
            CellScope::Slice(it) if of_slices => u128::from(it),
            _ => return None,
        };
        let length_ms = key.resolution.length_ms();
        Some(((who, key.meter.bits(), length_ms, key.from), shown(cell, length_ms)))
    };
    cells.iter().filter_map(of).collect()
}

fn cells_are_what_anybody_counts(rows: &[Row]) -> TestCaseResult {
    let mut applied = Applied::new();
    for row in rows {
        applied.apply(row);
    }
    let expected = recounted(rows, CustomerId::bits, true);
    prop_assert_eq!(kept(&applied, rows, false), expected, "of each customer");
    // Customers are made in the order of their numbers, two to a slice.
    let expected = recounted(rows, |it| (it.bits() - 1) / 2, false);
    prop_assert_eq!(kept(&applied, rows, true), expected, "of slices");
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cells_add_up(history in histories(24), batch in 1_usize..4) {
        cells_are_what_anybody_counts(&rows_of(&history, batch, false))?;
    }
}
