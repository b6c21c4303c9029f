//! A closed window: what an entitlement had used when its period ended, for late events.
//!
//! It keeps the limit and the lines that it closed with. Lines are known by the control sequence
//! that the customer had seen: what entered a rule later, or came to apply later, does not stand
//! here (row 11).
//!
//! Not here: windows that are open (`state::metered`), which lines fire (`state::evaluate`).

use super::{
    gauge::{Gauge, GroupGauges, decode_groups, encode_groups},
    metered::{Frame, Metered},
    past::ClosedTerms,
};
use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::{EntitlementValue, Measure, period::Window, source::Limits},
    ids::{EntitlementId, FeatureId},
    quantity::Quantity,
    time::Timestamp,
};

/// What an entitlement had used in a window that has closed.
#[derive(Debug, Clone)]
pub struct ClosedWindow {
    pub(super) window: Window,
    /// The customer knew the lines up to this control sequence.
    pub(super) lines_seq: u64,
    /// The effective limits, with the grants of the window.
    pub(super) limits: Limits,
    pub(super) tiers: Vec<Quantity>,
    /// What was carried into the window.
    pub(super) carried: Quantity,
    pub(super) gauge: Gauge,
    pub(super) groups: GroupGauges,
}

impl ClosedWindow {
    /// A window of an entitlement that nobody used while it was open: with the bounds and the
    /// limits, without grants, that it closed with. `lines_seq_at` says what was known of lines
    /// when it did.
    pub(super) fn unused(
        metered: &Metered,
        time: Timestamp,
        lines_seq_at: impl FnOnce(Timestamp) -> u64,
    ) -> Self {
        let ClosedTerms { window, limits, tiers } = metered.closed_terms(time);
        Self {
            window,
            lines_seq: lines_seq_at(window.to),
            limits,
            tiers: tiers.to_vec(),
            carried: Quantity::ZERO,
            gauge: Gauge::new(metered.gauge.accumulated.emptied()),
            groups: GroupGauges::new(),
        }
    }

    /// From when to when.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The value with which it closed, late events included.
    pub fn value(&self) -> EntitlementValue {
        self.measure().value(self.usage(), self.window)
    }

    /// Whether anything has happened in it.
    pub(super) fn is_touched(&self) -> bool {
        let gauge = &self.gauge;
        let is_used = !gauge.accumulated.is_empty() || !self.carried.is_zero();
        // Corrections may leave nothing of the whole, and something of its groups.
        is_used || !gauge.lines.is_empty() || !self.groups.is_empty()
    }

    pub(super) fn usage(&self) -> Quantity {
        self.carried.bounded_add(self.gauge.accumulated.usage())
    }

    fn measure(&self) -> Measure<'_> {
        Measure { hard: self.limits.hard, soft: self.limits.soft, tiers: &self.tiers }
    }

    /// What evaluation looks at, beside what it changes.
    pub(super) fn parts(
        &mut self,
        entitlement: EntitlementId,
        feature: FeatureId,
    ) -> (Frame<'_>, &mut Gauge, &mut GroupGauges) {
        let frame = Frame {
            entitlement,
            feature,
            window: self.window,
            measure: Measure { hard: self.limits.hard, soft: self.limits.soft, tiers: &self.tiers },
            carried: self.carried,
            closed_with: Some(self.lines_seq),
        };
        (frame, &mut self.gauge, &mut self.groups)
    }

    /// Writes it as the archive keeps it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.time(self.window.from);
        writer.time(self.window.to);
        writer.number(self.lines_seq);
        self.limits.encode(&mut writer);
        writer.list(self.tiers.iter(), |writer, it| writer.quantity(*it));
        writer.quantity(self.carried);
        self.gauge.encode(&mut writer);
        encode_groups(&self.groups, &mut writer);
        writer.into_bytes()
    }

    /// Reads what [`ClosedWindow::encode`] of this version wrote.
    pub fn decode(bytes: &[u8], version: i64) -> Result<Self, Corrupt> {
        let mut reader = Reader::of_version(bytes, version);
        let closed = Self {
            window: Window { from: reader.time()?, to: reader.time()? },
            lines_seq: reader.number()?,
            limits: Limits::decode(&mut reader)?,
            tiers: reader.list(Reader::quantity)?,
            carried: reader.quantity()?,
            gauge: Gauge::decode(&mut reader)?,
            groups: decode_groups(&mut reader)?,
        };
        reader.finish()?;
        Ok(closed)
    }
}
