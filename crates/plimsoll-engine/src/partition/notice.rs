//! Turns what happened into notifications: frozen bytes, and a delivery for each channel that is
//! to hear of it.
//!
//! Everything inside a notification is as it was in the transaction that makes it. Later edits,
//! retries and resends do not change it.
//!
//! Not here: what the bodies look like (`partition::body`), sending (`delivery`).

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use plimsoll_core::{
    catalog::Catalog,
    effect::Reset,
    ids::{
        ChannelId, CustomerId, DeliveryId, EntitlementId, EnvironmentId, FeatureId, NotificationId,
    },
    line::crossing::{Crossing, Suppression},
    rule::{self, Rule, RuleKind},
    time::Timestamp,
};
use plimsoll_store::{
    delivery::{DeliveryRow, DeliveryState},
    notification::NotificationRow,
};

use super::{
    body,
    documents::Documents,
    memory::{FoundCrossing, FoundReset},
};
use crate::{
    delivery::{
        channels::{Channel, ChannelRegistry},
        dispatcher::Outbound,
    },
    deps::Random,
};

/// Deliveries of one log row that an ordinal can tell apart.
pub(crate) const ORDINAL_BITS: u32 = 20;
/// Why a delivery to a disabled channel failed without an attempt (row 17).
const CHANNEL_DISABLED: &str = "channel_disabled";

/// The rows and messages that a batch's happenings come to.
#[derive(Debug, Default)]
pub(super) struct Notices {
    pub(super) notifications: Vec<NotificationRow>,
    pub(super) deliveries: Vec<DeliveryRow>,
    /// For the dispatcher, once all this is committed.
    pub(super) outbound: Vec<Outbound>,
}

/// What a batch brought about that people may want to hear of.
#[derive(Debug, Default)]
pub(super) struct Happenings {
    pub(super) crossings: Vec<FoundCrossing>,
    pub(super) resets: Vec<FoundReset>,
}

impl Happenings {
    /// Leaves out the resets that nobody wants to hear of: a million windows begin at midnight.
    pub(super) fn keep_wanted(&mut self, catalog: &Catalog, channels: &ChannelRegistry) {
        let mut direct = BTreeMap::new();
        self.resets.retain(|it| {
            let environment = it.reset.environment;
            let taken = *direct
                .entry(environment)
                .or_insert_with(|| !channels.takers(environment, rule::RESET).is_empty());
            taken || rules_for(catalog, &it.reset).next().is_some()
        });
    }

    /// The ids of the resources that the notifications show.
    pub(super) fn needed_documents(&self) -> Vec<String> {
        let ids = |customer: CustomerId, entitlement: EntitlementId| {
            [customer.to_string(), entitlement.to_string()]
        };
        let crossings = self.crossings.iter().map(|it| &it.crossing);
        let crossings = crossings.map(|it| (it.customer, it.identity.entitlement));
        let resets = self.resets.iter().map(|it| (it.reset.customer, it.reset.entitlement));
        crossings.chain(resets).flat_map(|(customer, it)| ids(customer, it)).collect()
    }
}

/// The rules that tell of this reset.
pub(crate) fn rules_for<'a>(
    catalog: &'a Catalog,
    reset: &'a Reset,
) -> impl Iterator<Item = &'a Arc<Rule>> {
    let feature = catalog.feature(reset.feature);
    catalog.rules().filter(move |it| {
        it.kind == RuleKind::Reset
            && feature.is_some_and(|feature| it.concerns(feature))
            && it.covers_customer(reset.customer)
    })
}

/// Makes the notifications and deliveries of a batch.
pub(super) struct Notifier<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) documents: &'a Documents,
    pub(super) channels: &'a ChannelRegistry,
    pub(super) random: &'a dyn Random,
    pub(super) now: Timestamp,
}

/// A notification before it has a row.
struct Draft<'a> {
    id: NotificationId,
    identity: [u8; 32],
    environment: EnvironmentId,
    r#type: &'static str,
    edge: &'static str,
    customer: CustomerId,
    feature: FeatureId,
    rule: Option<&'a Rule>,
    suppression: Option<Suppression>,
    at: Timestamp,
    position: u64,
    body: Vec<u8>,
}

