//! What waits for the writer, by lane, and which of it goes into the next transaction.
//!
//! A group is either all that waits in the urgent lanes (log, control, attempts), up to a bound,
//! or one batch of the background lanes (checkpoint, pruning). Background work goes when nothing
//! urgent waits, or when it has been passed over [`PATIENCE`] times: it never stops, and it adds
//! its time to no more than one in so many urgent commits.
//!
//! Not here: transactions (`writer`).

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use tokio::sync::oneshot;

use crate::{
    row::Row,
    statement::{Batch, Lane},
    store::CommitError,
};

/// The answer to a batch.
pub(super) type Answer = Result<Vec<Vec<Row>>, CommitError>;

/// Bytes after which a group takes no further batch.
const GROUP_BYTES: usize = 16 << 20;
/// Batches in one group at the most.
const GROUP_BATCHES: usize = 256;
/// Batches that may wait; more are answered `Unavailable`.
const WAITING_BATCHES: usize = 65_536;
/// Urgent groups that pass background work before it goes.
const PATIENCE: u32 = 8;

/// A batch with whoever waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What to commit.
    pub(super) batch: Batch,
    /// Where the answer goes.
    pub(super) answer: oneshot::Sender<Answer>,
    weight: usize,
}

/// The queue in front of the writer.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lanes: [VecDeque<Waiting>; Lane::ALL.len()],
    waiting: usize,
    passed_over: u32,
    closed: bool,
}

impl Lanes {
    /// Lets a batch wait for the writer.
    pub(super) fn push(&self, batch: Batch) -> Result<oneshot::Receiver<Answer>, CommitError> {
        let (answer, receiver) = oneshot::channel();
        let weight = batch.weight();
        let mut state = self.state();
        if state.closed {
            return Err(CommitError::Unavailable { detail: "the store is closed".to_owned() });
        }
        if state.waiting >= WAITING_BATCHES {
            return Err(CommitError::Unavailable { detail: "too many batches wait".to_owned() });
        }
        state.push(Waiting { batch, answer, weight });
        drop(state);
        self.changed.notify_one();
        Ok(receiver)
    }

    /// Waits for the next group. `None` when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        loop {
            let group = state.next_group();
            if !group.is_empty() {
                return Some(group);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).expect("no holder of this lock panics");
        }
    }

    /// Takes nothing more. What waits is still served.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Takes nothing more and lets go of what waits: the writer is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.closed = true;
        state.lanes = Default::default();
    }

    /// Whether batches are taken.
    pub(super) fn is_open(&self) -> bool {
        !self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn push(&mut self, waiting: Waiting) {
        self.lanes[waiting.batch.lane as usize].push_back(waiting);
        self.waiting += 1;
    }

    fn next_group(&mut self) -> Vec<Waiting> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        let background_waits = self.waits(Lane::is_background);
        if self.passed_over < PATIENCE || !background_waits {
            let urgent = Lane::ALL.into_iter().filter(|it| !it.is_background());
            for lane in urgent {
                while bytes < GROUP_BYTES && group.len() < GROUP_BATCHES {
                    let Some(next) = self.lanes[lane as usize].pop_front() else { break };
                    bytes += next.weight;
                    group.push(next);
                }
            }
        }
        if group.is_empty() {
            let mut background = Lane::ALL.into_iter().filter(|it| it.is_background());
            group.extend(background.find_map(|lane| self.lanes[lane as usize].pop_front()));
            self.passed_over = 0;
        } else if background_waits {
            self.passed_over += 1;
        }
        self.waiting -= group.len();
        group
    }

    fn waits(&self, which: fn(Lane) -> bool) -> bool {
        Lane::ALL.into_iter().any(|it| which(it) && !self.lanes[it as usize].is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(lane: Lane, weight: usize) -> Waiting {
        let (answer, _) = oneshot::channel();
        Waiting { batch: Batch::new(lane, Vec::new()), answer, weight }
    }

    fn groups(state: &mut State) -> Vec<Vec<Lane>> {
        let mut groups = Vec::new();
        loop {
            let group = state.next_group();
            if group.is_empty() {
                return groups;
            }
            groups.push(group.iter().map(|it| it.batch.lane).collect());
        }
    }

    #[test]
    fn urgent_lanes_share_a_group_in_order_and_background_goes_alone() {
        use Lane::{Attempts, Checkpoint, Control, Log, Pruning};
        let mut state = State::default();
        for lane in [Pruning, Checkpoint, Attempts, Log, Control, Log, Checkpoint] {
            state.push(waiting(lane, 1));
        }
        let expected: [&[Lane]; 4] =
            [&[Log, Log, Control, Attempts], &[Checkpoint], &[Checkpoint], &[Pruning]];
        assert_eq!(groups(&mut state), expected);
        assert_eq!(state.waiting, 0);
    }

    #[test]
    fn a_group_is_bounded_by_bytes() {
        let mut state = State::default();
        for _ in 0..3 {
            state.push(waiting(Lane::Log, GROUP_BYTES / 2));
        }
        let sizes: Vec<_> = groups(&mut state).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1]);
    }

    #[test]
    fn background_work_is_not_starved() {
        let mut state = State::default();
        state.push(waiting(Lane::Pruning, 1));
        let mut urgent = 0;
        loop {
            state.push(waiting(Lane::Log, 1));
            if state.next_group()[0].batch.lane == Lane::Pruning {
                break;
            }
            urgent += 1;
        }
        assert_eq!(urgent, PATIENCE);
    }

    #[test]
    fn what_waits_when_the_queue_closes_is_still_served() {
        let lanes = Lanes::default();
        let answer = lanes.push(Batch::new(Lane::Log, Vec::new()));
        lanes.close();
        assert!(lanes.push(Batch::new(Lane::Log, Vec::new())).is_err());
        assert_eq!(lanes.take().map(|it| it.len()), Some(1));
        assert!(lanes.take().is_none());
        drop(answer);
    }
}
