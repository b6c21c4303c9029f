//! Where entitlements of a customer stand, as the memory of their partition knows it.
//!
//! Not here: when it may be told (`owner`), what is told of it (`ops::entitlement`).

use plimsoll_core::{
    ids::{CustomerId, EntitlementId, EnvironmentId},
    state::State,
    time::Timestamp,
};

use crate::ops::port::{Standing, Standings};

/// Where these entitlements of one customer stand while the machine's clock shows `now`.
pub(super) fn standings(
    state: &State,
    (environment, customer, entitlements): (EnvironmentId, CustomerId, &[EntitlementId]),
    now: Timestamp,
) -> Standings {
    let standing = |id: &EntitlementId| {
        Some(Standing {
            value: state.value(customer, *id, now)?,
            grants: state.grant_balances(customer, *id, now)?,
            segment: state.open_segment(customer, *id, now),
        })
    };
    Standings {
        now: state.stamp(environment, now),
        entitlements: entitlements.iter().map(standing).collect(),
    }
}
