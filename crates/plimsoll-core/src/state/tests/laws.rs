//! What holds for any history: the model agrees, restarts and batches change nothing, no identity
//! comes twice.
//!
//! `PROPTEST_CASES` asks for more histories than usual; fewer than [`CASES`] are not enough.

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{
    history::{Applied, Row, SLICE_SLOTS, histories, rows_of},
    model::{Fired, Model, Standing, Why, hundredths},
};
use crate::{
    archive::Settled,
    command::Command,
    effect::Effect,
    line::crossing::{Cause, Identity},
    state::State,
    time::{DAY_MS, Timestamp},
};

const CASES: u32 = 10_000;

fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.max(CASES), ..asked }
}

/// The crossings among effects, as the model says them.
fn fired(effects: &[Effect]) -> Vec<Fired> {
    let crossings = effects.iter().filter_map(|it| match it {
        Effect::Crossing(crossing) => Some(crossing),
        Effect::Uncounted { .. } | Effect::Reset(_) => None,
    });
    crossings
        .map(|it| Fired {
            identity: it.identity.clone(),
            why: match it.cause {
                Cause::Usage => Why::Usage,
                Cause::LimitChanged => Why::Limit,
                Cause::EntitlementCreated => Why::Entitled,
                Cause::Line(_) => Why::Begins,
                Cause::RuleChanged => Why::Edited,
                other => panic!("histories have no {other:?}"),
            },
            late: it.late,
            suppression: it.suppression,
            moved: (hundredths(it.previous_usage), hundredths(it.value.usage)),
            at: it.at,
            event: it.event,
        })
        .collect()
}

/// Where the state says that the model's entitlements stand.
fn standings(state: &State, model: &[Standing], now: Timestamp) -> Vec<Standing> {
    let known = model.iter().filter_map(|(customer, entitlement, ..)| {
        let value = state.value(*customer, *entitlement, now)?;
        Some((*customer, *entitlement, hundredths(value.usage), value.limit.map(hundredths)))
    });
    known.collect()
}

fn stamp(row: &Row) -> Option<Timestamp> {
    match row {
        Row::Command(
            Command::Customer { stamped_at, .. }
            | Command::Slice { stamped_at, .. }
            | Command::Pulse { stamped_at, .. },
        )
        | Row::Usage { stamped_at, .. } => Some(*stamped_at),
        Row::Command(Command::Control { .. }) => None,
    }
}

fn agrees_with_the_model(rows: &[Row]) -> TestCaseResult {
    let (mut applied, mut model) = (Applied::new(), Model::default());
    for (index, row) in rows.iter().enumerate() {
        let got = fired(&applied.apply(row));
        prop_assert_eq!(got, model.apply(row), "row {}: {:#?}", index, row);
        for now in stamp(row).into_iter().flat_map(|it| [it, it.plus_ms(DAY_MS)]) {
            let expected = model.standings(now);
            prop_assert_eq!(standings(&applied.state, &expected, now), expected);
        }
    }
    Ok(())
}

