//! What a lane has written lately, so that an older view of the store is not taken for new work.
//!
//! A page that was read before a result was committed shows the delivery as it was; an offer can
//! arrive after the lane found the same delivery in the store by itself. Both would send it again.
//!
//! Not here: what is in memory at the moment (`Lane::held`).

use std::collections::VecDeque;

use hashbrown::HashMap;
use plimsoll_core::ids::DeliveryId;

/// Results that are remembered.
const CAPACITY: usize = 1_024;

/// The last results, and how many attempts each delivery had with them.
#[derive(Debug, Default)]
pub(super) struct Settled {
    attempts: HashMap<DeliveryId, u32>,
    /// The same deliveries, the oldest first; one that was settled twice is in it twice.
    order: VecDeque<DeliveryId>,
    /// Results ever remembered.
    count: u64,
}

impl Settled {
    /// Remembers that a delivery has so many attempts in the store.
    pub(super) fn insert(&mut self, delivery: DeliveryId, attempts: u32) {
        if self.order.len() == CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.attempts.remove(&oldest);
        }
        self.order.push_back(delivery);
        self.attempts.insert(delivery, attempts);
        self.count += 1;
    }

    /// Whether a view of the delivery with so many attempts is older than what was written.
    pub(super) fn is_stale(&self, delivery: DeliveryId, attempts: u32) -> bool {
        self.attempts.get(&delivery).is_some_and(|written| attempts < *written)
    }

    /// A mark for [`Settled::reaches_back_to`].
    pub(super) fn mark(&self) -> u64 {
        self.count
    }

    /// Whether everything that was settled since the mark is still remembered.
    pub(super) fn reaches_back_to(&self, mark: u64) -> bool {
        self.count - mark <= CAPACITY as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> DeliveryId {
        DeliveryId::from_parts(number, 0)
    }

    #[test]
    fn an_older_view_is_stale_until_it_is_forgotten() {
        let mut settled = Settled::default();
        let mark = settled.mark();
        settled.insert(id(0), 1);
        assert!(settled.is_stale(id(0), 0));
        assert!(!settled.is_stale(id(0), 1));
        assert!(!settled.is_stale(id(1), 0));
        for number in 1..CAPACITY as u64 {
            settled.insert(id(number), 1);
        }
        assert!(settled.is_stale(id(0), 0));
        assert!(settled.reaches_back_to(mark));
        settled.insert(id(9_999), 1);
        assert!(!settled.is_stale(id(0), 0));
        assert!(!settled.reaches_back_to(mark));
        assert!(settled.reaches_back_to(mark + 1));
        assert_eq!(settled.attempts.len(), CAPACITY);
    }
}
