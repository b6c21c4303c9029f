//! What a grant must be, and what the core gets of it.

use plimsoll_core::{
    entitlement::{
        grant as core,
        period::{self, UsagePeriod as CorePeriod},
    },
    ids::{EntitlementId, GrantId},
    limits,
    quantity::Quantity,
    state::GrantBalance,
    time::Timestamp,
};

use crate::ops::{
    entitlement::{Interval, UsagePeriod, effective_at},
    fields,
    grant::{CreateGrant, Expiration, ExpirationUnit, Grant, GrantStanding},
    problem::{Problem, ProblemCode},
    scalar::{Decimal, Time},
};

/// The priority of a grant that names none: that of the limit, so that what ends first burns first.
const PRIORITY: u8 = plimsoll_core::entitlement::LIMIT_PRIORITY;

impl CreateGrant {
    /// The environment's clock shows `time`, the machine's `now`.
    pub(super) fn into_document(
        self,
        id: GrantId,
        entitlement: EntitlementId,
        time: Timestamp,
        now: Timestamp,
    ) -> Result<Grant, Problem> {
        let Decimal(amount) = self.amount;
        if amount <= Quantity::ZERO {
            return Err(Problem::invalid("amount", "an amount is above zero"));
        }
        let effective_at = effective_at("effective_at", self.effective_at, time)?;
        let expires_at = expires_at(self.expires_at, self.expiration, effective_at)?;
        let recurrence = self.recurrence.map(|it| recurring(it, effective_at)).transpose()?;
        let min_rollover = self.min_rollover.map_or(Quantity::ZERO, |it| it.0);
        let max_rollover = self.max_rollover.map_or(amount, |it| it.0);
        if min_rollover.is_negative() {
            return Err(Problem::invalid("min_rollover", "min_rollover is not below zero"));
        }
        if max_rollover < min_rollover {
            let detail = "max_rollover is not below min_rollover";
            return Err(Problem::invalid("max_rollover", detail));
        }
        fields::metadata(&self.metadata)?;
        Ok(Grant {
            id,
            entitlement,
            amount,
            priority: self.priority.unwrap_or(PRIORITY),
            effective_at,
            expires_at,
            recurrence,
            min_rollover,
            max_rollover,
            voided_at: None,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
        })
    }
}

/// A recurrence always has an anchor: without one, the moment from which on the grant can be used.
fn recurring(it: UsagePeriod, effective_at: Timestamp) -> Result<UsagePeriod, Problem> {
    if matches!(it.interval, Interval::Never | Interval::BillingCycle) {
        let detail = "a grant recurs each hour, day, week, month, quarter, half_year or year";
        return Err(Problem::invalid("recurrence.interval", detail));
    }
    Ok(UsagePeriod { anchor: Some(it.anchor.unwrap_or(Time(effective_at))), ..it })
}

fn expires_at(
    named: Option<Time>,
    counted: Option<Expiration>,
    effective_at: Timestamp,
) -> Result<Option<Timestamp>, Problem> {
    match (named, counted) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let detail = "expiration stands for expires_at: give one or the other";
            Err(Problem::invalid("expiration", detail))
        }
        (Some(Time(at)), None) if at <= effective_at => {
            Err(Problem::invalid("expires_at", "a grant expires after it is effective"))
        }
        (Some(Time(at)), None) => Ok(Some(at)),
        (None, Some(expiration)) => expiration.counted_from(effective_at).map(Some),
    }
}

impl Expiration {
    fn counted_from(self, effective_at: Timestamp) -> Result<Timestamp, Problem> {
        let most = limits::GRANT_EXPIRATION_COUNT;
        if !(1..=most).contains(&self.count) {
            let detail = format!("count is 1 to {most}");
            return Err(Problem::invalid("expiration.count", detail));
        }
        let interval = match self.duration {
            ExpirationUnit::Hour => period::Interval::Hour,
            ExpirationUnit::Day => period::Interval::Day,
            ExpirationUnit::Week => period::Interval::Week,
            ExpirationUnit::Month => period::Interval::Month,
            ExpirationUnit::Year => period::Interval::Year,
        };
        // Periods anchored at a moment end whole units after it, months clamped.
        let periods = CorePeriod { interval, anchor: Some(effective_at) };
        Ok((0..self.count).fold(effective_at, |at, _| periods.window_at(at).to))
    }
}

impl Grant {
    /// What the rules depend on.
    pub(super) fn to_core(&self) -> core::Grant {
        core::Grant {
            id: self.id,
            amount: self.amount,
            priority: self.priority,
            effective_at: self.effective_at,
            expires_at: self.expires_at,
            recurrence: self.recurrence.map(UsagePeriod::to_core),
            min_rollover: self.min_rollover,
            max_rollover: self.max_rollover,
        }
    }
}

impl GrantStanding {
    /// Where a grant stands; nothing is left of one that the partition no longer holds.
    pub(super) fn of(grant: Grant, balances: &[GrantBalance]) -> Self {
        let held = balances.iter().find(|it| it.grant == grant.id);
        Self {
            balance: held.map_or(Quantity::ZERO, |it| it.balance),
            is_active: held.is_some_and(|it| it.is_active),
            grant,
        }
    }
}

/// Refuses one more grant in an entitlement that holds as many as it can.
pub(super) fn check_room(balances: &[GrantBalance]) -> Result<(), Problem> {
    let most = limits::ENTITLEMENT_GRANTS;
    if balances.len() < most {
        return Ok(());
    }
    let detail = format!("an entitlement has at most {most} grants that have not ended");
    Err(Problem::new(ProblemCode::ResourceLimit, detail))
}
