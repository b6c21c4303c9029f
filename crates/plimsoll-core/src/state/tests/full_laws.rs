//! What holds for any full history: the model agrees, restarts, batches and pulses change nothing
//! that they must not, what burned adds up, no identity comes twice.
//!
//! `PROPTEST_CASES` asks for more histories than usual; fewer than [`CASES`] are not enough.
//!
//! Not here: usage by the hour and day (`full_cells`).

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{
    full_history::{Applied, History, Row, Step, histories, rows_of},
    full_lines::Told,
    full_model::{Kept, Model, Standing, Stretch, Turn, halves},
};
use crate::{
    archive::{Segment, Settled},
    command::{Command, CustomerCommand},
    effect::Effect,
    ids::{CustomerId, EntitlementId, EnvironmentId},
    state::{ClosedWindow, State},
    time::{DAY_MS, Timestamp},
};

pub(super) const CASES: u32 = 10_000;

pub(super) fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.max(CASES), ..asked }
}

/// Crossings and resets of each entitlement, as the model says them.
type Outcome = BTreeMap<EntitlementId, (Vec<Told>, Vec<Turn>)>;

fn note(outcome: &mut Outcome, row: usize, effects: &[Effect]) {
    for effect in effects {
        match effect {
            Effect::Uncounted { .. } => panic!("everything here counts: {effect:?}"),
            Effect::Crossing(it) => {
                let told = Told {
                    number: 0,
                    row,
                    identity: it.identity.clone(),
                    cause: it.cause,
                    count: it.count,
                    late: it.late,
                    usage: (halves(it.previous_usage), halves(it.value.usage)),
                    whole: it.value.limit.or(it.value.soft_limit).map(halves),
                    at: it.at,
                    event: it.event,
                    suppression: it.suppression,
                };
                outcome.entry(it.identity.entitlement).or_default().0.push(told);
            }
            Effect::Reset(it) => {
                let turn = Turn {
                    row,
                    at: it.at,
                    closed: (it.closed.window.from, halves(it.closed.usage)),
                    opened: (it.opened.window.from, halves(it.opened.usage)),
                    skipped: it.skipped,
                    cause: it.cause,
                };
                outcome.entry(it.entitlement).or_default().1.push(turn);
            }
        }
    }
}

fn outcome_of(rows: &[Row]) -> (Applied, Outcome) {
    let (mut applied, mut outcome) = (Applied::new(), Outcome::new());
    for (row, it) in rows.iter().enumerate() {
        note(&mut outcome, row, &applied.apply(it));
    }
    (applied, outcome)
}

/// Where the state says that an entitlement stands.
fn standing(state: &State, model: &Model, id: EntitlementId, now: Timestamp) -> Standing {
    let customer = model.entitlements[&id].customer;
    let value = state.value(customer, id, now).unwrap();
    let grants = state.grant_balances(customer, id, now).unwrap();
    Standing {
        usage: halves(value.usage),
        hard: value.limit.map(halves),
        soft: value.soft_limit.map(halves),
        window: (value.window.from, value.window.to),
        grants: grants.iter().map(|it| (it.grant, halves(it.balance), it.is_active)).collect(),
    }
}

fn stretch(it: &Segment) -> Stretch {
    let burned = it.burned.iter().map(|it| (it.grant, halves(it.burned)));
    Stretch {
        from: it.from,
        to: it.to,
        usage: halves(it.usage),
        overage: halves(it.overage),
        burned: burned.filter(|(_, it)| *it != 0).collect(),
    }
}

fn kept(it: &ClosedWindow) -> Kept {
    let (window, value) = (it.window(), it.value());
    Kept {
        from: window.from,
        to: window.to,
        usage: halves(value.usage),
        hard: value.limit.map(halves),
        soft: value.soft_limit.map(halves),
    }
}

/// The stamp of a row; a change of the catalogue has none.
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