/// Captures the head after `head` rows and each slice some rows later, restores that, and replays.
/// What was archived while these rows were applied is there already, as in a store.
fn survives_a_restart(rows: &[Row], head: usize, later: &[usize]) -> TestCaseResult {
    let head = head.min(rows.len());
    let slice_at = |slice: usize| (head + later[slice % later.len()]).min(rows.len());
    let mut applied = Applied::new();
    let (mut head_bytes, mut slices, mut effects) = (Vec::new(), Vec::new(), Vec::new());
    let mut archives = Vec::new();
    for count in 0..=rows.len() {
        if count > 0 {
            effects.push(fired(&applied.apply(&rows[count - 1])));
        }
        archives.push(applied.archive.clone());
        if count == head {
            head_bytes = applied.state.encode_head();
        }
        for slice in 0..applied.state.slice_count() {
            if count == slice_at(slice) {
                slices.push((slice, count as u64, applied.state.encode_slice(slice)));
            }
        }
    }
    let parts: Vec<(usize, u64, &[u8])> = slices
        .iter()
        .map(|(slice, position, bytes)| (*slice, *position, bytes.as_slice()))
        .collect();
    let whole_from = slices.iter().map(|it| it.1 as usize).max().unwrap_or(head);
    let state = State::restore_current(&head_bytes, &parts).unwrap();
    let archive = archives[whole_from].clone();
    let mut restored = Applied { state, archive, position: head as u64 };
    for (index, row) in rows.iter().enumerate().skip(head) {
        if index >= whole_from {
            let got = fired(&restored.apply(row));
            prop_assert_eq!(&got, &effects[index], "row {}: {:#?}", index, row);
        } else {
            let got = fired(&restored.apply_with(row, &mut Settled));
            prop_assert!(got.iter().all(|it| effects[index].contains(it)), "row {}", index);
        }
    }
    restored.state.finish_replay();
    prop_assert_eq!(restored.bytes(), applied.bytes());
    prop_assert_eq!(restored.state.customer_count(), applied.state.customer_count());
    prop_assert_eq!(restored.state.due_slice(), applied.state.due_slice());
    prop_assert_eq!(due(&mut restored.state), due(&mut applied.state));
    prop_assert_eq!(restored.archived(), applied.archived());
    Ok(())
}

/// Who has something due, whatever the order among those of one moment.
fn due(state: &mut State) -> Option<Command> {
    let mut pulse = state.due_pulse(Timestamp::from_ms(1_800_000_000_000));
    if let Some(Command::Pulse { slots, .. }) = &mut pulse {
        slots.sort_unstable();
    }
    pulse
}

fn gives_each_identity_once(rows: &[Row]) -> TestCaseResult {
    let mut applied = Applied::new();
    let (mut identities, mut digests) = (BTreeSet::new(), BTreeSet::new());
    for row in rows {
        for it in fired(&applied.apply(row)) {
            prop_assert!(identities.insert(it.identity.clone()), "twice: {:#?}", it);
            prop_assert!(digests.insert(it.identity.digest()));
        }
    }
    Ok(())
}

/// Crossings without the place of the event in its row.
fn crossed(rows: &[Row]) -> (Vec<(Identity, Why)>, Vec<Vec<u8>>) {
    let mut applied = Applied::new();
    let effects = rows.iter().flat_map(|row| fired(&applied.apply(row)));
    (effects.map(|it| (it.identity.clone(), it.why)).collect(), applied.bytes())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_model_agrees(steps in histories(40), batch in 1_usize..4) {
        agrees_with_the_model(&rows_of(&steps, batch))?;
    }

    #[test]
    fn a_restart_from_any_checkpoint_changes_nothing(
        steps in histories(40),
        head in 0_usize..60,
        later in prop::collection::vec(0_usize..30, 4),
    ) {
        survives_a_restart(&rows_of(&steps, 2), head, &later)?;
    }

    #[test]
    fn no_identity_comes_twice(steps in histories(60)) {
        gives_each_identity_once(&rows_of(&steps, 2))?;
    }

    #[test]
    fn batches_change_nothing(steps in histories(40), batch in 2_usize..10) {
        let one_by_one = crossed(&rows_of(&steps, 1));
        prop_assert_eq!(&crossed(&rows_of(&steps, batch)), &one_by_one);
        prop_assert_eq!(&crossed(&rows_of(&steps, 1)), &one_by_one, "the same rows again");
    }
}

#[test]
fn slices_are_as_narrow_as_these_laws_need() {
    let mut applied = Applied::new();
    let steps = (0..4).map(|customer| super::history::Step::Use {
        customer,
        meter: 0,
        hundredths: 100,
        ago_ms: 0,
    });
    for row in rows_of(&steps.collect::<Vec<_>>(), 1) {
        applied.apply(&row);
    }
    assert_eq!((SLICE_SLOTS, applied.state.slice_count()), (2, 2));
}
