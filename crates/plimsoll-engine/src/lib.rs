//! The engine: partitions that own state, the writer of the control plane, delivery.
//!
//! It acts on what `plimsoll-core` decides, through what `plimsoll-store` keeps.
//!
//! Not here: HTTP routes and JSON of the API's edges (`plimsoll-server`), SQL (`plimsoll-store`),
//! rules (`plimsoll-core`).

pub mod catalogue;
pub mod delivery;
pub mod deps;
pub mod engine;
pub mod ingest;
pub mod ops;
pub mod partition;
pub mod reads;
pub mod replay;
pub mod retention;
pub mod vault;
