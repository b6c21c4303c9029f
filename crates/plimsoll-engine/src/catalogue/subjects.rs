//! Which customer a subject is: an index of every subject of every environment.
//!
//! Ingest asks it for each event, so it is cut into shards with a lock each, and an entry is small.
//! An unknown subject is reserved for one new customer before that customer is committed:
//! whoever asks meanwhile gets the same id. Every reservation ends in one of
//! [`Subjects::confirm`] and [`Subjects::release`], called once by each who was told `Reserved`.
//!
//! A released subject stays reserved for the same id: a commit that was reported as failed may have
//! been made, and a second id for one subject would be refused by the store for ever. Such a
//! subject is in doubt until it is confirmed, or until someone looks and calls
//! [`Subjects::settle`].
//!
//! Not here: making customers (`ops`, and `ingest` for provisional ones).

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use hashbrown::{HashTable, hash_table::Entry as Slot};
use plimsoll_core::ids::{CustomerId, EnvironmentId};
use tokio::sync::Notify;

/// Locks that share the subjects among them. A power of two.
const SHARDS: usize = 256;

/// The index. All methods take a short lock of one shard.
pub struct Subjects {
    shards: Box<[Mutex<HashTable<Entry>>]>,
    /// Environments by the small number that entries hold.
    environments: RwLock<Vec<EnvironmentId>>,
    hasher: RandomState,
    settled: Notify,
}

/// Who a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// A committed customer.
    Known {
        /// Which.
        customer: CustomerId,
    },
    /// A deleted customer: its usage is rejected.
    Deleted {
        /// Which.
        customer: CustomerId,
    },
    /// Nobody yet. This id is reserved for the customer to be made, and the caller owes one
    /// [`Subjects::confirm`] or [`Subjects::release`].
    Reserved {
        /// The id of the customer to be made; the same for everyone who asks meanwhile.
        customer: CustomerId,
    },
}

#[derive(Debug)]
struct Entry {
    subject: Box<str>,
    /// Halves of the customer's bits: a `u128` would align the entry to 16 bytes.
    customer: [u64; 2],
    environment: u32,
    state: State,
}

/// How firmly a subject is a customer's. One number, so that an entry is 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State(u32);

impl State {
    const KNOWN: Self = Self(0);
    const DELETED: Self = Self(1);
    /// From here on, the subject is reserved, by so many who have not confirmed or released it.
    const RESERVED: u32 = 2;
    /// Reserved, and nobody is working on it.
    const IN_DOUBT: Self = Self::reserved_by(0);

    const fn reserved_by(holders: u32) -> Self {
        Self(Self::RESERVED + holders)
    }

    /// How many hold the reservation, if it is one.
    const fn holders(self) -> Option<u32> {
        self.0.checked_sub(Self::RESERVED)
    }
}

impl std::fmt::Debug for Subjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subjects").finish_non_exhaustive()
    }
}

impl Default for Subjects {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            environments: RwLock::default(),
            hasher: RandomState::new(),
            settled: Notify::new(),
        }
    }
}

impl Entry {
    fn customer(&self) -> CustomerId {
        CustomerId::from_bits((u128::from(self.customer[0]) << 64) | u128::from(self.customer[1]))
    }

    fn resolution(&self) -> Resolution {
        let customer = self.customer();
        match self.state {
            State::KNOWN => Resolution::Known { customer },
            State::DELETED => Resolution::Deleted { customer },
            State(_) => Resolution::Reserved { customer },
        }
    }
}

const fn halves(customer: CustomerId) -> [u64; 2] {
    let bits = customer.bits();
    [(bits >> 64) as u64, bits as u64]
}

impl Subjects {
    /// Who a subject is, without reserving anything: nothing is owed, whatever the answer.
    pub fn resolve(&self, environment: EnvironmentId, subject: &str) -> Option<Resolution> {
        let environment = self.number(environment)?;
        let (hash, shard) = self.shard(environment, subject);
        shard.find(hash, |it| is(it, environment, subject)).map(Entry::resolution)
    }

