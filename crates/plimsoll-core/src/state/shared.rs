//! What entitlements have in common: one plan gives thousands the same, and memory holds it once.
//!
//! Not here: what is each entitlement's own (`state::metered`).

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    codec::Writer,
    entitlement::{period::UsagePeriod, source::Limits},
    ids::{FeatureId, MeterId},
};

/// Different ones that are kept to be shared; who has another one has it alone.
const SHARED_MAX: usize = 4_096;

/// What many entitlements have alike.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) feature: FeatureId,
    pub(super) meter: MeterId,
    /// What the sources add up to, without grants.
    pub(super) limits: Limits,
    pub(super) period: UsagePeriod,
}

/// Finds out who has the same. It changes what is in memory, never what anybody sees.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// By their bytes: numbers that are equal need not be written alike.
    known: BTreeMap<Box<[u8]>, Arc<Shared>>,
}

impl Sharing {
    /// Replaces this one by one that is the same, if there is one already.
    pub(super) fn share(&mut self, own: &mut Arc<Shared>) {
        let mut writer = Writer::new();
        own.encode(&mut writer);
        let bytes = writer.into_bytes();
        if let Some(known) = self.known.get(&*bytes) {
            *own = Arc::clone(known);
            return;
        }
        if self.known.len() >= SHARED_MAX {
            self.known.retain(|_, it| Arc::strong_count(it) > 1);
        }
        if self.known.len() < SHARED_MAX {
            self.known.insert(bytes.into(), Arc::clone(own));
        }
    }
}

impl Shared {
    fn encode(&self, writer: &mut Writer) {
        writer.bits(self.feature.bits());
        writer.bits(self.meter.bits());
        self.limits.encode(writer);
        self.period.encode(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{entitlement::period::Interval, quantity::Quantity};

    fn shared(limit: Quantity) -> Arc<Shared> {
        let period = UsagePeriod { interval: Interval::Month, anchor: None };
        let (feature, meter) = (FeatureId::from_bits(1), MeterId::from_bits(2));
        Arc::new(Shared { feature, meter, limits: Limits::hard(Some(limit)), period })
    }

    #[test]
    fn the_same_is_held_once_and_equal_numbers_that_are_written_otherwise_are_not_the_same() {
        let mut sharing = Sharing::default();
        let mut all = [Quantity::ONE, Quantity::ONE, "1.0".parse().unwrap()].map(shared);
        for own in &mut all {
            sharing.share(own);
        }
        let [one, same, other] = all;
        assert!(Arc::ptr_eq(&one, &same));
        assert_eq!(one.limits, other.limits);
        let texts = [&one, &other].map(|it| it.limits.hard.map(|it| it.to_string()));
        assert_eq!(Arc::ptr_eq(&one, &other), texts[0] == texts[1]);
    }

    #[test]
    fn what_nobody_has_any_more_makes_room() {
        let mut sharing = Sharing::default();
        for limit in 0..SHARED_MAX as i64 {
            sharing.share(&mut shared(Quantity::from_integer(limit)));
        }
        let (mut one, mut same) = (shared(Quantity::HUNDRED), shared(Quantity::HUNDRED));
        sharing.share(&mut shared(Quantity::from_integer(-1)));
        sharing.share(&mut one);
        sharing.share(&mut same);
        assert!(Arc::ptr_eq(&one, &same));
    }
}
