//! Cells that close between the look into the memory and the look into the store.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use plimsoll_core::{
    ids::{CustomerId, EnvironmentId},
    time::Timestamp,
};
use serde_json::json;

use super::{
    super::{
        Step, UsageQuery,
        open::{CellsWanted, NotNow, OpenCells, OpenScope},
    },
    world::{StandingClock, World, at, customer, event, request, values},
};
use crate::partition::{Partitions, UsageRequest};

/// Lets usage happen right after open cells were taken.
#[derive(Debug)]
struct Racing {
    inner: Partitions,
    clock: Arc<StandingClock>,
    next: Mutex<Vec<(Timestamp, UsageRequest)>>,
}

#[async_trait]
impl OpenCells for Racing {
    fn partitions(&self) -> usize {
        self.inner.partitions()
    }

    fn partition_of(&self, customer: CustomerId) -> usize {
        self.inner.partition_of(customer)
    }

    async fn clock(&self, partition: usize, of: EnvironmentId) -> Result<Timestamp, NotNow> {
        self.inner.clock(partition, of).await
    }

    async fn open(&self, partition: usize, wanted: CellsWanted) -> Result<Vec<OpenScope>, NotNow> {
        let answer = self.inner.open(partition, wanted).await;
        if partition != self.inner.of(customer(1)) {
            return answer;
        }
        let next = std::mem::take(&mut *self.next.lock().unwrap());
        for (now, request) in next {
            self.clock.set(now);
            self.inner.usage(partition, request).await.unwrap();
        }
        answer
    }
}

/// Usage of 1, 2 and 4 before the query; then more that closes the open hour, and the open day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_closes_between_the_two_looks_counts_once() {
    let (one, early) = (customer(1), "2026-03-09T22:10:00Z");
    let before = [(early, 1), ("2026-03-09T23:20:00Z", 2), ("2026-03-10T10:30:00Z", 4)];
    let closings: [&[&str]; 4] = [
        &[],
        &["2026-03-10T13:00:00Z"],
        &["2026-03-11T01:00:00Z"],
        &["2026-03-11T01:00:00Z", "2026-03-11T02:00:00Z", "2026-03-12T02:00:00Z"],
    ];
    let whose: [fn(UsageQuery) -> UsageQuery; 3] = [
        |it| it,
        |it| UsageQuery { by_customer: true, ..it },
        |it| UsageQuery { customers: Some([customer(1)].into()), ..it },
    ];
    let steps: [(Step, &[&str]); 3] =
        [(Step::Whole, &["7"]), (Step::Day, &["3", "4"]), (Step::Hour, &["1", "2", "4"])];
    for closing in closings {
        for shape in whose {
            for (step, expected) in steps {
                let world = World::start(early).await;
                for (number, (time, value)) in before.iter().enumerate() {
                    world.clock.set(at(time));
                    let event = event(&number.to_string(), None, &json!({"v": value}));
                    assert_eq!(world.send(&[(one, event)]).await.accepted, 1);
                }
                let next = closing
                    .iter()
                    .map(|time| (at(time), request(one, &event(time, None, &json!({"v": 100})))));
                let open = Arc::new(Racing {
                    inner: world.partitions.clone(),
                    clock: Arc::clone(&world.clock),
                    next: Mutex::new(next.collect()),
                });
                let to = if step == Step::Hour {
                    "2026-03-10T11:00:00Z"
                } else {
                    "2026-03-10T12:00:00Z"
                };
                let query = world.query(1, step, "2026-03-09T00:00:00Z", to);
                let page = world.reader_over(open).read(&shape(query)).await;
                let rows = page.map(|it| it.rows).map(|mut rows| {
                    rows.retain(|it| it.value.is_some_and(|it| !it.is_zero()));
                    rows
                });
                assert_eq!(values(rows), expected, "{step:?} {closing:?}");
            }
        }
    }
}
