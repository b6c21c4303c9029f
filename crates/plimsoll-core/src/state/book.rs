//! The book of an entitlement with grants: what is left of each, what burned, what was beyond all.
//!
//! The limit of a period acts as a grant that ends with it. Usage burns grants in their order; what
//! none covers is overage, and the next quantity that becomes available absorbs it. So at any time
//! `usage = burned within grants + overage`, and the effective limit is what was covered plus what
//! is left (design 5.2).
//!
//! Not here: which lines that crosses (`state::evaluate`), when windows begin (`state::metered`).

use crate::{
    archive::{Burned, Segment},
    codec::{Corrupt, Reader, Writer},
    entitlement::{
        grant::{BurnOrder, Grant},
        period::Window,
    },
    ids::GrantId,
    line::crossing::Cause,
    quantity::{Overflow, Quantity},
    time::Timestamp,
};

/// What is left of a quantity, and what was burned of it since it was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pot {
    balance: Quantity,
    burned: Quantity,
}

/// A grant that has not ended before the window began.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    grant: Grant,
    pot: Pot,
    phase: Phase,
    /// When it is set back to its amount next.
    recurs_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not effective yet.
    Waiting,
    Active,
    /// Expired or voided; it stays until the window ends.
    Ended,
}

/// The grants of an entitlement in the current window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Book {
    limit: Pot,
    limit_order: BurnOrder,
    /// In the order in which they burn.
    grants: Vec<Held>,
    overage: Quantity,
    start: Start,
}

/// How things stood when the current segment began.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Start {
    from: Timestamp,
    usage: Quantity,
    limit: Quantity,
    balances: Vec<(GrantId, Quantity)>,
}

/// A grant and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantBalance {
    /// The grant.
    pub grant: GrantId,
    /// What is left of it.
    pub balance: Quantity,
    /// Whether it can be used now.
    pub is_active: bool,
}

impl Pot {
    fn full(amount: Quantity) -> Self {
        Self { balance: amount, burned: Quantity::ZERO }
    }

    /// Takes as much as there is of `rest`; gives what is still to be covered.
    fn burn(&mut self, rest: Quantity) -> Result<Quantity, Overflow> {
        let taken = self.balance.min(rest);
        self.balance = self.balance.checked_sub(taken)?;
        self.burned = self.burned.checked_add(taken)?;
        rest.checked_sub(taken)
    }

    /// Gives back as much as was burned of `rest`; gives what is still to be given back.
    fn refund(&mut self, rest: Quantity) -> Result<Quantity, Overflow> {
        let given = self.burned.min(rest);
        self.burned = self.burned.checked_sub(given)?;
        self.balance = self.balance.checked_add(given)?;
        rest.checked_sub(given)
    }
}

impl Held {
    fn is_due(&self, phase: Phase, at: Option<Timestamp>, due: Timestamp) -> bool {
        self.phase == phase && at.is_some_and(|it| it <= due)
    }
}

impl Book {
    /// A book without grants yet: the limit of a window in which this much was used.
    pub(super) fn new(
        limit: Quantity,
        priority: u8,
        window: Window,
        usage: Quantity,
        at: Timestamp,
    ) -> Self {
        let mut book = Self {
            limit: Pot::full(limit),
            limit_order: Grant::burn_order_of_limit(priority, window.from, window.to),
            grants: Vec::new(),
            overage: usage,
            start: Start { from: at, usage, limit, balances: Vec::new() },
        };
        book.absorb();
        book.begin_segment(at, usage, &[]);
        book
    }

    /// Whether the book says nothing that the limit alone does not.
    pub(super) fn is_plain(&self) -> bool {
        self.grants.is_empty()
    }

    /// What usage is limited to now: what was covered of it, and what is left.
    pub(super) fn effective_limit(&self, usage: Quantity) -> Quantity {
        let active = self.grants.iter().filter(|it| it.phase == Phase::Active);
        let left = active.fold(self.limit.balance, |sum, it| sum.bounded_add(it.pot.balance));
        usage.bounded_sub(self.overage).bounded_add(left)
    }

