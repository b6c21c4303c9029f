//! The bytes that say which events of a usage row were not counted, by which meter, and why.
//!
//! They are written once, in the transaction of the usage row, and hold the code of each reason as
//! text: a reason that is new, or gone again, needs no change here.
//!
//! Not here: which reasons there are (`plimsoll-core`), where the bytes are kept (the store).

use bytes::Bytes;
use plimsoll_core::{
    codec::{Corrupt, Reader, Writer},
    effect::Effect,
    ids::{CustomerId, MeterId},
    state::RowStamp,
};
use plimsoll_store::{
    Statement,
    uncounted::{self, UncountedRow},
};

/// The layout of the bytes under the compression. Stored: never reused.
const VERSION: u8 = 1;

/// An event of a row that some meters could not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UncountedEvent {
    /// Which event of the row.
    pub(crate) index: u32,
    /// Whose it is.
    pub(crate) customer: CustomerId,
    /// Every meter that could not count it.
    pub(crate) reasons: Vec<Uncounted>,
}

/// Why a meter could not count an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uncounted {
    /// Which meter.
    pub meter: MeterId,
    /// The stable code of the reason.
    pub code: String,
}

/// What has to be written beside a usage row: nothing if all of its events were counted.
pub(super) fn statements(effects: &[Effect], partition: u32, stamp: RowStamp) -> Vec<Statement> {
    let events = of_effects(effects);
    if events.is_empty() {
        return Vec::new();
    }
    uncounted::insert(vec![UncountedRow {
        partition,
        position: stamp.position as i64,
        environment: stamp.environment,
        stamped_at: stamp.stamped_at,
        payload: encode(&events),
    }])
}

/// The uncounted events among the effects of a row, in the order of the row.
fn of_effects(effects: &[Effect]) -> Vec<UncountedEvent> {
    let mut events: Vec<UncountedEvent> = Vec::new();
    for effect in effects {
        let Effect::Uncounted { event: index, customer, meter, reason } = effect else { continue };
        let uncounted = Uncounted { meter: *meter, code: reason.code().to_owned() };
        match events.last_mut() {
            Some(last) if last.index == *index => {
                if !last.reasons.contains(&uncounted) {
                    last.reasons.push(uncounted);
                }
            }
            _ => events.push(UncountedEvent {
                index: *index,
                customer: *customer,
                reasons: vec![uncounted],
            }),
        }
    }
    events
}

/// Few meters and reasons stand behind many events: each pair is written once.
fn encode(events: &[UncountedEvent]) -> Bytes {
    let mut pairs: Vec<&Uncounted> = events.iter().flat_map(|it| &it.reasons).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut writer = Writer::new();
    writer.byte(VERSION);
    writer.list(pairs.iter(), |writer, pair| {
        writer.bits(pair.meter.bits());
        writer.text(&pair.code);
    });
    let mut before = 0;
    writer.list(events.iter(), |writer, event| {
        writer.number(u64::from(event.index - before));
        before = event.index;
        writer.bits(event.customer.bits());
        writer.list(event.reasons.iter(), |writer, reason| {
            let place = pairs.binary_search(&reason).expect("every reason is among the pairs");
            writer.number(place as u64);
        });
    });
    lz4_flex::compress_prepend_size(&writer.into_bytes()).into()
}

/// Reads the events back, in the order of the row.
pub(crate) fn decode(payload: &[u8]) -> Result<Vec<UncountedEvent>, Corrupt> {
    let bytes = lz4_flex::decompress_size_prepended(payload)
        .map_err(|_| Corrupt { expected: "an LZ4 block" })?;
    let mut reader = Reader::new(&bytes);
    if reader.byte()? != VERSION {
        return Err(Corrupt { expected: "a known layout of uncounted events" });
    }
    let pairs = reader.list(|reader| {
        let meter = MeterId::from_bits(reader.bits()?);
        Ok(Uncounted { meter, code: reader.text()?.to_owned() })
    })?;
    let mut index = 0_u32;
    let events = reader.list(|reader| {
        index = index
            .checked_add(reader.number_u32()?)
            .ok_or(Corrupt { expected: "the index of an event" })?;
        let customer = CustomerId::from_bits(reader.bits()?);
        let reasons = reader.list(|reader| {
            let pair = usize::try_from(reader.number()?).ok().and_then(|it| pairs.get(it));
            pair.cloned().ok_or(Corrupt { expected: "a meter and a reason" })
        })?;
        Ok(UncountedEvent { index, customer, reasons })
    })?;
    reader.finish()?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use plimsoll_core::catalog::meter::UncountedReason::{self, ValueMissing, ValueNotNumeric};

    use super::*;

    fn effect(event: u32, meter: u128, reason: UncountedReason) -> Effect {
        let customer = CustomerId::from_parts(1, u128::from(event));
        Effect::Uncounted { event, customer, meter: MeterId::from_parts(1, meter), reason }
    }

    #[test]
    fn events_read_back_with_every_meter_once() {
        let effects = [
            effect(3, 1, ValueMissing),
            effect(3, 2, ValueMissing),
            effect(3, 2, ValueMissing),
            effect(7, 1, ValueNotNumeric),
            effect(40_000, 1, ValueMissing),
        ];
        let events = decode(&encode(&of_effects(&effects))).unwrap();
        let found: Vec<_> = events
            .iter()
            .map(|it| {
                let reasons = it.reasons.iter().map(|it| (it.meter, it.code.as_str()));
                (it.index, it.customer, reasons.collect::<Vec<_>>())
            })
            .collect();
        let (one, two) = (MeterId::from_parts(1, 1), MeterId::from_parts(1, 2));
        let customer = |index| CustomerId::from_parts(1, index);
        let expected = [
            (3, customer(3), vec![(one, "value_missing"), (two, "value_missing")]),
            (7, customer(7), vec![(one, "value_not_numeric")]),
            (40_000, customer(40_000), vec![(one, "value_missing")]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn many_events_of_one_customer_take_few_bytes() {
        let effects: Vec<_> = (0..10_000)
            .map(|event| match effect(event, 1, ValueMissing) {
                Effect::Uncounted { event, meter, reason, .. } => {
                    let customer = CustomerId::from_parts(1, 1);
                    Effect::Uncounted { event, customer, meter, reason }
                }
                other @ (Effect::Crossing(_) | Effect::Reset(_)) => other,
            })
            .collect();
        let payload = encode(&of_effects(&effects));
        assert!(payload.len() < 10_000, "{} bytes", payload.len());
    }

    #[test]
    fn bytes_of_another_layout_are_refused() {
        let other = lz4_flex::compress_prepend_size(&[VERSION + 1, 0, 0]);
        assert!(decode(&other).is_err());
        assert!(decode(b"\x05\0\0\0junk").is_err());
    }
}
