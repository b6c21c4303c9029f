//! Tests of the state: the table of design 5.3 row by row, and laws that hold for any history.
//!
//! Not here: the bytes of released versions (`tests/it/fixtures.rs`).

mod aggregations;
mod corners;
mod full_cells;
mod full_history;
mod full_laws;
mod full_lines;
mod full_model;
mod full_tale;
mod full_time;
mod full_world;
mod grants;
mod history;
mod kinds;
mod late;
mod laws;
mod ledger;
mod model;
mod rows;
mod rows_from_9;
mod time;
