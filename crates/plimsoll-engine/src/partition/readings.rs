//! What an event means to the meters of its type.
//!
//! The same code reads events when they are accepted, when they are replayed, and when minutes are
//! counted from the log.
//!
//! Not here: what becomes of the readings (`plimsoll-core`).

use std::sync::Arc;

use plimsoll_core::{
    catalog::meter::{EventData, FoundValue, Meter, MeterReading, ValuePath},
    ids::EnvironmentId,
    state::State,
    time::Timestamp,
};

use super::usage_row;
use crate::ingest::{event, json::Value};

/// Finds what an event means to the meters of its type. Events of one type come in runs, so the
/// meters of the last type are kept at hand.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    environment: Option<EnvironmentId>,
    quoted_type: String,
    meters: Vec<Arc<Meter>>,
    found: Vec<MeterReading>,
    text: String,
}

/// The data of one event, as meters look into it.
pub(crate) struct Data<'a> {
    pub(crate) data: Option<Value<'a>>,
    /// Where texts are unescaped.
    pub(crate) text: &'a mut String,
}

impl EventData for Data<'_> {
    fn find(&mut self, path: &ValuePath) -> FoundValue<'_> {
        event::find(self.data, path, self.text)
    }
}

impl Readings {
    /// The catalogue has changed.
    pub(crate) fn forget(&mut self) {
        self.environment = None;
    }

    /// What the event means to each meter of its type.
    pub(crate) fn of(
        &mut self,
        state: &State,
        environment: EnvironmentId,
        time: Timestamp,
        quoted_type: &str,
        data: Option<Value<'_>>,
    ) -> &[MeterReading] {
        if self.environment != Some(environment) || self.quoted_type != quoted_type {
            let event_type = usage_row::unquoted(quoted_type);
            self.meters = state.catalog().meters_of(environment, &event_type).to_vec();
            self.environment = Some(environment);
            quoted_type.clone_into(&mut self.quoted_type);
        }
        self.found.clear();
        let mut data = Data { data, text: &mut self.text };
        self.found.extend(self.meters.iter().filter_map(|it| it.read(time, &mut data)));
        &self.found
    }
}
