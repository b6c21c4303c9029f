//! The integration tests of the engine: one binary, a module an area.

mod delivery;
