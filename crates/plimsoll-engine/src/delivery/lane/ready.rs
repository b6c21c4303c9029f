//! The deliveries of a lane that may start, in the order in which they start.
//!
//! First attempts of one customer start in order, and "started" means that the request is on its
//! way: while one of them still connects, the next ones of that customer wait for it, and only
//! those. Everything else passes them by.
//!
//! Not here: whether anything may start at all (`Pace`).

use std::collections::VecDeque;

use bytes::Bytes;
use hashbrown::HashMap;
use plimsoll_core::ids::{CustomerId, DeliveryId, NotificationId};

/// One delivery that waits for its next attempt.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) delivery: DeliveryId,
    pub(super) notification: NotificationId,
    pub(super) customer: Option<CustomerId>,
    pub(super) body: Bytes,
    /// Attempts made before this one.
    pub(super) attempts: u32,
}

/// A queue that keeps first attempts of one customer in order.
#[derive(Debug, Default)]
pub(super) struct Ready {
    queue: VecDeque<Job>,
    /// Customers with a first attempt that is not on its way yet, and what waits behind it.
    starting: HashMap<CustomerId, VecDeque<Job>>,
    /// What waited and may go now; its customer is in `starting` again.
    released: VecDeque<Job>,
    /// Jobs in the inner queues of `starting`.
    waiting: usize,
}

impl Job {
    /// The customer whose order the attempt must keep.
    pub(super) fn ordered_by(&self) -> Option<CustomerId> {
        if self.attempts == 0 { self.customer } else { None }
    }
}

impl Ready {
    /// Jobs that wait here.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.waiting + self.released.len()
    }

    /// Adds a job behind all others.
    pub(super) fn push(&mut self, job: Job) {
        self.queue.push_back(job);
    }

    /// Takes the next job that may start. If [`Job::ordered_by`] names a customer,
    /// [`Ready::on_its_way`] must follow.
    pub(super) fn pop(&mut self) -> Option<Job> {
        if let Some(job) = self.released.pop_front() {
            return Some(job);
        }
        while let Some(job) = self.queue.pop_front() {
            let Some(customer) = job.ordered_by() else { return Some(job) };
            let Some(behind) = self.starting.get_mut(&customer) else {
                self.starting.insert(customer, VecDeque::new());
                return Some(job);
            };
            behind.push_back(job);
            self.waiting += 1;
        }
        None
    }

    /// Tells that the customer's first attempt is on its way, or will not be.
    pub(super) fn on_its_way(&mut self, customer: CustomerId) {
        let Some(behind) = self.starting.get_mut(&customer) else { return };
        if let Some(next) = behind.pop_front() {
            self.waiting -= 1;
            self.released.push_back(next);
        } else {
            self.starting.remove(&customer);
        }
    }

    /// Takes out the jobs that came last until at most `keep` are left, or only such that wait for
    /// their customer's turn.
    pub(super) fn spill(&mut self, keep: usize) -> Vec<Job> {
        let excess = self.len().saturating_sub(keep).min(self.queue.len());
        self.queue.split_off(self.queue.len() - excess).into()
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self) -> Vec<Job> {
        let mut all: Vec<_> = self.queue.drain(..).collect();
        for behind in self.starting.values_mut() {
            all.extend(behind.drain(..));
        }
        for job in self.released.drain(..) {
            // It had its turn and will not take it.
            if let Some(customer) = job.ordered_by() {
                self.starting.remove(&customer);
            }
            all.push(job);
        }
        self.waiting = 0;
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64, customer: Option<u64>, attempts: u32) -> Job {
        Job {
            delivery: DeliveryId::from_parts(number, 0),
            notification: NotificationId::from_parts(number, 0),
            customer: customer.map(|it| CustomerId::from_parts(it, 0)),
            body: Bytes::new(),
            attempts,
        }
    }

    fn numbers(jobs: &[Job]) -> Vec<u64> {
        jobs.iter().map(|it| (it.delivery.bits() >> 80) as u64).collect()
    }

    fn pop_all(ready: &mut Ready) -> Vec<u64> {
        numbers(&std::iter::from_fn(|| ready.pop()).collect::<Vec<_>>())
    }

    #[test]
    fn first_attempts_of_a_customer_wait_for_each_other() {
        let mut ready = Ready::default();
        for (number, customer, attempts) in
            [(1, Some(7), 0), (2, Some(7), 0), (3, Some(8), 0), (4, Some(7), 0), (5, None, 0)]
        {
            ready.push(job(number, customer, attempts));
        }
        ready.push(job(6, Some(7), 3));
        assert_eq!(ready.len(), 6);
        assert_eq!(pop_all(&mut ready), [1, 3, 5, 6]);
        assert_eq!(ready.len(), 2);
        let seven = CustomerId::from_parts(7, 0);
        ready.on_its_way(seven);
        ready.push(job(9, Some(7), 0));
        assert_eq!(pop_all(&mut ready), [2]);
        ready.on_its_way(seven);
        assert_eq!(pop_all(&mut ready), [4]);
        ready.on_its_way(seven);
        assert_eq!(pop_all(&mut ready), [9]);
        ready.on_its_way(seven);
        ready.on_its_way(CustomerId::from_parts(8, 0));
        assert_eq!(ready.len(), 0);
        assert!(ready.starting.is_empty());
    }

    #[test]
    fn what_came_last_is_spilled_first() {
        let mut ready = Ready::default();
        for number in 1..=10 {
            ready.push(job(number, Some(number % 2), 0));
        }
        assert_eq!(pop_all(&mut ready), [2, 1].map(|it| 3 - it));
        ready.push(job(11, None, 0));
        ready.push(job(12, None, 0));
        assert_eq!(ready.len(), 10);
        assert_eq!(numbers(&ready.spill(9)), [12]);
        assert_eq!(numbers(&ready.spill(3)), [11]);
        assert_eq!(ready.len(), 8);
        ready.on_its_way(CustomerId::from_parts(0, 0));
        let mut rest = numbers(&ready.clear());
        rest.sort_unstable();
        assert_eq!(rest, [3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(ready.len(), 0);
        // Customer 0 had been released, customer 1 is still starting.
        ready.push(job(13, Some(0), 0));
        ready.push(job(14, Some(1), 0));
        assert_eq!(pop_all(&mut ready), [13]);
    }
}
