//! The types of notifications, by name (design 5.4).
//!
//! Not here: what fires them, and which of them fire already.

/// What a channel's `event_types` may hold besides `*`, in alphabetical order.
pub const NOTIFICATION_TYPES: [&str; 57] = [
    "auto.topup.hard.failure",
    "auto.topup.retry.exceeded",
    "channel.disabled",
    "credit.limit.reached",
    "credit.limit.warning",
    "credit_note.created",
    "credit_note.updated",
    "customer.created",
    "customer.deleted",
    "customer.updated",
    "entitlement.created",
    "entitlement.deleted",
    "entitlement.limit.reached",
    "entitlement.limit.warning",
    "entitlement.soft_limit.reached",
    "entitlement.soft_limit.warning",
    "entitlement.tier_limit.reached",
    "entitlement.tier_limit.warning",
    "entitlement.updated",
    "entitlements.balance.threshold",
    "entitlements.reset",
    "feature.created",
    "feature.deleted",
    "feature.updated",
    "feature.wallet_balance.alert",
    "invoice.communication.triggered",
    "invoice.created",
    "invoice.payment.overdue",
    "invoice.update",
    "invoice.update.finalized",
    "invoice.update.payment",
    "invoice.update.voided",
    "invoice.updated",
    "payment.created",
    "payment.failed",
    "payment.pending",
    "payment.success",
    "payment.updated",
    "subscription.activated",
    "subscription.cancelled",
    "subscription.created",
    "subscription.draft.created",
    "subscription.paused",
    "subscription.phase.created",
    "subscription.phase.deleted",
    "subscription.phase.updated",
    "subscription.renewal.due",
    "subscription.resumed",
    "subscription.updated",
    "wallet.created",
    "wallet.credit_balance.dropped",
    "wallet.credit_balance.recovered",
    "wallet.ongoing_balance.dropped",
    "wallet.ongoing_balance.recovered",
    "wallet.terminated",
    "wallet.transaction.created",
    "wallet.updated",
];

/// Whether there is a type of this name.
pub fn is_known(name: &str) -> bool {
    NOTIFICATION_TYPES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found() {
        assert!(NOTIFICATION_TYPES.is_sorted());
        assert!(NOTIFICATION_TYPES.iter().all(|it| is_known(it)));
        assert!(!is_known("*"));
        assert!(!is_known("entitlement"));
    }
}
