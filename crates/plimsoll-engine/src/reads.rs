//! Reads of what was accepted: usage by time.
//!
//! Not here: values and lines (the partitions' memory), who may read (`ops`).

pub mod usage;
