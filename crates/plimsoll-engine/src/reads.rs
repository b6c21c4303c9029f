//! Reads of what was accepted: the usage on the log, decoded, in either direction; usage by time.
//!
//! For events the store is read, no partition is asked: what is not committed is not there.
//!
//! Not here: values and lines (the partitions' memory), who may read (`ops`).

mod events;
mod filter;
mod log_scan;
pub mod usage;

pub use self::{
    events::{EventPage, EventPlace, EventReader, ListedEvent},
    filter::EventFilter,
    log_scan::{LogScan, ScanBudget, ScanError, ScanRequest, ScannedEvent, ScannedRow},
};
pub use crate::partition::uncounted_row::Uncounted;