    /// Each grant that has not ended, in the order in which they burn.
    pub(super) fn balances(&self) -> impl Iterator<Item = GrantBalance> {
        self.grants.iter().filter(|it| it.phase != Phase::Ended).map(|it| GrantBalance {
            grant: it.grant.id,
            balance: it.pot.balance,
            is_active: it.phase == Phase::Active,
        })
    }

    /// How many grants have not ended.
    pub(super) fn count(&self) -> usize {
        self.grants.iter().filter(|it| it.phase != Phase::Ended).count()
    }

    /// What can be burned from, in the order in which it burns.
    fn pots(&mut self) -> impl DoubleEndedIterator<Item = &mut Pot> {
        let place = self.grants.partition_point(|it| it.grant.burn_order() < self.limit_order);
        let (first, second) = self.grants.split_at_mut(place);
        let active = |it: &&mut Held| it.phase == Phase::Active;
        let first = first.iter_mut().filter(active).map(|it| &mut it.pot);
        let second = second.iter_mut().filter(active).map(|it| &mut it.pot);
        first.chain([&mut self.limit]).chain(second)
    }

    /// Usage moved from one value to another; refused, it changes nothing.
    pub(super) fn move_usage(&mut self, from: Quantity, to: Quantity) -> Result<(), Overflow> {
        if to >= from {
            self.burn(to.checked_sub(from)?)
        } else {
            self.refund(from.checked_sub(to)?)
        }
    }

    // Both go through the pots twice, first on copies: this runs once an event, and a copy of the
    // whole book to fall back on would be an allocation each time.

    fn burn(&mut self, amount: Quantity) -> Result<(), Overflow> {
        let rest = self.pots().map(|it| *it).try_fold(amount, |rest, mut it| it.burn(rest))?;
        let overage = self.overage.checked_add(rest)?;
        self.pots().try_fold(amount, |rest, it| it.burn(rest))?;
        self.overage = overage;
        Ok(())
    }

    /// What was burned last is given back first; what expired grants covered is not.
    fn refund(&mut self, amount: Quantity) -> Result<(), Overflow> {
        let beyond = self.overage.min(amount);
        let overage = self.overage.checked_sub(beyond)?;
        let rest = amount.checked_sub(beyond)?;
        self.pots().rev().map(|it| *it).try_fold(rest, |rest, mut it| it.refund(rest))?;
        self.pots().rev().try_fold(rest, |rest, it| it.refund(rest))?;
        self.overage = overage;
        Ok(())
    }

    /// What has become available covers what was beyond everything. Numbers that do not fit are
    /// left as they are: nobody is there to be told.
    fn absorb(&mut self) {
        let beyond = std::mem::replace(&mut self.overage, Quantity::ZERO);
        if self.burn(beyond).is_err() {
            self.overage = beyond;
        }
    }

    /// Adds a grant, which waits until it is effective.
    pub(super) fn add(&mut self, grant: Grant) {
        if self.grants.iter().any(|it| it.grant.id == grant.id) {
            return;
        }
        let order = grant.burn_order();
        let place = self.grants.partition_point(|it| it.grant.burn_order() < order);
        let (pot, phase) = (Pot::default(), Phase::Waiting);
        self.grants.insert(place, Held { grant, pot, phase, recurs_at: None });
    }

    /// When the limit burns among grants from now on.
    pub(super) fn set_limit_priority(&mut self, priority: u8) {
        self.limit_order = self.limit_order.with_priority(priority);
    }

    /// The limit is another one from now on.
    pub(super) fn change_limit(&mut self, limit: Quantity) {
        let kept = self.limit.burned.min(limit);
        let excess = self.limit.burned.bounded_sub(kept);
        self.limit = Pot { balance: limit.bounded_sub(kept), burned: kept };
        self.overage = self.overage.bounded_add(excess);
    }

