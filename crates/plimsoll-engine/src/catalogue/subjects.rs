//! Which customer a subject is: an index of every subject of every environment.
//!
//! Ingest asks it for each event, so an entry is small and holds no text: a subject is known by a
//! 128-bit keyed hash of its environment and text, which counts as exact. Many are looked up under
//! one set of locks, so that their waits for memory overlap ([`Subjects::resolve_all`]). The index
//! is cut into shards with a lock each, so that one that grows holds up few.
//!
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
    array,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use hashbrown::{HashTable, hash_table::Entry as Slot};
use plimsoll_core::ids::{CustomerId, EnvironmentId};
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::Notify;

/// Locks that share the subjects among them. A power of two.
const SHARDS: usize = 64;
/// From so many subjects on, every shard is locked once instead of one for each subject.
const MANY: usize = SHARDS / 4;

/// The index. All methods take short locks.
pub struct Subjects {
    shards: [Shard; SHARDS],
    hasher: SipHasher13,
    settled: Notify,
}

type Shard = RwLock<HashTable<Entry>>;

/// What a subject of one environment is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectKey([u64; 2]);

/// Computes the keys of the subjects of one environment.
#[derive(Clone)]
pub struct SubjectKeys(SipHasher13);

impl SubjectKeys {
    /// The key of a subject.
    pub fn of(&self, subject: &str) -> SubjectKey {
        let mut hasher = self.0;
        hasher.write(subject.as_bytes());
        let hash = hasher.finish128();
        SubjectKey([hash.h1, hash.h2])
    }
}

impl std::fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKeys")
    }
}

impl SubjectKey {
    /// The table uses the lowest and the highest bits of the first half.
    fn table_hash(self) -> u64 {
        self.0[0]
    }

    fn shard(self) -> usize {
        self.0[1] as usize % SHARDS
    }
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
    key: SubjectKey,
    /// Halves of the customer's bits: a `u128` would align the entry to 16 bytes.
    customer: [u64; 2],
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
        // The one source of random keys that the standard library has, drawn on twice.
        let random = RandomState::new();
        let hasher = SipHasher13::new_with_keys(random.hash_one(0), random.hash_one(1));
        Self { shards: array::from_fn(|_| Shard::default()), hasher, settled: Notify::new() }
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
    /// Computes the keys of the subjects of an environment.
    pub fn keys(&self, environment: EnvironmentId) -> SubjectKeys {
        let mut hasher = self.hasher;
        hasher.write(&environment.bits().to_le_bytes());
        SubjectKeys(hasher)
    }

    /// Who a subject is, without reserving anything: nothing is owed, whatever the answer.
    pub fn resolve(&self, environment: EnvironmentId, subject: &str) -> Option<Resolution> {
        let key = self.key(environment, subject);
        find(&self.read(key), key)
    }

    /// As [`Subjects::resolve`] for many subjects at once; the answers come in their order.
    ///
    /// An index of many subjects does not fit a processor's cache: one look-up waits for memory
    /// longer than it works. Nothing in this loop lets one wait for the other.
    pub fn resolve_all(
        &self,
        keys: impl ExactSizeIterator<Item = SubjectKey>,
        resolutions: &mut Vec<Option<Resolution>>,
    ) {
        if keys.len() < MANY {
            resolutions.extend(keys.map(|it| find(&self.read(it), it)));
            return;
        }
        // In the order of the shards: whoever takes several must take them in one order.
        let shards: [_; SHARDS] = array::from_fn(|it| read(&self.shards[it]));
        resolutions.extend(keys.map(|it| find(&shards[it.shard()], it)));
    }

    /// Who a subject is; if nobody, it is reserved for the customer that `mint` names.
    pub fn resolve_or_reserve(
        &self,
        environment: EnvironmentId,
        subject: &str,
        mint: impl FnOnce() -> CustomerId,
    ) -> Resolution {
        let key = self.key(environment, subject);
        let mut shard = self.write(key);
        match entry(&mut shard, key) {
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
                slot.insert(Entry { key, customer, state }).get().resolution()
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
        let key = self.key(environment, subject);
        let mut shard = self.write(key);
        if let Some(entry) = shard.find_mut(key.table_hash(), |it| it.key == key)
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
        let key = self.key(environment, subject);
        let shard = self.read(key);
        let found = shard.find(key.table_hash(), |it| it.key == key);
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
        let key = self.key(environment, subject);
        let mut shard = self.write(key);
        let Ok(mut slot) = shard.find_entry(key.table_hash(), |it| it.key == key) else { return };
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
        let key = self.key(environment, subject);
        let mut shard = self.write(key);
        if let Ok(slot) = shard.find_entry(key.table_hash(), |it| it.key == key)
            && slot.get().customer() == customer
        {
            slot.remove();
        }
    }

    /// How many subjects there are, reserved ones included.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|it| read(it).len()).sum()
    }

    fn set(&self, environment: EnvironmentId, subject: &str, customer: CustomerId, state: State) {
        let key = self.key(environment, subject);
        let mut shard = self.write(key);
        match entry(&mut shard, key) {
            Slot::Occupied(mut slot) => {
                let entry = slot.get_mut();
                entry.customer = halves(customer);
                entry.state = state;
            }
            Slot::Vacant(slot) => {
                let customer = halves(customer);
                slot.insert(Entry { key, customer, state });
            }
        }
    }

    fn key(&self, environment: EnvironmentId, subject: &str) -> SubjectKey {
        self.keys(environment).of(subject)
    }

    fn read(&self, key: SubjectKey) -> RwLockReadGuard<'_, HashTable<Entry>> {
        read(&self.shards[key.shard()])
    }

    fn write(&self, key: SubjectKey) -> RwLockWriteGuard<'_, HashTable<Entry>> {
        self.shards[key.shard()].write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(shard: &Shard) -> RwLockReadGuard<'_, HashTable<Entry>> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn find(shard: &HashTable<Entry>, key: SubjectKey) -> Option<Resolution> {
    shard.find(key.table_hash(), |it| it.key == key).map(Entry::resolution)
}

fn entry(shard: &mut HashTable<Entry>, key: SubjectKey) -> Slot<'_, Entry> {
    shard.entry(key.table_hash(), |it| it.key == key, |it| it.key.table_hash())
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

    #[test]
    fn many_are_resolved_as_one_by_one() {
        let subjects = Subjects::default();
        for number in 0..1_000 {
            subjects.put(LIVE, &format!("s{number}"), customer(number));
        }
        let keys = subjects.keys(LIVE);
        for count in [0, 1, MANY - 1, MANY, 500] {
            let texts: Vec<_> = (0..count).map(|it| format!("s{}", it * 7)).collect();
            let mut found = Vec::new();
            subjects.resolve_all(texts.iter().map(|it| keys.of(it)), &mut found);
            let expected: Vec<_> = texts.iter().map(|it| subjects.resolve(LIVE, it)).collect();
            assert_eq!(found, expected);
        }
    }
}
