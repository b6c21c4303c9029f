//! What the control plane needs from the rest of the engine, as ports.
//!
//! The partitions implement [`PartitionPort`], the dispatcher [`RedeliveryPort`]. Tests put simple
//! stand-ins in their place.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use plimsoll_core::{
    archive::Segment,
    command::{ControlCommand, CustomerCommand},
    entitlement::EntitlementValue,
    ids::{CustomerId, EntitlementId, EnvironmentId, MeterId},
    state::GrantBalance,
    time::Timestamp,
};
use plimsoll_store::{Refusal, Statement, delivery::DeliveryRow};

/// The stored document of an entitlement as it is at a time, if that is not as it is stored.
/// Notifications show it.
pub(crate) use crate::ops::entitlement::document_at as entitlement_at;

use crate::delivery::dispatcher::{DispatcherHandle, Outbound};

/// The owners of the partitions.
#[async_trait]
pub trait PartitionPort: Send + Sync + Debug {
    /// Changes one customer: its commands go onto the log of its partition, and the statements
    /// are executed, in one transaction. When it is `Ok`, the change is durable.
    async fn change(&self, change: CustomerChange) -> Result<(), ChangeError>;

    /// Changes what all partitions depend on: the command (if the partitions need to know) gets
    /// the next control sequence, and the statements are executed, in one transaction. Usage that
    /// is accepted after the `Ok` sees the change.
    async fn control(
        &self,
        command: Option<ControlCommand>,
        statements: Vec<Statement>,
    ) -> Result<(), ChangeError>;

    /// What the environment's clock shows, and where these entitlements of one customer stand.
    async fn standings(
        &self,
        environment: EnvironmentId,
        customer: CustomerId,
        entitlements: Vec<EntitlementId>,
    ) -> Result<Standings, ValueError>;

    /// Whether any usage of the customer was accepted within the dedupe window.
    async fn has_usage(
        &self,
        environment: EnvironmentId,
        customer: CustomerId,
    ) -> Result<bool, ValueError>;

    /// Waits until everything that is due in an environment whose clock was set has happened.
    async fn settle(&self, environment: EnvironmentId) -> Result<(), ValueError>;
}

/// Where entitlements of one customer stand at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standings {
    /// What the environment's clock shows.
    pub now: Timestamp,
    /// In the order in which they were asked for; nothing where the partition knows no metered
    /// entitlement of that id.
    pub entitlements: Vec<Option<Standing>>,
}

/// Where one metered entitlement stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its value.
    pub value: EntitlementValue,
    /// Its grants that have not ended, in the order in which they burn.
    pub grants: Vec<GrantBalance>,
    /// The stretch of burning that goes on, of one with grants.
    pub segment: Option<Segment>,
}

/// A change of one customer.
#[derive(Debug)]
pub struct CustomerChange {
    /// Whose clock stamps it.
    pub environment: EnvironmentId,
    /// Which customer.
    pub customer: CustomerId,
    /// What it means to the core, in order.
    pub commands: Vec<CustomerCommand>,
    /// The rows that go with it.
    pub statements: Vec<Statement>,
    /// The documents that notifications show from now on, by the id of their resource.
    pub documents: Vec<(String, Bytes)>,
    /// The entitlement that is made counts what this meter measured in the period so far.
    pub opening: Option<MeterId>,
}

/// Why a change was not, or not for certain, made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A statement was refused. Nothing was written; that is certain.
    #[error("statement {statement} was refused: {refusal}")]
    Refused {
        /// The name of the statement.
        statement: &'static str,
        /// Why.
        refusal: Refusal,
    },
    /// What was used before does not add up to a number. Nothing was written; that is certain.
    #[error("what was used before cannot be measured: {reason}")]
    NotMeasurable {
        /// The reason, as of an event that cannot be counted.
        reason: &'static str,
    },
    /// The clock would go back where something has happened. Nothing was written; that is certain.
    #[error("the clock of an environment in which something has happened does not go back")]
    ClockBackwards,
    /// As much waits as may wait. Nothing was written; that is certain.
    #[error("too many changes are waiting")]
    Busy,
    /// The change cannot be made now. Nothing was written; that is certain.
    #[error("the change cannot be made now: {detail}")]
    Unavailable {
        /// What is missing.
        detail: String,
    },
    /// Everything was written, or nothing: it is not known.
    #[error("it is not known whether the change was made: {detail}")]
    Unknown {
        /// What happened.
        detail: String,
    },
}

/// Why a partition gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// As much waits as may wait.
    #[error("too many requests are waiting")]
    Busy,
    /// The partition cannot answer now.
    #[error("the partition cannot answer now: {detail}")]
    Unavailable {
        /// What is missing.
        detail: String,
    },
}

/// The dispatcher, as far as deliveries made by hand are concerned.
pub trait RedeliveryPort: Send + Sync + Debug {
    /// Hands over a committed delivery with the frozen body of its notification. Never blocks; what
    /// does not fit is found in the store later.
    fn offer(&self, delivery: DeliveryRow, body: Bytes);
}

impl RedeliveryPort for DispatcherHandle {
    fn offer(&self, delivery: DeliveryRow, body: Bytes) {
        Self::offer(
            self,
            vec![Outbound {
                delivery: delivery.id,
                notification: delivery.notification,
                channel: delivery.channel,
                customer: delivery.customer,
                ordinal: delivery.ordinal,
                body,
            }],
        );
    }
}
