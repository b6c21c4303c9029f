//! The customers of a partition, in slots.
//!
//! A slot is given in the order of creation and never given again, so "slots 0 to 999" names the
//! same customers on every replay. The index is only looked up, never iterated.
//!
//! Not here: what happens to a customer (`state::evaluate`), where it stands (`state::metered`).

use std::hash::{BuildHasherDefault, Hasher};

use hashbrown::HashMap;

use super::metered::Metered;
use crate::{
    catalog::Catalog,
    codec::{Corrupt, Reader, Writer},
    entitlement::Entitlement,
    ids::{CustomerId, EntitlementId, EnvironmentId},
    limits,
    time::Timestamp,
};

/// A customer of the partition.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) id: CustomerId,
    pub(super) environment: EnvironmentId,
    /// The catalogue's `lines_seq` that its lines were last evaluated with.
    pub(super) lines_seq: u64,
    /// The stamp of the last event that was accepted for it.
    pub(super) last_usage_at: Option<Timestamp>,
    pub(super) entitlements: Vec<Tracked>,
}

/// An entitlement and, if usage is counted for it, where it stands.
#[derive(Debug)]
pub(super) enum Tracked {
    /// Counted by a meter.
    Metered(Metered),
    /// Boolean, static, or of a feature without a meter: there is nothing to count.
    Plain(Entitlement),
}

impl Tracked {
    pub(super) fn id(&self) -> EntitlementId {
        match self {
            Self::Metered(metered) => metered.entitlement,
            Self::Plain(entitlement) => entitlement.id,
        }
    }

    pub(super) fn metered(&self) -> Option<&Metered> {
        match self {
            Self::Metered(metered) => Some(metered),
            Self::Plain(_) => None,
        }
    }
}

impl Customer {
    /// Whether nothing is left to do for this customer with the catalogue as it is.
    pub(super) fn is_up_to_date(&self, catalog: &Catalog) -> bool {
        self.lines_seq >= catalog.lines_seq()
    }

    /// The entitlements for which usage is counted.
    pub(super) fn metered_mut(&mut self) -> impl Iterator<Item = &mut Metered> {
        self.entitlements.iter_mut().filter_map(|it| match it {
            Tracked::Metered(metered) => Some(metered),
            Tracked::Plain(_) => None,
        })
    }
}

/// All customers, by slot and by id.
#[derive(Debug)]
pub(super) struct Customers {
    slots: Vec<Slot>,
    /// The slot of every customer that there ever was: an id is given once, and so is a slot.
    index: HashMap<CustomerId, u32, BuildHasherDefault<IdHasher>>,
    /// The slot of the next customer. While replaying, later slots may be filled already.
    next_slot: u32,
    /// Customers that exist.
    count: usize,
    /// Slots in one slice of a checkpoint.
    slice_slots: u32,
}

#[derive(Debug)]
enum Slot {
    /// Nobody's yet.
    Vacant,
    Filled(Customer),
    /// Gone; what is kept says for how long its subjects can go to nobody else.
    Deleted {
        id: CustomerId,
        last_usage_at: Option<Timestamp>,
    },
}

/// Hashes an id by its low bits, which are random or a hash already.
///
/// The customers of one partition have bits in common, so all bits are folded into the low ones.
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
        let product = u128::from(value as u64) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

impl Default for Customers {
    fn default() -> Self {
        Self::empty(limits::CHECKPOINT_SLICE as u32, 0)
    }
}

impl Customers {
    /// Nobody; the next customer gets `next_slot`.
    pub(super) fn empty(slice_slots: u32, next_slot: u32) -> Self {
        let (slots, index) = (Vec::new(), HashMap::default());
        Self { slots, index, next_slot, count: 0, slice_slots }
    }

    /// The slot that the next customer gets: one more than the last that was given.
    pub(super) fn next_slot(&self) -> u32 {
        self.next_slot
    }

    /// Customers that exist.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Slots in one slice of a checkpoint.
    pub(super) fn slice_slots(&self) -> u32 {
        self.slice_slots
    }

