//! Usage that partitions have counted, compared with a recount of the events by other code.
//!
//! Not here: the API's parameters and texts (`plimsoll-server`).

mod laws;
mod races;
mod recount;
mod world;
