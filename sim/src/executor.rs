//! Runs the life of one process: everything on one thread, time moving only when all is idle.
//!
//! A runtime of tokio with one thread polls its tasks in the order in which they were woken. It has
//! neither timers nor sockets; when it would park, the virtual clock goes on instead. When the life
//! is over its tasks are dropped where they stand, which is what a crash does to a process.
//!
//! Not here: what a crash does to a disk (`store`).

use std::future::Future;

use crate::clock::VirtualClock;

/// Everything waits, and nothing will ever wake it; or time goes on without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck;

/// Runs `life` to its end, then drops every task that it has started.
pub fn live<T>(clock: &VirtualClock, life: impl Future<Output = T>) -> Result<T, Stuck> {
    let idle = clock.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_park(move || idle.advance())
        .build()
        .expect("a runtime without drivers needs nothing of the machine");
    runtime.block_on(async {
        tokio::select! {
            biased;
            output = life => Ok(output),
            () = clock.stuck() => Err(Stuck),
        }
    })
}