impl Notifier<'_> {
    pub(super) fn notices_of(&self, happenings: &Happenings) -> Notices {
        let mut notices = Notices::default();
        for found in &happenings.crossings {
            self.crossing(found, &mut notices);
        }
        for found in &happenings.resets {
            self.reset(found, &mut notices);
        }
        notices
    }

    fn crossing(&self, found: &FoundCrossing, notices: &mut Notices) {
        let crossing: &Crossing = &found.crossing;
        let feature = self.feature(crossing.feature);
        let channels: Vec<_> =
            crossing.rule.channels.iter().filter_map(|it| self.channels.get(*it)).collect();
        let draft = Draft {
            id: crossing.notification_id(),
            identity: crossing.identity.digest(),
            environment: crossing.environment,
            r#type: crossing.rule.kind.notification_type(),
            edge: crossing.identity.edge.name(),
            customer: crossing.customer,
            feature: crossing.feature,
            rule: Some(&*crossing.rule),
            suppression: crossing.suppression,
            at: crossing.at,
            position: found.position,
            body: body::of_crossing(found, &feature, self.documents),
        };
        self.add(draft, &channels, notices);
    }

    /// One notification for each rule that tells of it, and one for the channels that take it
    /// directly and that no such rule names (design 5.5).
    fn reset(&self, found: &FoundReset, notices: &mut Notices) {
        let reset: &Reset = &found.reset;
        let mut named: Vec<ChannelId> = Vec::new();
        for rule in rules_for(self.catalog, reset) {
            named.extend(&rule.channels);
            let channels: Vec<_> =
                rule.channels.iter().filter_map(|it| self.channels.get(*it)).collect();
            self.add(self.draft_of_reset(found, Some(&**rule)), &channels, notices);
        }
        let mut direct = self.channels.takers(reset.environment, rule::RESET);
        direct.retain(|it| !named.contains(&it.id));
        if !direct.is_empty() {
            self.add(self.draft_of_reset(found, None), &direct, notices);
        }
    }

    fn draft_of_reset<'r>(&self, found: &FoundReset, rule: Option<&'r Rule>) -> Draft<'r> {
        let reset: &Reset = &found.reset;
        let id = rule.map(|it| it.id);
        let feature = self.feature(reset.feature);
        let disabled = rule.is_some_and(|it| it.disabled);
        Draft {
            id: reset.notification_id(id),
            identity: reset.digest(id),
            environment: reset.environment,
            r#type: rule::RESET,
            edge: "",
            customer: reset.customer,
            feature: reset.feature,
            rule,
            suppression: disabled.then_some(Suppression::RuleDisabled),
            at: reset.at,
            position: found.position,
            body: body::of_reset(reset, rule, &feature, self.documents),
        }
    }

    fn feature(&self, id: FeatureId) -> Vec<u8> {
        self.catalog.feature(id).map_or_else(Vec::new, |it| it.document.to_vec())
    }

    fn add(&self, draft: Draft<'_>, channels: &[Arc<Channel>], notices: &mut Notices) {
        let low = (notices.notifications.len() as u64) & ((1 << ORDINAL_BITS) - 1);
        let ordinal = ((draft.position << ORDINAL_BITS) | low) as i64;
        let is_sent = draft.suppression.is_none();
        let notification = NotificationRow {
            id: draft.id,
            identity: Bytes::copy_from_slice(&draft.identity),
            environment: draft.environment,
            r#type: draft.r#type.to_owned(),
            edge: draft.edge.to_owned(),
            customer: Some(draft.customer),
            feature: Some(draft.feature),
            rule: draft.rule.map(|it| it.id),
            reason: draft.suppression.map(|it| it.code().to_owned()),
            created_at: draft.at,
            ordinal,
            doc: draft.body.into(),
            rule_snapshot: draft.rule.map(|it| Bytes::copy_from_slice(&it.document)),
        };
        if is_sent {
            for channel in channels {
                self.deliver(&notification, channel, notices);
            }
        }
        notices.notifications.push(notification);
    }

    fn deliver(&self, notification: &NotificationRow, channel: &Channel, notices: &mut Notices) {
        let now = self.now;
        let delivery = DeliveryRow {
            id: DeliveryId::from_parts(now.as_ms().max(0) as u64, self.random.bits()),
            notification: notification.id,
            environment: notification.environment,
            channel: channel.id,
            customer: notification.customer,
            n: 1,
            state: if channel.disabled { DeliveryState::Failed } else { DeliveryState::Pending },
            attempts: 0,
            next_attempt_at: (!channel.disabled).then_some(now),
            ordinal: notification.ordinal,
            format: channel.format.versioned().to_owned(),
            error: channel.disabled.then(|| CHANNEL_DISABLED.to_owned()),
            created_at: now,
            updated_at: now,
        };
        if !channel.disabled {
            notices.outbound.push(Outbound {
                delivery: delivery.id,
                notification: notification.id,
                channel: channel.id,
                customer: notification.customer,
                ordinal: notification.ordinal,
                body: notification.doc.clone(),
            });
        }
        notices.deliveries.push(delivery);
    }
}
