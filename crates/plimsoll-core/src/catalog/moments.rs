//! When lines came to apply, by the clock of their environment, for late events.
//!
//! Changes of the catalogue carry no time: a change counts from the first stamp that comes after it
//! in its environment. A window that had closed by then knows nothing of it (row 11).
//!
//! Not here: what each customer has seen of the lines (`state::customers`).

use std::collections::BTreeMap;

use crate::{
    codec::{Corrupt, Reader, Writer},
    ids::EnvironmentId,
    limits,
    time::Timestamp,
};

/// The changes of lines that closed windows may not know of.
#[derive(Debug, Default)]
pub(super) struct Moments {
    /// Up to each moment, the earliest first, lines were known up to this control sequence.
    known: BTreeMap<EnvironmentId, Vec<(Timestamp, u64)>>,
    /// Environments whose lines changed after their last stamp, and what was known before that.
    unstamped: BTreeMap<EnvironmentId, u64>,
}

impl Moments {
    /// Lines of an environment are about to change, and were known up to `lines_seq`.
    pub(super) fn change(&mut self, environment: EnvironmentId, lines_seq: u64) {
        self.unstamped.entry(environment).or_insert(lines_seq);
    }

    /// A row of the environment has this stamp.
    pub(super) fn stamp(&mut self, environment: EnvironmentId, at: Timestamp) {
        // Nearly every row ends here.
        if self.unstamped.is_empty() {
            return;
        }
        let Some(lines_seq) = self.unstamped.remove(&environment) else { return };
        let known = self.known.entry(environment).or_default();
        let oldest = at.plus_ms(-limits::EVENT_LATE_MS);
        let gone = known.partition_point(|it| it.0 <= oldest);
        known.drain(..gone);
        if known.last().is_none_or(|it| it.0 < at) {
            known.push((at, lines_seq));
        }
    }

    /// The clock of an environment went back: its windows begin again, and know what there is.
    pub(super) fn forget(&mut self, environment: EnvironmentId) {
        self.known.remove(&environment);
    }

    /// Up to which control sequence a window knew lines that closed at `closed_at`; nothing if it
    /// knew all that there are.
    pub(super) fn lines_seq_at(
        &self,
        environment: EnvironmentId,
        closed_at: Timestamp,
    ) -> Option<u64> {
        let known = self.known.get(&environment)?;
        let place = known.partition_point(|it| it.0 < closed_at);
        known.get(place).map(|it| it.1)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.list(self.known.iter(), |writer, (environment, known)| {
            writer.bits(environment.bits());
            writer.list(known.iter(), |writer, (until, lines_seq)| {
                writer.time(*until);
                writer.number(*lines_seq);
            });
        });
        writer.list(self.unstamped.iter(), |writer, (environment, lines_seq)| {
            writer.bits(environment.bits());
            writer.number(*lines_seq);
        });
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let known = reader.list(|reader| {
            let environment = EnvironmentId::from_bits(reader.bits()?);
            Ok((environment, reader.list(|it| Ok((it.time()?, it.number()?)))?))
        })?;
        let unstamped = reader
            .list(|reader| Ok((EnvironmentId::from_bits(reader.bits()?), reader.number()?)))?;
        Ok(Self { known: known.into_iter().collect(), unstamped: unstamped.into_iter().collect() })
    }
}