    /// Who a subject is; if nobody, it is reserved for the customer that `mint` names.
    pub fn resolve_or_reserve(
        &self,
        environment: EnvironmentId,
        subject: &str,
        mint: impl FnOnce() -> CustomerId,
    ) -> Resolution {
        let environment = self.number_or_add(environment);
        let (hash, mut shard) = self.shard(environment, subject);
        let found = shard.entry(hash, |it| is(it, environment, subject), |it| self.hash_of(it));
        match found {
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                if let Some(holders) = entry.state.holders() {
                    entry.state = State::reserved_by(holders + 1);
                }
                entry.resolution()
            }
            Slot::Vacant(slot) => {
                let customer = halves(mint());
                let state = State::reserved_by(1);
                let entry = Entry { subject: subject.into(), customer, environment, state };
                slot.insert(entry).get().resolution()
            }
        }
    }

    /// The customer of a reserved subject is committed.
    pub fn confirm(&self, environment: EnvironmentId, subject: &str, customer: CustomerId) {
        self.put(environment, subject, customer);
        self.settled.notify_waiters();
    }

    /// The customer of a reserved subject was not committed, as far as this holder knows. The
    /// subject stays reserved for the same customer.
    pub fn release(&self, environment: EnvironmentId, subject: &str, customer: CustomerId) {
        let Some(number) = self.number(environment) else { return };
        let (hash, mut shard) = self.shard(number, subject);
        if let Some(entry) = shard.find_mut(hash, |it| is(it, number, subject))
            && entry.customer() == customer
            && let Some(holders) = entry.state.holders()
        {
            entry.state = State::reserved_by(holders.saturating_sub(1));
        }
        drop(shard);
        self.settled.notify_waiters();
    }

    /// For whom a subject is reserved that nobody is working on.
    pub fn in_doubt(&self, environment: EnvironmentId, subject: &str) -> Option<CustomerId> {
        let number = self.number(environment)?;
        let (hash, shard) = self.shard(number, subject);
        let found = shard.find(hash, |it| is(it, number, subject));
        found.filter(|it| it.state == State::IN_DOUBT).map(Entry::customer)
    }

    /// Ends the doubt about a subject: `found` is whose it is in the store. Does nothing if
    /// someone has begun to work on it again.
    pub fn settle(
        &self,
        environment: EnvironmentId,
        subject: &str,
        doubtful: CustomerId,
        found: Option<CustomerId>,
    ) {
        let Some(number) = self.number(environment) else { return };
        let (hash, mut shard) = self.shard(number, subject);
        let Ok(mut slot) = shard.find_entry(hash, |it| is(it, number, subject)) else { return };
        if slot.get().state != State::IN_DOUBT || slot.get().customer() != doubtful {
            return;
        }
        match found {
            Some(customer) => {
                let entry = slot.get_mut();
                entry.customer = halves(customer);
                entry.state = State::KNOWN;
            }
            None => drop(slot.remove()),
        }
    }

    /// Resolves when some reservation is confirmed or released after this call.
    pub fn settled(&self) -> impl Future<Output = ()> + '_ {
        self.settled.notified()
    }

    /// A subject belongs to a committed customer, whatever it was before.
    pub fn put(&self, environment: EnvironmentId, subject: &str, customer: CustomerId) {
        self.set(environment, subject, customer, State::KNOWN);
    }

    /// A subject belongs to a deleted customer.
    pub fn put_deleted(&self, environment: EnvironmentId, subject: &str, customer: CustomerId) {
        self.set(environment, subject, customer, State::DELETED);
    }

    /// A subject belongs to nobody any more, if it belonged to this customer.
    pub fn remove(&self, environment: EnvironmentId, subject: &str, customer: CustomerId) {
        let Some(number) = self.number(environment) else { return };
        let (hash, mut shard) = self.shard(number, subject);
        if let Ok(slot) = shard.find_entry(hash, |it| is(it, number, subject))
            && slot.get().customer() == customer
        {
            slot.remove();
        }
    }

    /// How many subjects there are, reserved ones included.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|it| lock(it).len()).sum()
    }

    fn set(&self, environment: EnvironmentId, subject: &str, customer: CustomerId, state: State) {
        let environment = self.number_or_add(environment);
        let (hash, mut shard) = self.shard(environment, subject);
        let found = shard.entry(hash, |it| is(it, environment, subject), |it| self.hash_of(it));
        match found {
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                entry.customer = halves(customer);
                entry.state = state;
            }
            Slot::Vacant(slot) => {
                let customer = halves(customer);
                slot.insert(Entry { subject: subject.into(), customer, environment, state });
            }
        }
    }

    fn number(&self, environment: EnvironmentId) -> Option<u32> {
        let known = self.environments.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().position(|it| *it == environment).map(|it| it as u32)
    }

    fn number_or_add(&self, environment: EnvironmentId) -> u32 {
        if let Some(number) = self.number(environment) {
            return number;
        }
        let mut known = self.environments.write().unwrap_or_else(PoisonError::into_inner);
        // Someone else may have added it between the two locks.
        let found = known.iter().position(|it| *it == environment);
        found.unwrap_or_else(|| {
            known.push(environment);
            known.len() - 1
        }) as u32
    }

    fn shard(&self, environment: u32, subject: &str) -> (u64, MutexGuard<'_, HashTable<Entry>>) {
        let hash = self.hasher.hash_one((environment, subject));
        // The table uses the lowest and the highest bits; take some from between.
        let shard = (hash >> 40) as usize % SHARDS;
        (hash, lock(&self.shards[shard]))
    }

    fn hash_of(&self, entry: &Entry) -> u64 {
        self.hasher.hash_one((entry.environment, &*entry.subject))
    }
}

