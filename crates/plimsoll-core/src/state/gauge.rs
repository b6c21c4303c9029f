//! A gauge: one usage with the lines that stand on it. An entitlement has one for all its usage,
//! and one for each group-by value that came.
//!
//! Not here: what makes a line fire (`state::evaluate`).

use std::collections::BTreeMap;

use crate::{
    catalog::meter::UncountedReason,
    codec::{Corrupt, Reader, Writer},
    ids::LineId,
    limits,
    metering::accumulator::{Accumulator, Amount},
    quantity::Quantity,
    time::Timestamp,
};

/// One usage, and what its lines have done.
#[derive(Debug, Clone)]
pub(super) struct Gauge {
    /// What was used in the window; corrections may take it below zero.
    pub(super) accumulated: Accumulator,
    /// Lines that are not as a new window finds them, in the order of their ids and steps. They
    /// change seldom, and gauges are many: no room is kept for more.
    pub(super) lines: Box<[LineState]>,
    /// Derived: between these usages no line changes, so most events end with two comparisons.
    pub(super) calm: Option<Calm>,
}

/// What has happened to one line, or one step of it, in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineState {
    pub(super) line: LineId,
    /// The upper bound of the tier, of a line on tiers.
    pub(super) step: Option<Quantity>,
    /// How often it was armed again.
    pub(super) generation: u32,
    pub(super) mark: Mark,
    /// How many multiples were passed, of a line on every multiple.
    pub(super) multiples: u64,
}

/// Whether a line can fire, and if not, what made it pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It fires when it is reached.
    Armed,
    /// It has fired.
    Notified,
    /// It was reached while its rule was disabled: recorded, not sent.
    Recorded,
    /// It counts as passed without ever having fired.
    Passed,
}

/// Usages `from <= usage < below` at which no line fires and none is armed again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calm {
    pub(super) from: Option<Quantity>,
    pub(super) below: Option<Quantity>,
}

/// Gauges by group-by key and value.
pub(super) type GroupGauges = BTreeMap<Box<str>, BTreeMap<Box<str>, Gauge>>;

/// One group-by key and one of its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
}

impl Calm {
    fn holds(&self, usage: Quantity) -> bool {
        self.from.is_none_or(|it| it <= usage) && self.below.is_none_or(|it| usage < it)
    }

    /// Something happens below this usage.
    pub(super) fn ends_below(&mut self, usage: Quantity) {
        self.from = Some(self.from.map_or(usage, |it| it.max(usage)));
    }

    /// Something happens from this usage on.
    pub(super) fn ends_at(&mut self, usage: Quantity) {
        self.below = Some(self.below.map_or(usage, |it| it.min(usage)));
    }
}

impl Gauge {
    pub(super) fn new(accumulated: Accumulator) -> Self {
        Self { accumulated, lines: Box::default(), calm: None }
    }

    /// Starts again at nothing, with every line armed.
    pub(super) fn empty(&mut self) {
        *self = Self::new(self.accumulated.emptied());
    }

    pub(super) fn is_calm_at(&self, usage: Quantity) -> bool {
        self.calm.is_some_and(|it| it.holds(usage))
    }

    pub(super) fn line(&self, line: LineId, step: Option<Quantity>) -> LineState {
        let place = self.lines.binary_search_by_key(&(line, step), |it| (it.line, it.step));
        place.ok().and_then(|it| self.lines.get(it)).copied().unwrap_or(LineState {
            line,
            step,
            generation: 0,
            mark: Mark::Armed,
            multiples: 0,
        })
    }

    pub(super) fn set_line(&mut self, state: LineState) {
        let key = (state.line, state.step);
        match self.lines.binary_search_by_key(&key, |it| (it.line, it.step)) {
            Ok(index) => self.lines[index] = state,
            Err(index) => self.change_lines(|it| it.insert(index, state)),
        }
    }

    /// Forgets the lines that are not wanted.
    pub(super) fn retain_lines(&mut self, wanted: impl Fn(LineId) -> bool) {
        if !self.lines.iter().all(|it| wanted(it.line)) {
            self.change_lines(|it| it.retain(|it| wanted(it.line)));
        }
    }

