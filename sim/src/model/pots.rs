//! Grants and the limit as pots that usage empties in their order.
//!
//! Usage that no pot covers is beyond all of them, until something becomes available. What is given
//! back fills first what was emptied last; a pot that has ended gets nothing back.
//!
//! Not here: when grants begin and end (`course`).

use plimsoll_core::ids::GrantId;

use super::Amount;
use crate::{log::GrantFact, period::Period};

/// Of the limit among grants.
const LIMIT_PRIORITY: u8 = 1;

/// What is there of one quantity, and what was taken.
#[derive(Debug, Clone, Copy, Default)]
struct Pot {
    left: Amount,
    taken: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Active,
    Ended,
}

#[derive(Debug, Clone)]
struct Granted {
    fact: GrantFact,
    pot: Pot,
    phase: Phase,
    /// When it is set back to its amount next, once it can be used.
    recurs_ms: i64,
}

impl Granted {
    /// Whole, until it is set back for the first time after this moment.
    fn refill(&mut self, at_ms: i64) {
        self.pot = Pot { left: self.fact.amount, taken: 0 };
        self.recurs_ms = self.fact.recurs.map_or(i64::MAX, |it| {
            let anchor_ms = it.anchor_ms.or(Some(self.fact.from_ms));
            Period { anchor_ms, ..it }.window_at(at_ms).1
        });
    }
}

/// The grants of an entitlement and its limit.
#[derive(Debug, Clone)]
pub struct Pots {
    limit: Pot,
    window: (i64, i64),
    grants: Vec<Granted>,
    beyond: Amount,
}

/// A grant, what is left of it, and whether it can be used.
pub type Balance = (String, Amount, bool);

impl Pots {
    /// The limit alone, in a window in which this much was used.
    pub fn new(limit: Amount, window: (i64, i64), usage: Amount) -> Self {
        let limit = Pot { left: limit, taken: 0 };
        let mut pots = Self { limit, window, grants: Vec::new(), beyond: usage };
        pots.cover();
        pots
    }

    /// The pots that can be used, in the order in which they are emptied.
    fn active(&mut self) -> Vec<&mut Pot> {
        let limit = ((LIMIT_PRIORITY, self.window.1, self.window.0, 0), &mut self.limit);
        let grants = self.grants.iter_mut().filter(|it| it.phase == Phase::Active);
        let grants = grants.map(|it| (order(&it.fact), &mut it.pot));
        let mut all: Vec<_> = grants.chain([limit]).collect();
        all.sort_by_key(|it| it.0);
        all.into_iter().map(|it| it.1).collect()
    }

    /// What usage is limited to.
    pub fn reach(&mut self, usage: Amount) -> Amount {
        let left: Amount = self.active().iter().map(|it| it.left).sum();
        usage - self.beyond + left
    }

    /// Usage has moved.
    pub fn move_usage(&mut self, from: Amount, to: Amount) {
        if to >= from {
            self.beyond += to - from;
            // What was beyond before is so because every pot was empty.
            return self.cover();
        }
        let mut rest = from - to;
        let given = self.beyond.min(rest);
        self.beyond -= given;
        rest -= given;
        for pot in self.active().into_iter().rev() {
            let given = pot.taken.min(rest);
            pot.taken -= given;
            pot.left += given;
            rest -= given;
        }
    }

    /// What is available covers what is beyond.
    fn cover(&mut self) {
        let mut rest = self.beyond;
        for pot in self.active() {
            let taken = pot.left.min(rest);
            pot.left -= taken;
            pot.taken += taken;
            rest -= taken;
        }
        self.beyond = rest;
    }

    /// One grant more, which waits for its time.
    pub fn add(&mut self, fact: &GrantFact, now_ms: i64) {
        if self.grants.iter().all(|it| it.fact.id != fact.id) {
            let fact = GrantFact { from_ms: fact.from_ms.max(now_ms), ..fact.clone() };
            let (pot, phase) = (Pot::default(), Phase::Waiting);
            self.grants.push(Granted { fact, pot, phase, recurs_ms: i64::MAX });
        }
    }