    /// A new window begins: what is left rolls over as each grant says, the limit is whole again.
    pub(super) fn begin_window(&mut self, limit: Quantity, window: Window, carried: Quantity) {
        self.grants.retain(|it| it.phase != Phase::Ended);
        for held in self.grants.iter_mut().filter(|it| it.phase == Phase::Active) {
            let Grant { min_rollover, max_rollover, .. } = held.grant;
            let balance = held.pot.balance.max(min_rollover).min(max_rollover);
            held.pot = Pot::full(balance);
        }
        self.limit = Pot::full(limit);
        self.limit_order = self.limit_order.in_window(window);
        self.overage = carried;
        self.begin_segment(window.from, carried, &[]);
        self.absorb();
    }

    /// The next time at which something happens to a grant.
    pub(super) fn next_due(&self) -> Timestamp {
        let due = |it: &Held| match it.phase {
            Phase::Waiting => it.grant.effective_at,
            Phase::Active => {
                let ends = it.grant.expires_at.unwrap_or(Timestamp::MAX);
                ends.min(it.recurs_at.unwrap_or(Timestamp::MAX))
            }
            Phase::Ended => Timestamp::MAX,
        };
        self.grants.iter().map(due).min().unwrap_or(Timestamp::MAX)
    }

    /// The next time at which a grant that can be used expires.
    pub(super) fn next_expiry(&self) -> Timestamp {
        let active = self.grants.iter().filter(|it| it.phase == Phase::Active);
        active.filter_map(|it| it.grant.expires_at).min().unwrap_or(Timestamp::MAX)
    }

    /// Ends what has expired at this time; whether anything has.
    pub(super) fn expire(&mut self, due: Timestamp) -> Option<Cause> {
        self.end_where(|it| {
            // A grant may expire before it was ever noticed to be effective.
            it.is_due(Phase::Active, it.grant.expires_at, due)
                || it.is_due(Phase::Waiting, it.grant.expires_at, due)
        })
        .then_some(Cause::GrantExpired)
    }

    /// Ends one grant.
    pub(super) fn void(&mut self, grant: GrantId) -> Option<Cause> {
        self.end_where(|it| it.grant.id == grant && it.phase != Phase::Ended)
            .then_some(Cause::GrantVoided)
    }

    fn end_where(&mut self, ends: impl Fn(&Held) -> bool) -> bool {
        let mut any = false;
        for held in self.grants.iter_mut().filter(|it| ends(it)) {
            held.phase = Phase::Ended;
            held.pot.balance = Quantity::ZERO;
            any = true;
        }
        any
    }

    /// Sets back to their amounts what recurs at this time.
    pub(super) fn recur(&mut self, due: Timestamp) -> Option<Cause> {
        let mut any = false;
        for held in &mut self.grants {
            if held.is_due(Phase::Active, held.recurs_at, due) {
                held.pot = Pot::full(held.grant.amount);
                held.recurs_at = held.grant.recurs_after(due);
                any = true;
            }
        }
        any.then_some(Cause::GrantRecurred)
    }

    /// Makes available what is effective at this time.
    pub(super) fn activate(&mut self, due: Timestamp) -> Option<Cause> {
        let mut any = false;
        for held in &mut self.grants {
            if held.is_due(Phase::Waiting, Some(held.grant.effective_at), due) {
                held.phase = Phase::Active;
                held.pot = Pot::full(held.grant.amount);
                held.recurs_at = held.grant.recurs_after(due);
                any = true;
            }
        }
        any.then_some(Cause::GrantActive)
    }

    /// Everything waits again that is not effective yet at this time, which is before all usage.
    pub(super) fn rewind(&mut self, to: Timestamp) {
        for held in self.grants.iter_mut().filter(|it| it.grant.effective_at > to) {
            (held.phase, held.pot, held.recurs_at) = (Phase::Waiting, Pot::default(), None);
        }
    }
}

/// Segments: stretches in which the same grants burned.
impl Book {
    /// Does something to grants or the limit: a segment ends before, and one begins after, in which
    /// what has become available covers what was beyond everything. Nothing if nothing was done.
    pub(super) fn change(
        &mut self,
        at: Timestamp,
        usage: Quantity,
        what: impl FnOnce(&mut Self) -> Option<Cause>,
    ) -> Option<(Cause, Option<Segment>)> {
        let ended = self.end_segment(at, usage);
        // A segment has a length. What burned at the very moment at which this one began goes into
        // the next: where a clock was set, everything happens at one moment.
        let (usage, burned) = match ended {
            Some(_) => (usage, Vec::new()),
            None => (self.start.usage, self.burned_in_segment()),
        };
        let cause = what(self)?;
        self.begin_segment(at, usage, &burned);
        self.absorb();
        Some((cause, ended))
    }