    fn change_lines(&mut self, change: impl FnOnce(&mut Vec<LineState>)) {
        let mut lines = std::mem::take(&mut self.lines).into_vec();
        change(&mut lines);
        self.lines = lines.into_boxed_slice();
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        self.accumulated.encode(writer);
        writer.list(self.lines.iter(), |writer, it| {
            writer.bits(it.line.bits());
            writer.option(it.step, Writer::quantity);
            writer.number(u64::from(it.generation));
            writer.byte(it.mark as u8);
            writer.number(it.multiples);
        });
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let accumulated = Accumulator::decode(reader)?;
        let lines = reader.list(|reader| {
            Ok(LineState {
                line: LineId::from_bits(reader.bits()?),
                step: reader.option(Reader::quantity)?,
                generation: reader.number_u32()?,
                mark: Mark::decode(reader)?,
                multiples: reader.number()?,
            })
        })?;
        Ok(Self { accumulated, lines: lines.into(), calm: None })
    }

    /// Reads what version 1 wrote: a sum, and lines without steps.
    pub(super) fn decode_v1(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let accumulated = Accumulator::Sum(reader.quantity()?);
        let lines = reader.list(|reader| {
            Ok(LineState {
                line: LineId::from_bits(reader.bits()?),
                step: None,
                generation: reader.number_u32()?,
                mark: Mark::decode(reader)?,
                multiples: 0,
            })
        })?;
        Ok(Self { accumulated, lines: lines.into(), calm: None })
    }
}

impl Mark {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        match reader.byte()? {
            0 => Ok(Self::Armed),
            1 => Ok(Self::Notified),
            2 => Ok(Self::Recorded),
            3 => Ok(Self::Passed),
            _ => Err(Corrupt { expected: "the mark of a line" }),
        }
    }
}

/// Refuses one value more of a group-by key than there may be.
pub(super) fn check_room<'a>(
    gauges: &GroupGauges,
    groups: impl Iterator<Item = Group<'a>>,
) -> Result<(), UncountedReason> {
    for group in groups {
        let Some(values) = gauges.get(group.key) else { continue };
        if values.len() >= limits::GROUP_VALUES && !values.contains_key(group.value) {
            return Err(UncountedReason::GroupLimit);
        }
    }
    Ok(())
}

/// The gauge of a group, after an amount was added to it, with its usage before and whether it is
/// the first; nothing if it does not fit.
pub(super) fn add_to_group<'a>(
    gauges: &'a mut GroupGauges,
    group: Group<'_>,
    kind: &Accumulator,
    time: Timestamp,
    amount: Amount,
) -> Option<(Quantity, bool, &'a mut Gauge)> {
    if !gauges.contains_key(group.key) {
        gauges.insert(group.key.into(), BTreeMap::new());
    }
    let values = gauges.get_mut(group.key)?;
    let is_new = !values.contains_key(group.value);
    if is_new {
        values.insert(group.value.into(), Gauge::new(kind.emptied()));
    }
    let gauge = values.get_mut(group.value)?;
    let before = gauge.accumulated.usage();
    // A part of a total that fits does not fit only where negative values made the total small.
    gauge.accumulated.add(time, amount).ok()?;
    Some((before, is_new, gauge))
}

pub(super) fn encode_groups(gauges: &GroupGauges, writer: &mut Writer) {
    writer.list(gauges.iter(), |writer, (key, values)| {
        writer.text(key);
        writer.list(values.iter(), |writer, (value, gauge)| {
            writer.text(value);
            gauge.encode(writer);
        });
    });
}

pub(super) fn decode_groups(reader: &mut Reader<'_>) -> Result<GroupGauges, Corrupt> {
    let keys = reader.list(|reader| {
        let key = Box::from(reader.text()?);
        let values = reader.list(|it| Ok((Box::from(it.text()?), Gauge::decode(it)?)))?;
        Ok((key, values.into_iter().collect()))
    })?;
    Ok(keys.into_iter().collect())
}