    /// The slot that this customer was given; empty again once the customer is deleted.
    pub(super) fn slot(&self, customer: CustomerId) -> Option<u32> {
        self.index.get(&customer).copied()
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Customer> {
        match self.slots.get(slot as usize)? {
            Slot::Filled(customer) => Some(customer),
            Slot::Vacant | Slot::Deleted { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Customer> {
        match self.slots.get_mut(slot as usize)? {
            Slot::Filled(customer) => Some(customer),
            Slot::Vacant | Slot::Deleted { .. } => None,
        }
    }

    /// Gives a new customer the next slot, which a later checkpoint may have filled already.
    pub(super) fn create(&mut self, id: CustomerId, environment: EnvironmentId, lines_seq: u64) {
        let slot = self.next_slot;
        match self.slot(id) {
            None => {
                let (last_usage_at, entitlements) = (None, Vec::new());
                let customer = Customer { id, environment, lines_seq, last_usage_at, entitlements };
                self.put(slot, Slot::Filled(customer));
                self.index.insert(id, slot);
                self.count += 1;
            }
            Some(given) if given == slot => {}
            Some(_) => return,
        }
        self.next_slot += 1;
    }

    pub(super) fn delete(&mut self, slot: u32) {
        if let Some(Customer { id, last_usage_at, .. }) = self.get(slot) {
            let (id, last_usage_at) = (*id, *last_usage_at);
            self.put(slot, Slot::Deleted { id, last_usage_at });
            self.count -= 1;
        }
    }

    /// The stamp of the last event that was accepted for a customer, also after it was deleted.
    pub(super) fn last_usage_at(&self, customer: CustomerId) -> Option<Timestamp> {
        match self.slots.get(self.slot(customer)? as usize)? {
            Slot::Vacant => None,
            Slot::Filled(Customer { last_usage_at, .. }) | Slot::Deleted { last_usage_at, .. } => {
                *last_usage_at
            }
        }
    }

    fn put(&mut self, slot: u32, content: Slot) {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || Slot::Vacant);
        }
        self.slots[slot] = content;
    }

    /// How many slices hold the customers.
    pub(super) fn slice_count(&self) -> usize {
        self.next_slot.div_ceil(self.slice_slots) as usize
    }

    pub(super) fn encode_slice(&self, slice: usize, writer: &mut Writer) {
        let width = self.slice_slots as usize;
        let held = self.slots.iter().skip(slice * width).take(width);
        writer.list(held, |writer, slot| match slot {
            Slot::Vacant => writer.byte(0),
            Slot::Deleted { id, last_usage_at: None } => {
                writer.byte(1);
                writer.bits(id.bits());
            }
            Slot::Deleted { id, last_usage_at: Some(at) } => {
                writer.byte(3);
                writer.bits(id.bits());
                writer.time(*at);
            }
            Slot::Filled(customer) => {
                writer.byte(2);
                encode_customer(customer, writer);
            }
        });
    }

    /// Fills the slots of one slice.
    pub(super) fn decode_slice(
        &mut self,
        slice: usize,
        reader: &mut Reader<'_>,
    ) -> Result<(), Corrupt> {
        let slots = reader.list(|reader| match reader.byte()? {
            0 => Ok(Slot::Vacant),
            1 => {
                let id = CustomerId::from_bits(reader.bits()?);
                Ok(Slot::Deleted { id, last_usage_at: None })
            }
            2 => Ok(Slot::Filled(decode_customer(reader)?)),
            3 => {
                let id = CustomerId::from_bits(reader.bits()?);
                Ok(Slot::Deleted { id, last_usage_at: Some(reader.time()?) })
            }
            _ => Err(Corrupt { expected: "a slot" }),
        })?;
        if slots.len() > self.slice_slots as usize {
            return Err(Corrupt { expected: "a slice of customers" });
        }
        let expected = Corrupt { expected: "the number of a slice" };
        let first = u32::try_from(slice).ok().and_then(|it| it.checked_mul(self.slice_slots));
        let first = first.ok_or(expected)?;
        for (slot, content) in (first..).zip(slots) {
            let id = match &content {
                Slot::Vacant => continue,
                Slot::Deleted { id, .. } => *id,
                Slot::Filled(customer) => {
                    self.count += 1;
                    customer.id
                }
            };
            if self.index.insert(id, slot).is_some() {
                return Err(Corrupt { expected: "each customer once" });
            }
            self.put(slot, content);
        }
        Ok(())
    }
}

fn encode_customer(customer: &Customer, writer: &mut Writer) {
    writer.bits(customer.id.bits());
    writer.bits(customer.environment.bits());
    writer.number(customer.lines_seq);
    writer.option(customer.last_usage_at, Writer::time);
    writer.list(customer.entitlements.iter(), |writer, it| match it {
        Tracked::Metered(metered) => {
            metered.to_entitlement().encode(writer);
            writer.option(Some(metered), |writer, it| it.encode(writer));
        }
        Tracked::Plain(entitlement) => {
            entitlement.encode(writer);
            writer.option(None, |_, (): ()| {});
        }
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
            let metered = reader.option(|it| Metered::decode(it, &entitlement))?;
            Ok(metered.map_or(Tracked::Plain(entitlement), Tracked::Metered))
        })?,
    })
}
