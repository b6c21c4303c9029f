//! Measures the release binary from outside, over loopback HTTP, beside a baseline of the same run.
//!
//! Not here: tests of behaviour, and benchmarks of functions.

fn main() {}
