//! Compares the notifications that a log gives with those that are stored.
//!
//! A notification is compared by what makes it this one: id, identity, type, edge, reason, whom it
//! is about, and where it went. Its frozen body is not derived again.
//!
//! Not here: windows and cells (`compare`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use plimsoll_core::{
    effect::{Effect, Reset},
    ids::{ChannelId, CustomerId, FeatureId, NotificationId, RuleId},
    line::crossing::{Crossing, Suppression},
    rule::{self, Rule},
    state::State,
};
use plimsoll_store::{
    ReadError, Store,
    whole::{self, NotificationMark},
};

use super::verify::Tally;
use crate::partition::{ORDINAL_BITS, partition_of, rules_for};

/// Notifications that are looked up at once.
const LOOKUP: usize = 512;

/// What a notification must be like.
#[derive(Debug)]
struct Expected {
    identity: [u8; 32],
    r#type: &'static str,
    edge: &'static str,
    reason: Option<&'static str>,
    customer: CustomerId,
    feature: FeatureId,
    rule: Option<RuleId>,
    /// Where it must have gone.
    channels: Vec<ChannelId>,
    /// Whether someone wanted it, as far as the log knows. Channels that take resets directly are
    /// not on the log.
    is_certain: bool,
}

/// The notifications of one partition, as its log gives them.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    waiting: BTreeMap<NotificationId, Expected>,
    seen: HashSet<NotificationId>,
    /// How many were compared.
    pub(super) compared: u64,
}

/// Which rows of the store a replay of a partition speaks about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub(super) partition: u32,
    pub(super) partitions: u32,
    /// The first position that was replayed.
    pub(super) first: u64,
    /// The last one.
    pub(super) last: u64,
}

impl Scope {
    pub(super) fn owns(&self, customer: CustomerId) -> bool {
        partition_of(customer, self.partitions as usize) == self.partition as usize
    }

    fn covers(&self, mark: &NotificationMark) -> bool {
        let position = (mark.ordinal as u64) >> ORDINAL_BITS;
        mark.customer.is_some_and(|it| self.owns(it))
            && (self.first..=self.last).contains(&position)
    }
}

impl Notifications {
    /// Takes what follows from a row that was just applied to `state`.
    pub(super) fn take(&mut self, effects: &mut Vec<Effect>, state: &State) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Crossing(it) => self.expect(it.notification_id(), of_crossing(&it)),
                Effect::Reset(reset) => {
                    for rule in rules_for(state.catalog(), &reset) {
                        let id = reset.notification_id(Some(rule.id));
                        self.expect(id, of_reset(&reset, Some(rule)));
                    }
                    self.expect(reset.notification_id(None), of_reset(&reset, None));
                }
                Effect::Uncounted { .. } => {}
            }
        }
    }

    fn expect(&mut self, id: NotificationId, expected: Expected) {
        self.seen.insert(id);
        self.waiting.insert(id, expected);
    }

    /// Whether enough has come together to look it up.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= LOOKUP
    }

    /// Compares what has come together.
    pub(super) async fn compare(
        &mut self,
        store: &dyn Store,
        tally: &mut Tally,
    ) -> Result<(), ReadError> {
        let waiting = std::mem::take(&mut self.waiting);
        let ids: Vec<_> = waiting.keys().copied().collect();
        let found = whole::notifications_with(store, &ids).await?;
        let mut found: BTreeMap<_, _> = found.into_iter().map(|it| (it.id, it)).collect();
        let mut delivered: BTreeMap<NotificationId, BTreeSet<ChannelId>> = BTreeMap::new();
        for (id, channel) in whole::delivered(store, &ids).await? {
            delivered.entry(id).or_default().insert(channel);
        }
        for (id, expected) in waiting {
            let what = || format!("notification {id} ({})", expected.r#type);
            let Some(mark) = found.remove(&id) else {
                if expected.is_certain {
                    tally.note(what(), "missing", "made");
                }
                continue;
            };
            self.compared += 1;
            if let Some((stored, replayed)) = expected.differs_from(&mark) {
                tally.note(what(), stored, replayed);
            }
            let went_to = delivered.remove(&id).unwrap_or_default();
            for channel in expected.channels.iter().filter(|it| !went_to.contains(it)) {
                tally.note(format!("{}: delivery to {channel}", what()), "missing", "made");
            }
        }
        Ok(())
    }

    /// Finds what is stored although the log does not give it.
    ///
    /// `may_be_late` says whether late events may have told more than this replay knows.
    pub(super) async fn find_extra(
        &self,
        store: &dyn Store,
        scope: Scope,
        may_be_late: bool,
        tally: &mut Tally,
    ) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let page = whole::notifications(store, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for mark in page {
                if self.seen.contains(&mark.id) || !scope.covers(&mark) {
                    continue;
                }
                if may_be_late && is_late(store, mark.id).await? {
                    continue;
                }
                let what = format!("notification {} ({})", mark.id, mark.r#type);
                tally.note(what, "made", "not in the log");
            }
        }
    }
}

