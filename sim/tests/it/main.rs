//! The simulation in CI: some seeds, their repetition, and a defect that must be found.
//!
//! Many seeds are run by hand: `docs/internals/simulation.md`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use plimsoll_sim::run::{self, Report, Tally};

/// Runs these seeds on as many threads as there are cores.
fn run_all(seeds: std::ops::Range<u64>) -> Vec<Report> {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let seeds = std::iter::from_fn(|| {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            (seed < seeds.end).then_some(seed)
        });
        seeds.map(|it| run::run(it, false)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|it| it.join().expect("a seed never panics")).collect()
    })
}

#[cfg(not(feature = "planted-bug"))]
#[test]
fn two_hundred_seeds_find_nothing() {
    let reports = run_all(0..200);
    let findings: Vec<_> = reports
        .iter()
        .filter(|it| !it.findings.is_empty())
        .map(|it| format!("seed {}: {:#?}", it.seed, it.findings))
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    // Silence means something only where something happened.
    let mut total = Tally::default();
    for it in &reports {
        total.add(&it.tally);
    }
    let Tally { events, notifications, late, resets, usage, crashes, .. } = total;
    let is_enough = events > 5_000 && notifications - resets > 1_000 && crashes > 150;
    assert!(is_enough && late > 20 && resets > 1_000 && usage > 1_000, "{total}");
    let Tally { groups, tiers, multiples, recurred, anchors, .. } = total;
    let is_rich = groups > 100 && tiers > 50 && multiples > 100;
    assert!(is_rich && recurred > 5 && anchors > 10, "{total}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let first: Vec<_> = (1_000..1_012).map(|it| run::run(it, false).digest).collect();
    let again: Vec<_> = (1_000..1_012).map(|it| run::run(it, true).digest).collect();
    assert_eq!(first, again);
    let mut distinct = first.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), first.len(), "other seeds are other runs");
}

#[cfg(feature = "planted-bug")]
#[test]
fn a_planted_bug_is_found_within_a_thousand_seeds() {
    let found = (0..20)
        .map(|it| run_all(it * 50..(it + 1) * 50))
        .find_map(|reports| reports.into_iter().find(|it| !it.findings.is_empty()));
    let report = found.expect("one of a thousand seeds finds that accepted events are forgotten");
    let is_it = |it: &String| it.contains("duplicate was accepted") || it.contains("in the log 2");
    assert!(report.findings.iter().any(is_it), "seed {}: {:#?}", report.seed, report.findings);
}
