//! Which accepted events a reader wants.
//!
//! Not here: where on the log they can stand (`log_scan`).

use plimsoll_core::{codec::Corrupt, ids::CustomerId, time::Timestamp};

use crate::{
    ingest::{event::EventReader, json::Scanner},
    partition::usage_row::EventRef,
};

/// Which events a scan gives. What is absent asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only of this customer.
    pub customer: Option<CustomerId>,
    /// Only of this `type`.
    pub event_type: Option<String>,
    /// Only with this `subject`.
    pub subject: Option<String>,
    /// Only from this `source`.
    pub source: Option<String>,
    /// Only with this `id`.
    pub id: Option<String>,
    /// Only those whose effective time is this or later.
    pub from: Option<Timestamp>,
    /// Only those whose effective time is before this.
    pub to: Option<Timestamp>,
    /// Only those that every meter of their type counted, or only those that one could not.
    pub counted: Option<bool>,
}

impl EventFilter {
    /// Whether no event can have such a time.
    pub fn is_empty(&self) -> bool {
        matches!((self.from, self.to), (Some(from), Some(to)) if from >= to)
    }

    /// The customer without whom a row is of no interest, whatever its payload says: only with
    /// the list of uncounted events is that known beforehand.
    pub(super) fn uncounted_customer(&self) -> Option<CustomerId> {
        self.customer.filter(|_| self.counted == Some(false))
    }

    /// Whether an event is wanted. What costs most is asked last.
    pub(super) fn takes(
        &self,
        found: EventRef<'_>,
        is_counted: impl FnOnce() -> bool,
    ) -> Result<bool, Corrupt> {
        let in_range = self.customer.is_none_or(|it| it == found.customer)
            && self.from.is_none_or(|it| it <= found.time)
            && self.to.is_none_or(|it| found.time < it)
            && self.counted.is_none_or(|it| it == is_counted());
        Ok(in_range && self.takes_attributes(found.raw)?)
    }

    fn takes_attributes(&self, raw: &str) -> Result<bool, Corrupt> {
        let wanted = [&self.event_type, &self.subject, &self.source, &self.id];
        if wanted.iter().all(|it| it.is_none()) {
            return Ok(true);
        }
        let Ok(Ok(event)) = EventReader::default().read(&mut Scanner::new(raw)) else {
            return Err(Corrupt { expected: "an event that can be read again" });
        };
        let found = [&event.event_type, &event.subject, &event.source, &event.id];
        Ok(wanted
            .iter()
            .zip(found)
            .all(|(wanted, found)| wanted.as_deref().is_none_or(|wanted| wanted == found.as_ref())))
    }
}