/// Whether a stored notification tells of a window that had closed.
async fn is_late(store: &dyn Store, id: NotificationId) -> Result<bool, ReadError> {
    let Some(doc) = whole::body_of(store, id).await? else { return Ok(false) };
    let body: serde_json::Value = serde_json::from_slice(&doc).unwrap_or_default();
    Ok(body["data"]["late"] == true)
}

impl Expected {
    /// What is stored and what was expected, if they differ.
    fn differs_from(&self, mark: &NotificationMark) -> Option<(String, String)> {
        let stored = (
            &mark.identity[..],
            mark.r#type.as_str(),
            mark.edge.as_str(),
            mark.reason.as_deref(),
            (mark.customer, mark.feature, mark.rule),
        );
        let expected = (
            &self.identity[..],
            self.r#type,
            self.edge,
            self.reason,
            (Some(self.customer), Some(self.feature), self.rule),
        );
        if stored == expected {
            return None;
        }
        let show = |(_, r#type, edge, reason, about): (_, &str, &str, Option<&str>, _)| {
            let (customer, feature, rule): (Option<CustomerId>, Option<FeatureId>, Option<RuleId>) =
                about;
            let text = |it: Option<String>| it.unwrap_or_else(|| "-".to_owned());
            format!(
                "{} {} {} {} {} {}",
                r#type,
                if edge.is_empty() { "-" } else { edge },
                reason.unwrap_or("-"),
                text(customer.map(|it| it.to_string())),
                text(feature.map(|it| it.to_string())),
                text(rule.map(|it| it.to_string())),
            )
        };
        if stored.0 != expected.0 && show(stored) == show(expected) {
            return Some((
                "another identity".to_owned(),
                "the identity of its crossing".to_owned(),
            ));
        }
        Some((show(stored), show(expected)))
    }
}

fn of_crossing(crossing: &Crossing) -> Expected {
    let is_sent = crossing.suppression.is_none();
    Expected {
        identity: crossing.identity.digest(),
        r#type: crossing.rule.kind.notification_type(),
        edge: crossing.identity.edge.name(),
        reason: crossing.suppression.map(Suppression::code),
        customer: crossing.customer,
        feature: crossing.feature,
        rule: Some(crossing.rule.id),
        channels: if is_sent { crossing.rule.channels.clone() } else { Vec::new() },
        is_certain: true,
    }
}

fn of_reset(reset: &Reset, rule: Option<&Rule>) -> Expected {
    let is_disabled = rule.is_some_and(|it| it.disabled);
    let id = rule.map(|it| it.id);
    let sent_by = rule.filter(|it| !it.disabled);
    Expected {
        identity: reset.digest(id),
        r#type: rule::RESET,
        edge: "",
        reason: is_disabled.then_some(Suppression::RuleDisabled.code()),
        customer: reset.customer,
        feature: reset.feature,
        rule: id,
        channels: sent_by.map_or_else(Vec::new, |it| it.channels.clone()),
        is_certain: rule.is_some(),
    }
}
