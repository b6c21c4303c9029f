//! Where a metered entitlement stands: its window, its usage, and which lines it has passed.
//!
//! Not here: what makes a line fire (`state::evaluate`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::{
        Entitlement, EntitlementKind, EntitlementValue,
        period::{UsagePeriod, Window},
    },
    ids::{EntitlementId, FeatureId, LineId, MeterId},
    quantity::Quantity,
    time::Timestamp,
};

/// The moving part of a metered entitlement.
#[derive(Debug)]
pub(super) struct Metered {
    pub(super) entitlement: EntitlementId,
    pub(super) feature: FeatureId,
    pub(super) meter: MeterId,
    /// The hard limit, if there is one.
    pub(super) limit: Option<Quantity>,
    period: UsagePeriod,
    pub(super) window: Window,
    /// The sum of the window; corrections may take it below zero.
    pub(super) accumulated: Quantity,
    /// Lines that are not as a new window finds them, in the order of their ids.
    pub(super) lines: Vec<LineState>,
    /// Derived: between these usages no line changes, so most events end with two comparisons.
    pub(super) calm: Option<Calm>,
}

/// What has happened to one line in the current window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineState {
    pub(super) line: LineId,
    /// How often it was armed again.
    pub(super) generation: u32,
    pub(super) mark: Mark,
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
#[derive(Debug, Clone, Copy)]
pub(super) struct Calm {
    pub(super) from: Option<Quantity>,
    pub(super) below: Option<Quantity>,
}

impl Calm {
    fn holds(&self, usage: Quantity) -> bool {
        self.from.is_none_or(|it| it <= usage) && self.below.is_none_or(|it| usage < it)
    }
}

impl Metered {
    /// Nothing used yet, in the window of `at`.
    pub(super) fn new(
        entitlement: &Entitlement,
        meter: MeterId,
        limit: Option<Quantity>,
        period: UsagePeriod,
        at: Timestamp,
    ) -> Self {
        Self {
            entitlement: entitlement.id,
            feature: entitlement.feature,
            meter,
            limit,
            period,
            window: period.window_at(at),
            accumulated: Quantity::ZERO,
            lines: Vec::new(),
            calm: None,
        }
    }

    /// The entitlement that is measured.
    pub(super) fn to_entitlement(&self) -> Entitlement {
        let kind = EntitlementKind::Metered { limit: self.limit, period: self.period };
        Entitlement { id: self.entitlement, feature: self.feature, kind }
    }

    /// Starts again at nothing used, in the window of `at`.
    pub(super) fn begin_window(&mut self, at: Timestamp) {
        self.window = self.period.window_at(at);
        self.accumulated = Quantity::ZERO;
        self.lines.clear();
        self.calm = None;
    }

    /// Usage as it is shown and compared.
    pub(super) fn usage(&self) -> Quantity {
        self.accumulated.floor_at_zero()
    }

    pub(super) fn is_calm_at(&self, usage: Quantity) -> bool {
        self.calm.is_some_and(|it| it.holds(usage))
    }

    /// The value in the window of the last event.
    pub(super) fn value(&self) -> EntitlementValue {
        EntitlementValue::of(self.accumulated, self.limit, self.window)
    }

    /// The value at `now`, which may be in a later window than the last event was.
    pub(super) fn value_at(&self, now: Timestamp) -> EntitlementValue {
        if now < self.window.to {
            self.value()
        } else {
            EntitlementValue::of(Quantity::ZERO, self.limit, self.period.window_at(now))
        }
    }

    pub(super) fn line(&self, line: LineId) -> LineState {
        match self.lines.binary_search_by_key(&line, |it| it.line) {
            Ok(index) => self.lines[index],
            Err(_) => LineState { line, generation: 0, mark: Mark::Armed },
        }
    }

    pub(super) fn set_line(&mut self, state: LineState) {
        match self.lines.binary_search_by_key(&state.line, |it| it.line) {
            Ok(index) => self.lines[index] = state,
            Err(index) => self.lines.insert(index, state),
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.meter.bits());
        writer.time(self.window.from);
        writer.time(self.window.to);
        writer.quantity(self.accumulated);
        writer.list(self.lines.iter(), |writer, it| {
            writer.bits(it.line.bits());
            writer.number(u64::from(it.generation));
            writer.byte(match it.mark {
                Mark::Armed => 0,
                Mark::Notified => 1,
                Mark::Recorded => 2,
                Mark::Passed => 3,
            });
        });
    }

    pub(super) fn decode(
        reader: &mut Reader<'_>,
        entitlement: &Entitlement,
    ) -> Result<Self, Corrupt> {
        let EntitlementKind::Metered { limit, period } = entitlement.kind else {
            return Err(Corrupt { expected: "a metered entitlement" });
        };
        Ok(Self {
            entitlement: entitlement.id,
            feature: entitlement.feature,
            meter: MeterId::from_bits(reader.bits()?),
            limit,
            period,
            window: Window { from: reader.time()?, to: reader.time()? },
            accumulated: reader.quantity()?,
            lines: reader.list(LineState::decode)?,
            calm: None,
        })
    }
}

impl LineState {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let line = LineId::from_bits(reader.bits()?);
        let generation = reader.number_u32()?;
        let mark = match reader.byte()? {
            0 => Mark::Armed,
            1 => Mark::Notified,
            2 => Mark::Recorded,
            3 => Mark::Passed,
            _ => return Err(Corrupt { expected: "the mark of a line" }),
        };
        Ok(Self { line, generation, mark })
    }
}
