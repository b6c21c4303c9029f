//! How a ledger says what stands where and what has happened.

use std::fmt::Write as _;

use super::Ledger;
use crate::{
    effect::{Effect, Reset},
    entitlement::EntitlementValue,
    line::{Line, LineKind},
};

impl Ledger {
    /// `name balance` of each grant that has not ended, in the order in which they burn.
    pub(super) fn balances(&self, customer: &str, feature: &str) -> String {
        let entitlement = self.entitlements[&(customer.to_owned(), feature.to_owned())];
        let customer = self.customers[customer];
        let balances = self.state.grant_balances(customer, entitlement, self.clock).unwrap();
        let shown = balances.iter().map(|it| {
            let name = self.grants.iter().find(|(_, id)| **id == it.grant).unwrap().0;
            format!("{name} {}{}", it.balance, if it.is_active { "" } else { " waits" })
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// `used/overage` of each segment that has ended.
    pub(super) fn segments(&self, customer: &str, feature: &str) -> String {
        let entitlement = self.entitlements[&(customer.to_owned(), feature.to_owned())];
        let own = self.archive.segments.iter().filter(|((owner, _), _)| *owner == entitlement);
        let shown = own.map(|(_, it)| format!("{}/{}", it.usage, it.overage));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// What each grant gave in the segments that have ended, of those that gave anything.
    pub(super) fn burned(&self, customer: &str, feature: &str) -> String {
        let entitlement = self.entitlements[&(customer.to_owned(), feature.to_owned())];
        let own = self.archive.segments.iter().filter(|((owner, _), _)| *owner == entitlement);
        let shown =
            own.flat_map(|(_, it)| &it.burned).filter(|it| !it.burned.is_zero()).map(|it| {
                let own = self.grants.iter().find(|(_, id)| Some(**id) == it.grant);
                format!("{} {}", own.map_or("limit", |(name, _)| name), it.burned)
            });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// `used/limit from start` of each closed window.
    pub(super) fn closed(&self, customer: &str, feature: &str) -> String {
        let entitlement = self.entitlements[&(customer.to_owned(), feature.to_owned())];
        let own = self.archive.windows.iter().filter(|((owner, _), _)| *owner == entitlement);
        let shown = own.map(|((_, from), it)| {
            let value = it.value();
            let limit = value.limit.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
            format!("{}/{limit} from {from}", value.usage)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// `usage/limit` of each metered entitlement, named where there are several.
    pub(super) fn values(&self, customer: &str) -> String {
        let id = self.customers[customer];
        let own = self.entitlements.iter().filter(|((owner, _), _)| owner == customer);
        let values: Vec<(&str, String)> = own
            .filter_map(|((_, feature), entitlement)| {
                let value = self.state.value(id, *entitlement, self.clock)?;
                let limit = value.limit.or(value.soft_limit);
                let limit = limit.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
                Some((feature.as_str(), format!("{}/{limit}", value.usage)))
            })
            .collect();
        match values.as_slice() {
            [] => "no value".to_owned(),
            [(_, value)] => value.clone(),
            several => {
                let named = several.iter().map(|(feature, value)| format!("{feature} {value}"));
                named.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// `reset 90/100 to 0/100 skipped 2 (period)`.
    fn show_reset(&self, reset: &Reset) -> String {
        let value = |it: &EntitlementValue| {
            let limit = it.limit.or(it.soft_limit);
            let limit = limit.map_or_else(|| "unlimited".to_owned(), |it| it.to_string());
            format!("{}/{limit}", it.usage)
        };
        let mut text = String::new();
        if self.customers.len() > 1 {
            let name = self.customers.iter().find(|(_, id)| **id == reset.customer).unwrap().0;
            write!(text, "{name} ").unwrap();
        }
        write!(text, "reset {} to {}", value(&reset.closed), value(&reset.opened)).unwrap();
        if reset.skipped > 0 {
            write!(text, " skipped {}", reset.skipped).unwrap();
        }
        write!(text, " ({})", reset.cause.name()).unwrap();
        text
    }

    /// `warn:80% crossed (usage)`, with the customer and feature where there are several.
    pub(super) fn show(&self, effect: &Effect) -> Option<String> {
        let crossing = match effect {
            Effect::Uncounted { reason, .. } => {
                return Some(format!("uncounted {}", reason.code()));
            }
            Effect::Reset(reset) => return self.shows_resets.then(|| self.show_reset(reset)),
            Effect::Crossing(crossing) => crossing,
        };
        let mut text = String::new();
        if self.customers.len() > 1 {
            let name = self.customers.iter().find(|(_, id)| **id == crossing.customer).unwrap().0;
            write!(text, "{name} ").unwrap();
        }
        if self.features.len() > 1 {
            let name = self.features.iter().find(|(_, id)| **id == crossing.feature).unwrap().0;
            write!(text, "{name} ").unwrap();
        }
        let Line { kind, value, .. } = crossing.line;
        let mut line = match kind {
            LineKind::UsagePercentage => format!("{value}%"),
            LineKind::UsageValue => value.to_string(),
            LineKind::BalanceValue => format!("left:{value}"),
            LineKind::BalancePercentage => format!("left:{value}%"),
            LineKind::Every => format!("every:{value}"),
            LineKind::Limit => format!("limit:{value}"),
            LineKind::SoftLimit => format!("soft:{value}"),
            LineKind::TierLimit => format!("tier:{value}"),
        };
        let identity = &crossing.identity;
        if let Some(step) = identity.step {
            write!(line, "#{step}").unwrap();
        }
        if kind == LineKind::Every {
            write!(line, "x{}", crossing.count).unwrap();
        }
        if let Some(group) = &identity.group {
            write!(line, "@{group}").unwrap();
        }
        if crossing.late {
            line.push_str(" late");
        }
        let (rule, edge) = (&self.rule_names[&crossing.rule.id], crossing.identity.edge.name());
        write!(text, "{rule}:{line} {edge} ({})", crossing.cause.name()).unwrap();
        if let Some(suppression) = crossing.suppression {
            write!(text, " unsent: {}", suppression.code()).unwrap();
        }
        Some(text)
    }
}
