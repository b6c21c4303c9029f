//! Commands as bytes, and commands that make no sense.
//!
//! Not here: the bytes of released versions (`fixtures`).

use std::sync::Arc;

use plimsoll_core::{
    archive::{MemoryArchive, Segment},
    catalog::meter::{Aggregation, Meter, MeterReading},
    codec::CORE_VERSION,
    command::{Command, ControlCommand, RowKind},
    effect::Effect,
    ids::{CustomerId, EntitlementId, EnvironmentId, MeterId},
    metering::accumulator::Amount,
    quantity::Quantity,
    state::{ClosedWindow, RowStamp, SliceOf, State, UsageEvent},
    time::Timestamp,
};
use proptest::prelude::*;

use crate::any::{commands, quantities, times};

/// `PROPTEST_CASES` asks for more cases than usual, never for fewer.
fn config(least: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.max(least), ..asked }
}

fn kinds() -> impl Strategy<Value = RowKind> {
    prop::sample::select(vec![
        RowKind::Usage,
        RowKind::Control,
        RowKind::Customer,
        RowKind::Slice,
        RowKind::Pulse,
    ])
}

/// A command, or an event of usage.
#[derive(Debug, Clone)]
enum Blow {
    Command(Command),
    Usage { customer: CustomerId, meter: MeterId, amount: Quantity, time: Timestamp },
}

fn blows() -> impl Strategy<Value = Blow> {
    let usage = (0_u128..4, 0_u128..4, quantities(), times());
    prop_oneof![
        commands().prop_map(Blow::Command),
        usage.prop_map(|(customer, meter, amount, time)| {
            let (customer, meter) = (CustomerId::from_bits(customer), MeterId::from_bits(meter));
            Blow::Usage { customer, meter, amount, time }
        }),
    ]
}

fn strike(
    state: &mut State,
    archive: &mut MemoryArchive,
    position: u64,
    blow: &Blow,
) -> Vec<Effect> {
    let mut effects = Vec::new();
    match blow {
        Blow::Command(command) => state.apply(position, command, archive, &mut effects),
        Blow::Usage { customer, meter, amount, time } => {
            let environment = EnvironmentId::from_bits(customer.bits() % 2);
            let stamped_at = state.stamp(environment, *time);
            let row = RowStamp { position, environment, stamped_at };
            let known = state.catalog().meter(*meter).cloned();
            let meter = known.unwrap_or_else(|| Arc::new(meter_of(*meter)));
            let amount = Ok(Amount::Quantity(*amount));
            let readings = [MeterReading { meter, amount, groups: Vec::new() }];
            let (customer, time) = (*customer, *time);
            state.begin_usage(row);
            let event = UsageEvent { customer, time, index: 0, readings: &readings };
            state.apply_usage(row, event, archive, &mut effects);
        }
    }
    effects
}

fn meter_of(id: MeterId) -> Meter {
    Meter {
        id,
        environment: EnvironmentId::from_bits(0),
        event_type: "t".into(),
        aggregation: Aggregation::Count,
        group_by: Vec::new(),
        filters: Vec::new(),
    }
}

fn bytes_of(state: &State) -> (Vec<u8>, Vec<Vec<u8>>) {
    let slices = (0..state.slice_count()).map(|it| state.encode_slice(it));
    (state.encode_head(), slices.collect())
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn a_command_reads_as_it_was_written(command in commands()) {
        let bytes = command.encode();
        let read = Command::decode(command.row_kind(), &bytes);
        prop_assert_eq!(read.as_ref(), Ok(&command));
        if let Command::Control { command, .. } = command {
            prop_assert_eq!(ControlCommand::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn a_command_cut_short_or_continued_is_corrupt(
        command in commands(),
        cut: prop::sample::Index,
    ) {
        let mut bytes = command.encode();
        let kept = cut.index(bytes.len());
        prop_assert!(Command::decode(command.row_kind(), &bytes[..kept]).is_err());
        bytes.push(0);
        prop_assert!(Command::decode(command.row_kind(), &bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(kind in kinds(), bytes: Vec<u8>) {
        if let Ok(command) = Command::decode(kind, &bytes) {
            prop_assert_eq!(command.row_kind(), kind);
        }
        drop(ControlCommand::decode(&bytes));
        for version in 1..=CORE_VERSION {
            drop(State::restore(&bytes, version, &[]));
            let slice = SliceOf { slice: 0, position: 0, version, bytes: &bytes };
            drop(State::restore(&State::new().encode_head(), CORE_VERSION, &[slice]));
            drop(ClosedWindow::decode(&bytes, version));
            drop(Segment::decode(&bytes, version));
        }
    }

    #[test]
    fn damaged_commands_are_read_or_refused(
        command in commands(),
        place: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = command.encode();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let mut state = State::new();
        if let Ok(command) = Command::decode(command.row_kind(), &bytes) {
            state.apply(1, &command, &mut MemoryArchive::default(), &mut Vec::new());
        }
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    /// Whatever can be read can be applied to whatever state it meets, kept, and restored.
    #[test]
    fn no_command_is_poison(blows in prop::collection::vec(blows(), 1..30)) {
        let (mut state, mut archive) = (State::new(), MemoryArchive::default());
        for (position, blow) in (1..).zip(&blows) {
            strike(&mut state, &mut archive, position, blow);
        }
        let (head, slices) = bytes_of(&state);
        let position = blows.len() as u64;
        let parts: Vec<(usize, u64, &[u8])> =
            slices.iter().enumerate().map(|(slice, it)| (slice, position, it.as_slice())).collect();
        let mut restored = State::restore_current(&head, &parts).unwrap();
        restored.finish_replay();
        prop_assert_eq!(bytes_of(&restored), (head, slices));
        for customer in (0..4).map(CustomerId::from_bits) {
            for entitlement in (0..4).map(EntitlementId::from_bits) {
                let now = Timestamp::from_ms(1_705_000_000_000);
                let value = state.value(customer, entitlement, now);
                prop_assert_eq!(restored.value(customer, entitlement, now), value);
            }
        }
    }

    /// A sum is exact or refused, however its numbers are written.
    #[test]
    fn sums_are_exact_or_refused(one in quantities(), other in quantities()) {
        if let Ok(sum) = one.checked_add(other) {
            prop_assert_eq!(sum.checked_sub(other), Ok(one));
            prop_assert_eq!(sum.checked_sub(one), Ok(other));
            prop_assert_eq!(other.checked_add(one), Ok(sum));
            prop_assert_eq!(sum.to_string().parse(), Ok(sum));
        }
    }
}