    /// The limit is another one.
    pub fn change_limit(&mut self, limit: Amount) {
        let taken = self.limit.taken.min(limit);
        self.beyond += self.limit.taken - taken;
        self.limit = Pot { left: limit - taken, taken };
        self.cover();
    }

    /// A window begins. Whether there is any grant left.
    pub fn begin_window(&mut self, limit: Amount, window: (i64, i64), carried: Amount) -> bool {
        self.grants.retain(|it| it.phase != Phase::Ended);
        for it in self.grants.iter_mut().filter(|it| it.phase == Phase::Active) {
            let (least, most) = it.fact.rollover;
            it.pot = Pot { left: it.pot.left.max(least).min(most), taken: 0 };
        }
        (self.limit, self.window, self.beyond) = (Pot { left: limit, taken: 0 }, window, carried);
        self.cover();
        !self.grants.is_empty()
    }

    /// When something happens by itself next.
    pub fn next_due(&self) -> i64 {
        let due = |it: &Granted| match it.phase {
            Phase::Waiting => it.fact.from_ms,
            Phase::Active => it.fact.to_ms.unwrap_or(i64::MAX).min(it.recurs_ms),
            Phase::Ended => i64::MAX,
        };
        self.grants.iter().map(due).min().unwrap_or(i64::MAX)
    }

    /// When one that can be used expires next.
    pub fn next_end(&self) -> i64 {
        let active = self.grants.iter().filter(|it| it.phase == Phase::Active);
        active.filter_map(|it| it.fact.to_ms).min().unwrap_or(i64::MAX)
    }

    /// Sets back to their amounts what recurs; whether anything does.
    pub fn recur(&mut self, due_ms: i64) -> bool {
        let mut any = false;
        let active = self.grants.iter_mut().filter(|it| it.phase == Phase::Active);
        for it in active.filter(|it| it.recurs_ms <= due_ms) {
            it.refill(due_ms);
            any = true;
        }
        self.cover();
        any
    }

    /// Ends what has expired; whether anything has.
    pub fn expire(&mut self, due_ms: i64) -> bool {
        self.end(|it| it.fact.to_ms.is_some_and(|it| it <= due_ms))
    }

    /// Ends one grant; whether it was there.
    pub fn void(&mut self, grant: GrantId) -> bool {
        self.end(|it| it.fact.id == grant)
    }

    fn end(&mut self, which: impl Fn(&Granted) -> bool) -> bool {
        let mut any = false;
        let open = self.grants.iter_mut().filter(|it| it.phase != Phase::Ended);
        for it in open.filter(|it| which(it)) {
            (it.phase, it.pot.left, any) = (Phase::Ended, 0, true);
        }
        any
    }

    /// Makes available what is effective; whether anything became so.
    pub fn begin(&mut self, due_ms: i64) -> bool {
        let mut any = false;
        let waiting = self.grants.iter_mut().filter(|it| it.phase == Phase::Waiting);
        for it in waiting.filter(|it| it.fact.from_ms <= due_ms) {
            it.refill(due_ms);
            (it.phase, any) = (Phase::Active, true);
        }
        self.cover();
        any
    }

    /// What comes after this moment waits again: the clock went back.
    pub fn rewind(&mut self, to_ms: i64) {
        for it in self.grants.iter_mut().filter(|it| it.fact.from_ms > to_ms) {
            (it.phase, it.pot) = (Phase::Waiting, Pot::default());
        }
    }

    /// The grants that have not ended, in the order in which they are emptied.
    pub fn balances(&self) -> Vec<Balance> {
        let mut open: Vec<_> = self.grants.iter().filter(|it| it.phase != Phase::Ended).collect();
        open.sort_by_key(|it| order(&it.fact));
        let is_active = |it: &Granted| it.phase == Phase::Active;
        open.iter().map(|it| (it.fact.id.to_string(), it.pot.left, is_active(it))).collect()
    }
}

/// Priority, then the earlier end, then the older, then the id.
fn order(fact: &GrantFact) -> (u8, i64, i64, u128) {
    let bits = fact.id.bits();
    (fact.priority, fact.to_ms.unwrap_or(i64::MAX), (bits >> 80) as i64, bits)
}
