//! Grants: dated quantities put into an entitlement, and the order in which usage burns them.
//!
//! Not here: how much of a grant is left (`state::book`).

use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::period::{UsagePeriod, Window},
    ids::GrantId,
    quantity::Quantity,
    time::Timestamp,
};

/// A quantity that an entitlement may use, from one moment to another (design 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The grant's id; its first bits say when it was made.
    pub id: GrantId,
    /// How much; above zero.
    pub amount: Quantity,
    /// Lower numbers burn first.
    pub priority: u8,
    /// The first moment at which it can be used.
    pub effective_at: Timestamp,
    /// The first moment at which it can be used no longer.
    pub expires_at: Option<Timestamp>,
    /// When it is set back to its amount, if ever: at each start of a period.
    pub recurrence: Option<UsagePeriod>,
    /// What a reset leaves of it at least.
    pub min_rollover: Quantity,
    /// What a reset leaves of it at most.
    pub max_rollover: Quantity,
}

/// What decides which of two grants burns first: the lesser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BurnOrder {
    priority: u8,
    expires_at: Timestamp,
    made_at: Timestamp,
    id: u128,
}

impl BurnOrder {
    /// The place of the same limit in another window.
    pub(crate) fn in_window(self, window: Window) -> Self {
        Grant::burn_order_of_limit(self.priority, window.from, window.to)
    }

    /// The place with another priority.
    pub(crate) fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    pub(crate) fn encode(self, writer: &mut Writer) {
        writer.byte(self.priority);
        writer.time(self.expires_at);
        writer.time(self.made_at);
        writer.bits(self.id);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            priority: reader.byte()?,
            expires_at: reader.time()?,
            made_at: reader.time()?,
            id: reader.bits()?,
        })
    }
}

impl Grant {
    /// Its place among others: priority, then the earlier expiry, then the older, then the id.
    pub fn burn_order(&self) -> BurnOrder {
        BurnOrder {
            priority: self.priority,
            expires_at: self.expires_at.unwrap_or(Timestamp::MAX),
            made_at: Timestamp::from_ms((self.id.bits() >> 80) as i64),
            id: self.id.bits(),
        }
    }

    /// The place of the limit of a period, which acts as a grant from its start to its end.
    pub fn burn_order_of_limit(priority: u8, from: Timestamp, to: Timestamp) -> BurnOrder {
        BurnOrder { priority, expires_at: to, made_at: from, id: 0 }
    }

    /// The first time after `after` at which it is set back to its amount.
    pub fn recurs_after(&self, after: Timestamp) -> Option<Timestamp> {
        let period = self.recurrence?;
        let anchor = Some(period.anchor.unwrap_or(self.effective_at));
        Some(UsagePeriod { anchor, ..period }.window_at(after).to)
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.bits(self.id.bits());
        writer.quantity(self.amount);
        writer.byte(self.priority);
        writer.time(self.effective_at);
        writer.option(self.expires_at, Writer::time);
        writer.option(self.recurrence, |writer, it| it.encode(writer));
        writer.quantity(self.min_rollover);
        writer.quantity(self.max_rollover);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: GrantId::from_bits(reader.bits()?),
            amount: reader.quantity()?,
            priority: reader.byte()?,
            effective_at: reader.time()?,
            expires_at: reader.option(Reader::time)?,
            recurrence: reader.option(UsagePeriod::decode)?,
            min_rollover: reader.quantity()?,
            max_rollover: reader.quantity()?,
        })
    }
}