    fn burned_in_segment(&self) -> Vec<Burned> {
        let limit = Burned {
            grant: None,
            balance_at_start: self.start.limit,
            burned: self.start.limit.bounded_sub(self.limit.balance),
        };
        let grants = self.start.balances.iter().filter_map(|(id, balance_at_start)| {
            let held = self.grants.iter().find(|it| it.grant.id == *id)?;
            let burned = balance_at_start.bounded_sub(held.pot.balance);
            Some(Burned { grant: Some(*id), balance_at_start: *balance_at_start, burned })
        });
        [limit].into_iter().chain(grants).collect()
    }

    /// The segment that ends now, before something happens to a grant; nothing if it has no length.
    pub(super) fn end_segment(&self, at: Timestamp, usage: Quantity) -> Option<Segment> {
        if at <= self.start.from {
            return None;
        }
        Some(Segment {
            from: self.start.from,
            to: at,
            usage: usage.bounded_sub(self.start.usage),
            overage: self.overage,
            burned: self.burned_in_segment(),
        })
    }

    /// Begins a segment with everything as it stands, and with this much burned already.
    fn begin_segment(&mut self, at: Timestamp, usage: Quantity, burned: &[Burned]) {
        let burned = |grant: Option<GrantId>| {
            let own = burned.iter().find(|it| it.grant == grant);
            own.map_or(Quantity::ZERO, |it| it.burned)
        };
        let balances = self.grants.iter().filter_map(|it| {
            let already = burned(Some(it.grant.id));
            let counts = it.phase == Phase::Active || !already.is_zero();
            counts.then(|| (it.grant.id, it.pot.balance.bounded_add(already)))
        });
        let limit = self.limit.balance.bounded_add(burned(None));
        self.start = Start { from: at, usage, limit, balances: balances.collect() };
    }
}

impl Book {
    pub(super) fn encode(&self, writer: &mut Writer) {
        let pot = |writer: &mut Writer, it: Pot| {
            writer.quantity(it.balance);
            writer.quantity(it.burned);
        };
        pot(writer, self.limit);
        self.limit_order.encode(writer);
        writer.list(self.grants.iter(), |writer, it| {
            it.grant.encode(writer);
            pot(writer, it.pot);
            writer.byte(it.phase as u8);
            writer.option(it.recurs_at, Writer::time);
        });
        writer.quantity(self.overage);
        writer.time(self.start.from);
        writer.quantity(self.start.usage);
        writer.quantity(self.start.limit);
        writer.list(self.start.balances.iter(), |writer, (grant, balance)| {
            writer.bits(grant.bits());
            writer.quantity(*balance);
        });
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let pot = |reader: &mut Reader<'_>| {
            Ok(Pot { balance: reader.quantity()?, burned: reader.quantity()? })
        };
        let limit = pot(reader)?;
        let limit_order = BurnOrder::decode(reader)?;
        let mut grants = reader.list(|reader| {
            Ok(Held {
                grant: Grant::decode(reader)?,
                pot: pot(reader)?,
                phase: match reader.byte()? {
                    0 => Phase::Waiting,
                    1 => Phase::Active,
                    2 => Phase::Ended,
                    _ => return Err(Corrupt { expected: "the phase of a grant" }),
                },
                recurs_at: reader.option(Reader::time)?,
            })
        })?;
        grants.sort_by_key(|it| it.grant.burn_order());
        Ok(Self {
            limit,
            limit_order,
            grants,
            overage: reader.quantity()?,
            start: Start {
                from: reader.time()?,
                usage: reader.quantity()?,
                limit: reader.quantity()?,
                balances: reader.list(|it| Ok((GrantId::from_bits(it.bits()?), it.quantity()?)))?,
            },
        })
    }
}
