//! The terms that an entitlement had before those of now, for late events.
//!
//! A window that nobody used is not archived. When an event comes for it after all, it is made up,
//! and must have the bounds, the limits and the tiers that it closed with (row 11). Only what a
//! window *closed* with matters: however often terms change within one, they are remembered once.
//!
//! Not here: windows that are archived (`state::closed`), when terms change (`state::metered`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::{
        period::{UsagePeriod, Window},
        source::Limits,
    },
    limits,
    quantity::Quantity,
    time::Timestamp,
};

/// What applied to windows that closed up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PastTerms {
    /// The start of the window in which they changed: every window before that had closed.
    pub(super) until: Timestamp,
    /// Without grants.
    pub(super) limits: Limits,
    pub(super) tiers: Vec<Quantity>,
    pub(super) period: UsagePeriod,
}

/// All terms but the present ones that a late event may still meet, the earliest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Past(Vec<PastTerms>);

/// What a closed window is made up of.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClosedTerms<'a> {
    pub(super) window: Window,
    pub(super) limits: Limits,
    pub(super) tiers: &'a [Quantity],
}

impl PastTerms {
    /// The window of `time`, within the stretch in which these terms applied.
    pub(super) fn closed(&self, time: Timestamp, since: Timestamp) -> ClosedTerms<'_> {
        let window = closed_window(self.period, time, Window { from: since, to: self.until });
        ClosedTerms { window, limits: self.limits, tiers: &self.tiers }
    }
}

/// The window of `time` in a stretch that begins and ends with a window.
pub(super) fn closed_window(period: UsagePeriod, time: Timestamp, stretch: Window) -> Window {
    let window = period.window_at(time);
    // The first and the last of a stretch may be shorter than their periods.
    Window { from: window.from.max(stretch.from), to: window.to.min(stretch.to) }
}

impl Past {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is known already what windows up to this moment closed with.
    pub(super) fn knows(&self, until: Timestamp) -> bool {
        self.0.last().is_some_and(|it| it.until >= until)
    }

    /// Keeps terms that are about to change.
    pub(super) fn remember(&mut self, terms: PastTerms) {
        self.0.push(terms);
    }

    /// Drops what no event can meet any more from `now` on; whether that was the last of it.
    pub(super) fn forget(&mut self, now: Timestamp) -> bool {
        let oldest = now.plus_ms(-limits::EVENT_LATE_MS);
        let gone = self.0.partition_point(|it| it.until <= oldest);
        self.0.drain(..gone);
        gone > 0 && self.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The terms with which the window of `time` closed, unless they are those of now; and since
    /// when they applied, as far as that is known.
    pub(super) fn terms_at(&self, time: Timestamp) -> (Option<&PastTerms>, Option<Timestamp>) {
        let place = self.0.partition_point(|it| it.until <= time);
        let before = place.checked_sub(1).and_then(|it| self.0.get(it));
        (self.0.get(place), before.map(|it| it.until))
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.list(self.0.iter(), |writer, it| {
            writer.time(it.until);
            it.limits.encode(writer);
            writer.list(it.tiers.iter(), |writer, it| writer.quantity(*it));
            it.period.encode(writer);
        });
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let terms = reader.list(|reader| {
            Ok(PastTerms {
                until: reader.time()?,
                limits: Limits::decode(reader)?,
                tiers: reader.list(Reader::quantity)?,
                period: UsagePeriod::decode(reader)?,
            })
        })?;
        Ok(Self(terms))
    }
}