fn is(entry: &Entry, environment: u32, subject: &str) -> bool {
    entry.environment == environment && &*entry.subject == subject
}

fn lock(shard: &Mutex<HashTable<Entry>>) -> MutexGuard<'_, HashTable<Entry>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: EnvironmentId = EnvironmentId::from_parts(1, 1);
    const SANDBOX: EnvironmentId = EnvironmentId::from_parts(1, 2);

    fn customer(number: u128) -> CustomerId {
        CustomerId::from_parts(7, number)
    }

    #[test]
    fn entries_are_small() {
        assert!(size_of::<Entry>() <= 40, "{}", size_of::<Entry>());
    }

    #[test]
    fn an_unknown_subject_is_reserved_for_one_customer() {
        let subjects = Subjects::default();
        let reserve = |number| subjects.resolve_or_reserve(LIVE, "a", || customer(number));
        let reserved = Resolution::Reserved { customer: customer(1) };
        assert_eq!(reserve(1), reserved);
        assert_eq!(reserve(2), reserved);
        assert_eq!(subjects.resolve(SANDBOX, "a"), None);

        subjects.release(LIVE, "a", customer(1));
        assert_eq!(subjects.in_doubt(LIVE, "a"), None, "one holder is left");
        subjects.release(LIVE, "a", customer(1));
        assert_eq!(subjects.in_doubt(LIVE, "a"), Some(customer(1)));
        assert_eq!(reserve(3), reserved, "the first commit may have been made");
        subjects.settle(LIVE, "a", customer(1), None);
        assert_eq!(subjects.resolve(LIVE, "a"), Some(reserved), "someone works on it");
        subjects.release(LIVE, "a", customer(1));
        subjects.settle(LIVE, "a", customer(1), None);
        assert_eq!(subjects.resolve(LIVE, "a"), None);

        assert_eq!(reserve(3), Resolution::Reserved { customer: customer(3) });
        subjects.confirm(LIVE, "a", customer(3));
        assert_eq!(reserve(4), Resolution::Known { customer: customer(3) });
        // A holder that failed where another succeeded takes nothing away.
        subjects.release(LIVE, "a", customer(3));
        assert_eq!(reserve(5), Resolution::Known { customer: customer(3) });

        subjects.put_deleted(LIVE, "a", customer(3));
        assert_eq!(reserve(6), Resolution::Deleted { customer: customer(3) });
        subjects.remove(LIVE, "a", customer(9));
        assert_eq!(reserve(6), Resolution::Deleted { customer: customer(3) });
        subjects.remove(LIVE, "a", customer(3));
        assert_eq!(subjects.resolve(LIVE, "a"), None);
    }

    #[test]
    fn many_subjects_are_told_apart() {
        let subjects = Subjects::default();
        for number in 0..5_000 {
            subjects.put(LIVE, &format!("s{number}"), customer(number));
            subjects.put(SANDBOX, &format!("s{number}"), customer(number + 10_000));
        }
        assert_eq!(subjects.count(), 10_000);
        for number in 0..5_000 {
            let live = Resolution::Known { customer: customer(number) };
            let sandbox = Resolution::Known { customer: customer(number + 10_000) };
            assert_eq!(subjects.resolve(LIVE, &format!("s{number}")), Some(live));
            assert_eq!(subjects.resolve(SANDBOX, &format!("s{number}")), Some(sandbox));
        }
    }
}
