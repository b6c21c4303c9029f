//! Histories drawn at random: usage, seals, merges, expiry, failed commits, restarts.

use super::*;

/// Bytes for the identities of a partition: so few that some filters stay in the store.
const BOUND: usize = 128 * 1024;

/// Numbers drawn from a seed.
struct Draw(u64);

impl Draw {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }
}

/// A history, and what must be remembered.
struct History {
    world: World,
    draw: Draw,
    /// The day on which each identity was accepted last.
    model: HashMap<u128, Day>,
    /// Events so far; each has its number.
    events: u64,
    /// What has come about, so that a history that shows nothing is noticed.
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    duplicates: u64,
    accepted_again: u64,
    replayed: u64,
    absent_filters: u64,
    merges: u64,
    broken_merges: u64,
}

impl History {
    /// New ones, and old ones of any age, those of this batch included.
    fn batch(&mut self) -> Vec<u128> {
        let size = self.draw.below(220);
        (0..size)
            .map(|_| {
                if self.events == 0 || self.draw.below(10) > 0 {
                    self.events += 1;
                    return identity(self.events);
                }
                let oldest = 1 << self.draw.below(20);
                let age = self.draw.below(self.events.min(oldest));
                identity(self.events - age)
            })
            .collect()
    }

    /// What the model says about a batch.
    fn expect(&self, batch: &[u128], today: Day) -> (Vec<bool>, HashMap<u128, Day>) {
        let mut accepted = HashMap::new();
        let new = batch.iter().map(|it| {
            let known = accepted.get(it).or_else(|| self.model.get(it)).copied();
            let is_new = known.is_none_or(|day| day.has_expired(today));
            if is_new {
                accepted.insert(*it, today);
            }
            is_new
        });
        (new.collect(), accepted)
    }

    async fn usage(&mut self) {
        let batch = self.batch();
        let (expected, accepted) = self.expect(&batch, Day::of(self.world.now));
        assert_eq!(self.world.take(&batch).await, expected);
        self.seen.duplicates += expected.iter().filter(|it| !**it).count() as u64;
        for (identity, day) in accepted {
            self.seen.accepted_again += u64::from(self.model.insert(identity, day).is_some());
        }
    }

    /// A commit that fails takes its events with it.
    async fn failed_usage(&mut self) {
        let batch = self.batch();
        let (expected, _) = self.expect(&batch, Day::of(self.world.now));
        let (new, _) = self.world.apply(&batch).await;
        assert_eq!(new, expected);
        self.world.log.remove(&self.world.position);
        self.world.position -= 1;
        self.recover().await;
    }

    async fn recover(&mut self) {
        self.seen.broken_merges += u64::from(self.world.dedupe.merging.is_some());
        let today = Day::of(self.world.now);
        // What comes from the log counts as accepted now: never forgotten too early.
        for identity in self.world.recover().await {
            self.model.insert(identity, today);
            self.seen.replayed += 1;
        }
    }

    async fn operate(&mut self) {
        let was_merging = self.world.dedupe.merging.is_some();
        match self.draw.below(100) {
            0..60 => self.usage().await,
            60..85 => self.world.step().await,
            85..89 => self.world.checkpoint().await,
            89 => self.world.settle().await,
            90..95 => self.recover().await,
            95 | 96 => self.failed_usage().await,
            97 | 98 => {
                let ms = self.draw.below(2 * DAY_MS as u64) as i64;
                self.world.now = self.world.now.plus_ms(ms);
            }
            _ => {
                // The machine's clock is set back a little.
                self.world.now = self.world.now.plus_ms(-(self.draw.below(3_600_000) as i64));
            }
        }
        self.seen.merges += u64::from(was_merging && self.world.dedupe.merging.is_none());
        let segments = &self.world.dedupe.segments;
        self.seen.absent_filters +=
            segments.iter().map(Segment::absent_filters).sum::<usize>() as u64;
    }
}

async fn check(seed: u64, operations: u64) -> Seen {
    let mut history = History {
        world: World::start(BOUND).await,
        draw: Draw(seed),
        model: HashMap::new(),
        events: 0,
        seen: Seen::default(),
    };
    for _ in 0..operations {
        history.operate().await;
    }
    // The store keeps what is remembered and little else.
    history.world.checkpoint().await;
    history.world.settle().await;
    let rows = table::segments(&*history.world.store, PARTITION).await.unwrap();
    let live: Vec<i64> = rows.iter().map(|it| it.segment).collect();
    let mut known: Vec<i64> = history.world.dedupe.segments.iter().map(Segment::number).collect();
    known.sort_unstable();
    assert_eq!(live, known, "seed {seed}");
    history.seen
}

#[tokio::test]
async fn a_history_remembers_what_a_map_remembers() {
    let mut all = [0; 6];
    for seed in 1..=4 {
        let seen = check(seed, 3_000).await;
        let Seen { duplicates, accepted_again, replayed, absent_filters, merges, broken_merges } =
            seen;
        let of_seed = [duplicates, accepted_again, replayed, absent_filters, merges, broken_merges];
        all.iter_mut().zip(of_seed).for_each(|(sum, it)| *sum += it);
    }
    assert!(all.iter().all(|it| *it >= 5), "the histories show too little: {all:?}");
}
