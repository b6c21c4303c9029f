//! The customers of a partition, in slots.
//!
//! A slot is given in the order of creation and never given again, so "slots 0 to 999" names the
//! same customers on every replay. The index is only looked up, never iterated.
//!
//! Not here: what happens to a customer (`state::change`), where it stands (`state::metered`).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hint::black_box,
};

use hashbrown::HashTable;

use super::{metered::Metered, shared::Sharing};
use crate::{
    catalog::Catalog,
    codec::{Corrupt, Reader, Writer},
    entitlement::Entitlement,
    ids::{CustomerId, EntitlementId, EnvironmentId, MeterId},
    limits,
    metering::cell::OpenCells,
    time::Timestamp,
};

/// Customers whose memory is read ahead together: what they need fits the second cache.
pub(super) const READ_AHEAD: usize = 128;

/// A customer of the partition. In whole lines of the cache: each event waits for them.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Customer {
    pub(super) id: CustomerId,
    pub(super) environment: EnvironmentId,
    /// The catalogue's `lines_seq` that its lines were last evaluated with.
    pub(super) lines_seq: u64,
    /// The stamp of the last event that was accepted for it.
    pub(super) last_usage_at: Option<Timestamp>,
    pub(super) entitlements: Vec<Tracked>,
    /// What its meters measured in the newest hour and day.
    pub(super) cells: Vec<(MeterId, OpenCells)>,
    /// Derived: when something happens to one of its entitlements by itself.
    pub(super) due_at: Timestamp,
    /// Derived: the place in the index of what is due.
    pub(super) indexed_at: Timestamp,
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

    /// The open cells of a meter.
    pub(super) fn cells_of(&mut self, meter: MeterId) -> &mut OpenCells {
        let place = self.cells.iter().position(|(own, _)| *own == meter);
        let place = place.unwrap_or_else(|| {
            // Most customers have one or two, and a vector of four is what grows by itself.
            self.cells.reserve_exact(1);
            self.cells.push((meter, OpenCells::default()));
            self.cells.len() - 1
        });
        &mut self.cells[place].1
    }

    /// Adds an entitlement, and room for no more than that: customers are many, and have few.
    pub(super) fn add(&mut self, entitlement: Tracked) {
        self.entitlements.reserve_exact(1);
        self.entitlements.push(entitlement);
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
    /// The slot of every customer that there ever was: an id is given once, and so is a slot. Just
    /// the slots, which know the ids themselves: so small, it stays in the cache.
    index: HashTable<u32>,
    /// The slot of the next customer. While replaying, later slots may be filled already.
    next_slot: u32,
    /// Customers that exist.
    count: usize,
    /// Slots in one slice of a checkpoint.
    slice_slots: u32,
    /// What each slice measured together in the newest hour and day.
    totals: Vec<BTreeMap<MeterId, OpenCells>>,
    /// Derived: what entitlements have in common.
    sharing: Sharing,
    /// Derived: no entitlement's window began later than this.
    newest_window: Timestamp,
    /// Derived: who has something due when. An entry counts if its customer still says so.
    due: BTreeMap<(EnvironmentId, Timestamp), VecDeque<u32>>,
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

impl Slot {
    fn id(&self) -> Option<CustomerId> {
        match self {
            Self::Vacant => None,
            Self::Filled(Customer { id, .. }) | Self::Deleted { id, .. } => Some(*id),
        }
    }
}

/// Hashes an id by its low bits, which are random or a hash already.
///
/// The customers of one partition have bits in common, so all bits are folded into the low ones.
fn hash_of(id: CustomerId) -> u64 {
    let product = u128::from(id.bits() as u64) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

impl Default for Customers {
    fn default() -> Self {
        Self::empty(limits::CHECKPOINT_SLICE as u32, 0)
    }
}

impl Customers {
    /// Nobody; the next customer gets `next_slot`.
    pub(super) fn empty(slice_slots: u32, next_slot: u32) -> Self {
        Self {
            slots: Vec::new(),
            index: HashTable::new(),
            next_slot,
            count: 0,
            slice_slots,
            totals: Vec::new(),
            sharing: Sharing::default(),
            newest_window: Timestamp::MIN,
            due: BTreeMap::new(),
        }
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
        self.index.find(hash_of(customer), |it| self.id_of(*it) == Some(customer)).copied()
    }

    fn id_of(&self, slot: u32) -> Option<CustomerId> {
        self.slots.get(slot as usize)?.id()
    }

    /// Reads what an event of these customers will read; changes nothing. At most
    /// [`READ_AHEAD`] of them.
    ///
    /// In two passes, so that no wait for memory hangs on another one.
    pub(super) fn read_ahead(&self, customers: impl Iterator<Item = CustomerId>) {
        let mut slots = [None; READ_AHEAD];
        for (slot, customer) in slots.iter_mut().zip(customers) {
            *slot = self.slot(customer);
        }
        for customer in slots.into_iter().filter_map(|it| self.get(it?)) {
            if let Some(Tracked::Metered(metered)) = customer.entitlements.first() {
                metered.read_ahead();
            }
            if let Some((meter, cells)) = customer.cells.first() {
                let hour = cells.open().0.map(|it| (it.from, it.total.is_empty()));
                // Without a use of what is read, nothing is read.
                black_box((meter.bits() as u8, hour));
            }
        }
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
                let customer = Customer {
                    id,
                    environment,
                    lines_seq,
                    last_usage_at: None,
                    entitlements: Vec::new(),
                    cells: Vec::new(),
                    due_at: Timestamp::MAX,
                    indexed_at: Timestamp::MAX,
                };
                self.put(slot, Slot::Filled(customer));
                self.index_slot(id, slot);
                self.count += 1;
            }
            Some(given) if given == slot => {}
            Some(_) => return,
        }
        self.next_slot += 1;
    }

    /// The clock of an environment went back: a customer's windows begin again.
    pub(super) fn rewind(&mut self, slot: u32, environment: EnvironmentId, to: Timestamp) {
        let Some(Slot::Filled(customer)) = self.slots.get_mut(slot as usize) else { return };
        if customer.environment == environment {
            customer.metered_mut().for_each(|it| it.rewind(to));
            customer.find_due();
            self.note_due(slot);
        }
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

    /// A customer, and the open cells of everybody in its slice.
    pub(super) fn with_totals(
        &mut self,
        slot: u32,
    ) -> Option<(&mut Customer, &mut BTreeMap<MeterId, OpenCells>, u32)> {
        let slice = slot / self.slice_slots;
        self.totals_of(slot);
        let totals = self.totals.get_mut(slice as usize)?;
        match self.slots.get_mut(slot as usize)? {
            Slot::Filled(customer) => Some((customer, totals, slice)),
            Slot::Vacant | Slot::Deleted { .. } => None,
        }
    }

    /// The open cells of everybody in the slice of this slot, by meter.
    fn totals_of(&mut self, slot: u32) -> &mut BTreeMap<MeterId, OpenCells> {
        let slice = (slot / self.slice_slots) as usize;
        if self.totals.len() <= slice {
            self.totals.resize_with(slice + 1, BTreeMap::new);
        }
        &mut self.totals[slice]
    }

    /// The open cells of each slice, by meter.
    pub(super) fn totals(&self) -> impl Iterator<Item = (u32, &BTreeMap<MeterId, OpenCells>)> {
        (0..).zip(&self.totals)
    }

    /// Every customer that exists, with its slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Customer)> {
        (0..).zip(&self.slots).filter_map(|(slot, it)| match it {
            Slot::Filled(customer) => Some((slot, customer)),
            Slot::Vacant | Slot::Deleted { .. } => None,
        })
    }

    /// Takes note of when something happens to a customer next. To be called when it was changed.
    pub(super) fn note_due(&mut self, slot: u32) {
        let Some(Slot::Filled(customer)) = self.slots.get_mut(slot as usize) else { return };
        if customer.due_at == customer.indexed_at {
            return;
        }
        customer.indexed_at = customer.due_at;
        self.note_windows(slot);
        let Some(customer) = self.get(slot) else { return };
        if customer.due_at < Timestamp::MAX {
            let key = (customer.environment, customer.due_at);
            self.due.entry(key).or_default().push_back(slot);
        }
    }

    /// Holds together what a customer's entitlements have in common with others. To be called when
    /// they were changed.
    pub(super) fn share(&mut self, slot: u32) {
        if let Some(Slot::Filled(customer)) = self.slots.get_mut(slot as usize) {
            customer.metered_mut().for_each(|it| it.share(&mut self.sharing));
        }
    }

    /// Takes note of the windows of a customer. To be called when its entitlements were changed.
    pub(super) fn note_windows(&mut self, slot: u32) {
        let Some(customer) = self.get(slot) else { return };
        let metered = customer.entitlements.iter().filter_map(|it| it.metered());
        let newest = metered.map(|it| it.window.from).max();
        self.newest_window = newest.map_or(self.newest_window, |it| it.max(self.newest_window));
    }

    /// Whether an event of this time is late for nobody.
    pub(super) fn is_timely(&self, time: Timestamp) -> bool {
        time >= self.newest_window
    }

    /// When something happens to a customer of this environment next.
    pub(super) fn next_due(&mut self, environment: EnvironmentId) -> Option<Timestamp> {
        let all = (environment, Timestamp::MIN)..=(environment, Timestamp::MAX);
        loop {
            let (key, slots) = self.due.range(all.clone()).next()?;
            let (key, stale) =
                (*key, slots.iter().take_while(|it| !self.is_due(**it, key.1)).count());
            if stale < slots.len() {
                // So that those who are done are passed over once.
                self.due.get_mut(&key).into_iter().for_each(|it| drop(it.drain(..stale)));
                return Some(key.1);
            }
            self.due.remove(&key);
        }
    }

    /// The environments in which something happens by itself.
    pub(super) fn due_environments(&self) -> Vec<EnvironmentId> {
        let mut environments: Vec<_> = self.due.keys().map(|it| it.0).collect();
        environments.dedup();
        environments
    }

    /// The first customers of this environment to whom something happens up to `now`, at most
    /// [`limits::SLICE`], in the order in which it becomes due.
    pub(super) fn due_slots(&self, environment: EnvironmentId, now: Timestamp) -> Vec<u32> {
        let until = (environment, Timestamp::MIN)..=(environment, now);
        let due = self.due.range(until).flat_map(|((_, due), slots)| {
            slots.iter().filter(|it| self.is_due(**it, *due)).copied()
        });
        let mut slots: Vec<u32> = due.take(limits::SLICE).collect();
        // A customer whose due time went away and came back is listed twice.
        let mut seen = BTreeSet::new();
        slots.retain(|it| seen.insert(*it));
        slots
    }

    fn is_due(&self, slot: u32, due: Timestamp) -> bool {
        self.get(slot).is_some_and(|it| it.due_at == due)
    }

    fn put(&mut self, slot: u32, content: Slot) {
        let slot = slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || Slot::Vacant);
        }
        self.slots[slot] = content;
    }

    /// Makes a customer, whose slot is filled, known by its id.
    fn index_slot(&mut self, id: CustomerId, slot: u32) {
        let slots = &self.slots;
        let id_of = |slot: &u32| slots.get(*slot as usize).and_then(Slot::id);
        self.index.insert_unique(hash_of(id), slot, |it| id_of(it).map_or(0, hash_of));
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
        let totals = self.totals.get(slice);
        writer.list(totals.into_iter().flatten().collect::<Vec<_>>().into_iter(), encode_cells);
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
        let totals = if reader.version() >= 2 { reader.list(decode_cells)? } else { Vec::new() };
        let expected = Corrupt { expected: "the number of a slice" };
        let first = u32::try_from(slice).ok().and_then(|it| it.checked_mul(self.slice_slots));
        let first = first.ok_or(expected)?;
        for (slot, content) in (first..).zip(slots) {
            let Some(id) = content.id() else { continue };
            self.count += usize::from(matches!(content, Slot::Filled(_)));
            if self.slot(id).is_some() {
                return Err(Corrupt { expected: "each customer once" });
            }
            self.put(slot, content);
            self.index_slot(id, slot);
            self.share(slot);
            self.note_due(slot);
            self.note_windows(slot);
        }
        if !totals.is_empty() {
            *self.totals_of(first) = totals.into_iter().collect();
        }
        Ok(())
    }
}