/// What each row brought about, and where everything stands after some of them.
fn agrees_with_the_model(rows: &[Row], looks: &[usize]) -> TestCaseResult {
    let model = Model::of(rows);
    let (mut applied, mut outcome) = (Applied::new(), Outcome::new());
    for (row, it) in rows.iter().enumerate() {
        note(&mut outcome, row, &applied.apply(it));
        let Some(now) = stamp(it).filter(|_| looks.contains(&row)) else { continue };
        for id in model.entitlements.keys() {
            let now = applied.state.stamp(model.home(*id), now);
            let Some(story) = model.story(*id, row + 1, now) else { continue };
            let got = standing(&applied.state, &model, *id, now);
            prop_assert_eq!(got, story.standing, "{} after row {}: {:#?}", id, row, it);
        }
    }
    for id in model.entitlements.keys() {
        let Some(story) = model.story(*id, rows.len(), Timestamp::MIN) else { continue };
        let (told, turns) = outcome.remove(id).unwrap_or_default();
        let expected: Vec<_> =
            story.crossings.into_iter().map(|it| Told { number: 0, ..it }).collect();
        prop_assert_eq!(told, expected, "crossings of {}", id);
        prop_assert_eq!(turns, story.resets, "resets of {}", id);
        let segments = applied.archive.segments.iter().filter(|((own, _), _)| own == id);
        let segments: Vec<_> = segments.map(|(_, it)| stretch(it)).collect();
        prop_assert_eq!(segments, story.segments, "segments of {}", id);
        let windows = applied.archive.windows.iter().filter(|((own, _), _)| own == id);
        let windows: Vec<_> = windows.map(|(_, it)| kept(it)).collect();
        prop_assert_eq!(windows, story.kept, "closed windows of {}", id);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_model_agrees(
        history in histories(24),
        batch in 1_usize..4,
        looks in prop::collection::vec(0_usize..60, 6),
    ) {
        agrees_with_the_model(&rows_of(&history, batch, true), &looks)?;
    }
}

/// Outcomes without the places of rows and events.
fn placeless(outcome: Outcome) -> Outcome {
    let told = |it: Told| Told { row: 0, event: None, ..it };
    let turn = |it: Turn| Turn { row: 0, ..it };
    let each = outcome.into_iter().map(|(id, (crossings, resets))| {
        let crossings = crossings.into_iter().map(told).collect();
        (id, (crossings, resets.into_iter().map(turn).collect()))
    });
    each.collect()
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
            effects.push(format!("{:?}", applied.apply(&rows[count - 1])));
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
    let archive = archives.swap_remove(whole_from);
    let mut restored = Applied { state, archive, position: head as u64 };
    for (index, row) in rows.iter().enumerate().skip(head) {
        if index < whole_from {
            restored.apply_with(row, &mut Settled);
        } else {
            let got = format!("{:?}", restored.apply(row));
            prop_assert_eq!(&got, &effects[index], "row {}: {:#?}", index, row);
        }
    }
    restored.state.finish_replay();
    prop_assert_eq!(restored.bytes(), applied.bytes());
    prop_assert_eq!(restored.archived(), applied.archived());
    prop_assert_eq!(due(&mut restored.state), due(&mut applied.state));
    Ok(())
}

/// Who has something due, whatever the order among those of one moment.
fn due(state: &mut State) -> Option<Command> {
    let mut pulse = state.due_pulse(Timestamp::from_ms(1_900_000_000_000));
    if let Some(Command::Pulse { slots, .. }) = &mut pulse {
        slots.sort_unstable();
    }
    pulse
}

fn gives_each_identity_once(rows: &[Row]) -> TestCaseResult {
    let (mut applied, mut digests) = (Applied::new(), BTreeSet::new());
    for row in rows {
        for effect in applied.apply(row) {
            let digest = match &effect {
                Effect::Crossing(it) => it.identity.digest(),
                Effect::Reset(it) => it.digest(None),
                Effect::Uncounted { .. } => continue,
            };
            prop_assert!(digests.insert(digest), "twice: {:#?}", effect);
        }
    }
    Ok(())
}

/// Whom a row concerns, and its stamp; nothing where others must not pass it.
fn moves(row: &Row) -> Option<(EnvironmentId, Timestamp, CustomerId)> {
    match row {
        Row::Usage { environment, stamped_at, events } => {
            let only = events.iter().map(|it| it.customer).collect::<BTreeSet<_>>();
            let customer = (only.len() == 1).then(|| only.first().copied())??;
            Some((*environment, *stamped_at, customer))
        }
        Row::Command(Command::Customer { environment, stamped_at, command }) => {
            let is_new = matches!(command, CustomerCommand::Create { .. });
            (!is_new).then(|| (*environment, *stamped_at, command.customer()))
        }
        Row::Command(_) => None,
    }
}

/// Rows change places with the next one where they concern others, and no clock would go back.
fn reordered(rows: &[Row], swaps: &[bool]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    for round in 0..2 {
        for index in 1..rows.len() {
            let (Some(one), Some(two)) = (moves(&rows[index - 1]), moves(&rows[index])) else {
                continue;
            };
            let is_free = one.2 != two.2 && (one.0 != two.0 || one.1 == two.1);
            if is_free && swaps[(index + round) % swaps.len()] {
                rows.swap(index - 1, index);
            }
        }
    }
    rows
}

/// Works off everything that is due at a time that is far away.
fn work_off(applied: &mut Applied, outcome: &mut Outcome, now: Timestamp) {
    while let Some(pulse) = applied.state.due_pulse(now) {
        note(outcome, 0, &applied.apply(&Row::Command(pulse)));
    }
}

/// With pulses or without: the same values, and as many windows.
fn pulses_only_tell_earlier(history: &History) -> TestCaseResult {
    let (with, without) = (rows_of(history, 2, true), rows_of(history, 2, false));
    let model = Model::of(&with);
    let now = with.iter().filter_map(stamp).max().unwrap_or_default();
    let (mut with, mut seen) = outcome_of(&with);
    let (mut without, mut unseen) = outcome_of(&without);
    for id in model.entitlements.keys() {
        for now in [now, now.plus_ms(3 * DAY_MS)] {
            let expected = standing(&with.state, &model, *id, now);
            prop_assert_eq!(standing(&without.state, &model, *id, now), expected, "{}", id);
        }
    }
    work_off(&mut with, &mut seen, now);
    work_off(&mut without, &mut unseen, now);
    for id in model.entitlements.keys() {
        let turns = |outcome: &Outcome| {
            let turns = outcome.get(id).map_or(&[][..], |it| &it.1);
            let windows: u64 = turns.iter().map(|it| 1 + it.skipped).sum();
            (windows, turns.last().map(|it| it.opened), turns.first().map(|it| it.closed))
        };
        prop_assert_eq!(turns(&unseen), turns(&seen), "windows of {}", id);
    }
    Ok(())
}

/// What the segments of a window say was burned is its usage but for what none covered.
fn burning_adds_up(rows: &[Row]) -> TestCaseResult {
    let model = Model::of(rows);
    let (applied, _) = outcome_of(rows);
    for (id, holder) in &model.entitlements {
        let now = applied.state.stamp(model.home(*id), Timestamp::MIN);
        let own = applied.archive.segments.iter().filter(|((own, _), _)| own == id);
        let open = applied.state.open_segment(holder.customer, *id, now);
        let segments: Vec<Segment> = own.map(|(_, it)| it.clone()).chain(open.clone()).collect();
        let opened = model.story(*id, rows.len(), now).map(|it| it.opened).unwrap_or_default();
        let mut last: Option<Stretch> = None;
        for it in segments.iter().map(stretch) {
            if let Some(last) = last.filter(|last| last.to == it.from) {
                // Usage that was carried into a window begins beyond everything.
                let before = opened.get(&it.from).copied().unwrap_or(last.overage);
                let burned: i64 = it.burned.values().sum();
                prop_assert_eq!(burned, before + it.usage - it.overage, "{}: {:#?}", id, it);
            }
            last = Some(it);
        }
        let Some(open) = open else { continue };
        let value = applied.state.value(holder.customer, *id, now).unwrap();
        let Some(balance) = value.balance else { continue };
        let limit = &open.burned[0];
        let grants = applied.state.grant_balances(holder.customer, *id, now).unwrap();
        let left: i64 = grants.iter().map(|it| halves(it.balance)).sum();
        let left = left + halves(limit.balance_at_start) - halves(limit.burned);
        prop_assert_eq!(halves(balance), left, "what is left of {}", id);
        let whole = halves(value.limit.or(value.soft_limit).unwrap());
        let covered = halves(value.usage) - halves(value.overage);
        prop_assert_eq!((whole, halves(value.overage)), (covered + left, halves(open.overage)));
    }
    Ok(())
}

/// The same history where usage never falls and limits stay as they are.
fn rising(mut history: History) -> History {
    let kinds = [0, 1, 2, 0, 4, 5, 1, 7];
    history.kinds = (kinds[history.kinds.0], kinds[history.kinds.1], history.kinds.2);
    history.steps.retain(|it| !matches!(it, Step::Limits { .. } | Step::Entitle { .. }));
    for step in &mut history.steps {
        if let Step::Use { halves, .. } = step {
            *halves = halves.abs();
        }
    }
    history
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_restart_from_any_checkpoint_changes_nothing(
        history in histories(24),
        head in 0_usize..70,
        later in prop::collection::vec(0_usize..30, 2),
    ) {
        survives_a_restart(&rows_of(&history, 2, true), head, &later)?;
    }

    #[test]
    fn no_identity_comes_twice(history in histories(40)) {
        gives_each_identity_once(&rows_of(&history, 2, true))?;
    }

    #[test]
    fn batches_change_nothing(history in histories(24), batch in 2_usize..10) {
        let (one, expected) = outcome_of(&rows_of(&history, 1, false));
        let (batched, got) = outcome_of(&rows_of(&history, batch, false));
        prop_assert_eq!(placeless(got), placeless(expected));
        prop_assert_eq!(batched.bytes(), one.bytes());
        prop_assert_eq!(batched.archived(), one.archived());
    }

    #[test]
    fn the_order_of_other_customers_does_not_matter(
        history in histories(24),
        swaps in prop::collection::vec(any::<bool>(), 7),
    ) {
        let rows = rows_of(&history, 1, true);
        let (_, expected) = outcome_of(&rows);
        let (_, got) = outcome_of(&reordered(&rows, &swaps));
        prop_assert_eq!(placeless(got), placeless(expected));
    }

    #[test]
    fn pulses_only_tell_what_happens_earlier(history in histories(24)) {
        pulses_only_tell_earlier(&history)?;
    }

    #[test]
    fn what_burned_adds_up(history in histories(24).prop_map(rising)) {
        burning_adds_up(&rows_of(&history, 2, true))?;
    }
}
