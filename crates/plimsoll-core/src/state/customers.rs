//! The customers of a partition, in slots.
//!
//! A slot is given in the order of creation and never given again, so "slots 0 to 999" names the
//! same customers on every replay. The index is only looked up, never iterated.

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::metered::Metered;
use crate::{
    codec::{Corrupt, Reader, Writer},
    entitlement::{Entitlement, EntitlementKind},
    ids::{CustomerId, EnvironmentId, MeterId},
    limits,
    quantity::Quantity,
    time::Timestamp,
};

/// A customer of the partition.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) id: CustomerId,
    pub(super) environment: EnvironmentId,
    /// The catalogue's `lines_seq` that its lines were last evaluated with.
    pub(super) lines_seq: u64,
    /// The stamp of the last usage that was accepted.
    pub(super) last_usage_at: Option<Timestamp>,
    pub(super) entitlements: Vec<Tracked>,
}

/// An entitlement and, if it is metered, where it stands.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) entitlement: Entitlement,
    pub(super) measured: Option<Metered>,
}

impl Tracked {
    /// The limit and the usage, if this is metered.
    pub(super) fn measured(&mut self) -> Option<(Option<Quantity>, &mut Metered)> {
        let EntitlementKind::Metered { limit, .. } = self.entitlement.kind else { return None };
        self.measured.as_mut().map(|it| (limit, it))
    }

    /// The limit and the usage, if this is measured by `meter`.
    pub(super) fn measured_by(
        &mut self,
        meter: MeterId,
    ) -> Option<(Option<Quantity>, &mut Metered)> {
        self.measured().filter(|(_, it)| it.meter == meter)
    }
}

/// All customers, by slot and by id.
#[derive(Debug, Default)]
pub(super) struct Customers {
    slots: Vec<Option<Customer>>,
    /// Slots of deleted customers: empty, but never to be filled.
    deleted: Vec<bool>,
    index: HashMap<CustomerId, u32, BuildHasherDefault<IdHasher>>,
    /// No slot below this one is free.
    first_free: u32,
}

/// Hashes an id by taking its low bits, which are random or a hash already.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = (value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Customers {
    /// One more than the highest slot that was ever given.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Customers that exist.
    pub(super) fn count(&self) -> usize {
        self.index.len()
    }

    pub(super) fn slot(&self, customer: CustomerId) -> Option<u32> {
        self.index.get(&customer).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Customer> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Customer> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The customer in a slot that [`Customers::slot`] named.
    pub(super) fn at_mut(&mut self, slot: u32) -> &mut Customer {
        self.get_mut(slot).expect("the index names only slots that are filled")
    }

    /// Adds a customer, unless a checkpoint has brought it already.
    ///
    /// Slots are filled in order: while replaying, those that later checkpoints hold are taken.
    pub(super) fn create(&mut self, id: CustomerId, environment: EnvironmentId, lines_seq: u64) {
        if self.index.contains_key(&id) {
            return;
        }
        while self.is_taken(self.first_free) {
            self.first_free += 1;
        }
        let slot = self.first_free;
        self.reserve(slot as usize + 1);
        self.slots[slot as usize] = Some(Customer {
            id,
            environment,
            lines_seq,
            last_usage_at: None,
            entitlements: Vec::new(),
        });
        self.index.insert(id, slot);
    }

    pub(super) fn delete(&mut self, id: CustomerId) {
        if let Some(slot) = self.index.remove(&id) {
            self.slots[slot as usize] = None;
            self.deleted[slot as usize] = true;
        }
    }

    fn is_taken(&self, slot: u32) -> bool {
        let slot = slot as usize;
        self.slots.get(slot).is_some_and(Option::is_some)
            || self.deleted.get(slot).copied().unwrap_or(false)
    }

    fn reserve(&mut self, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize_with(slots, || None);
            self.deleted.resize(slots, false);
        }
    }

    pub(super) fn encode_slice(&self, slice: usize, writer: &mut Writer) {
        let from = slice * limits::CHECKPOINT_SLICE;
        let to = (from + limits::CHECKPOINT_SLICE).min(self.slots.len());
        writer.number((to - from) as u64);
        for slot in from..to {
            match &self.slots[slot] {
                Some(customer) => {
                    writer.byte(2);
                    encode_customer(customer, writer);
                }
                None => writer.byte(u8::from(self.deleted[slot])),
            }
        }
    }

    pub(super) fn decode_slice(
        &mut self,
        slice: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(), Corrupt> {
        let from = slice * limits::CHECKPOINT_SLICE;
        let count = reader.number()? as usize;
        if count > limits::CHECKPOINT_SLICE {
            return Err(Corrupt { expected: "a slice of customers" });
        }
        self.reserve(from + count);
        for slot in from..from + count {
            match reader.byte()? {
                0 => {}
                1 => self.deleted[slot] = true,
                2 => {
                    let customer = decode_customer(reader)?;
                    self.index.insert(customer.id, slot as u32);
                    self.slots[slot] = Some(customer);
                }
                _ => return Err(Corrupt { expected: "a slot" }),
            }
        }
        Ok(())
    }
}

fn encode_customer(customer: &Customer, writer: &mut Writer) {
    writer.bits(customer.id.bits());
    writer.bits(customer.environment.bits());
    writer.number(customer.lines_seq);
    writer.option(customer.last_usage_at, Writer::time);
    writer.list(customer.entitlements.iter(), |writer, it| {
        it.entitlement.encode(writer);
        writer.option(it.measured.as_ref(), |writer, it| it.encode(writer));
    });
}

fn decode_customer(reader: &mut Reader<'_>) -> Result<Customer, Corrupt> {
    Ok(Customer {
        id: CustomerId::from_bits(reader.bits()?),
        environment: EnvironmentId::from_bits(reader.bits()?),
        lines_seq: reader.number()?,
        last_usage_at: reader.option(Reader::time)?,
        entitlements: reader.list(|reader| {
            let entitlement = Entitlement::decode(reader)?;
            let measured = reader.option(|it| Metered::decode(it, &entitlement))?;
            Ok(Tracked { entitlement, measured })
        })?,
    })
}