fn encode_cells(writer: &mut Writer, (meter, cells): (&MeterId, &OpenCells)) {
    writer.bits(meter.bits());
    cells.encode(writer);
}

fn decode_cells(reader: &mut Reader<'_>) -> Result<(MeterId, OpenCells), Corrupt> {
    Ok((MeterId::from_bits(reader.bits()?), OpenCells::decode(reader)?))
}

fn encode_customer(customer: &Customer, writer: &mut Writer) {
    writer.bits(customer.id.bits());
    writer.bits(customer.environment.bits());
    writer.number(customer.lines_seq);
    writer.option(customer.last_usage_at, Writer::time);
    writer.list(customer.entitlements.iter(), |writer, it| match it {
        Tracked::Metered(metered) => {
            writer.byte(1);
            metered.encode(writer);
        }
        Tracked::Plain(entitlement) => {
            writer.byte(0);
            entitlement.encode(writer);
        }
    });
    writer.list(customer.cells.iter(), |writer, (meter, it)| encode_cells(writer, (meter, it)));
}

fn decode_customer(reader: &mut Reader<'_>) -> Result<Customer, Corrupt> {
    let is_first_version = reader.version() < 2;
    let mut customer = Customer {
        id: CustomerId::from_bits(reader.bits()?),
        environment: EnvironmentId::from_bits(reader.bits()?),
        lines_seq: reader.number()?,
        last_usage_at: reader.option(Reader::time)?,
        entitlements: reader.list(if is_first_version { tracked_v1 } else { tracked })?,
        cells: if is_first_version { Vec::new() } else { reader.list(decode_cells)? },
        due_at: Timestamp::MAX,
        indexed_at: Timestamp::MAX,
    };
    customer.find_due();
    Ok(customer)
}

fn tracked(reader: &mut Reader<'_>) -> Result<Tracked, Corrupt> {
    if reader.flag()? {
        return Metered::decode(reader).map(Tracked::Metered);
    }
    Entitlement::decode(reader).map(Tracked::Plain)
}

fn tracked_v1(reader: &mut Reader<'_>) -> Result<Tracked, Corrupt> {
    let entitlement = Entitlement::decode(reader)?;
    if reader.flag()? {
        return Metered::decode_v1(reader, entitlement).map(Tracked::Metered);
    }
    Ok(Tracked::Plain(entitlement))
}
