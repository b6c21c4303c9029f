//! What applying a command does to the world, as data.
//!
//! Effects carry everything needed to act on them; acting on them decides nothing any more.

use crate::{
    catalog::meter::UncountedReason,
    ids::{CustomerId, MeterId},
    line::crossing::Crossing,
};

/// One thing that a command brought about.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A line was crossed, or left again.
    Crossing(Box<Crossing>),
    /// An event of the row moved no meter.
    Uncounted {
        /// Which event of the row.
        event: u32,
        /// Whose event it was.
        customer: CustomerId,
        /// The meter that could not count it.
        meter: MeterId,
        /// Why.
        reason: UncountedReason,
    },
}
