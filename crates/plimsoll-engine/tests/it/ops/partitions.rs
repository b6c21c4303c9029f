//! Stand-ins for the partitions and the dispatcher: they commit what they are given and remember
//! what they were told. A test can make the next change fail, or wait.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use plimsoll_core::{
    command::{ControlCommand, CustomerCommand},
    entitlement::EntitlementValue,
    ids::{CustomerId, EntitlementId, EnvironmentId},
    time::Timestamp,
};
use plimsoll_engine::{
    deps::Clock,
    ops::port::{
        ChangeError, CustomerChange, PartitionPort, RedeliveryPort, Standing, Standings, ValueError,
    },
    reads::usage::open::{CellsWanted, NotNow, OpenCells, OpenScope},
};
use plimsoll_store::{Batch, CommitError, Lane, Statement, Store, control, delivery::DeliveryRow};
use tokio::sync::Notify;

/// What becomes of the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written.
    Unavailable,
    /// Nothing is written, and nobody knows.
    UnknownLost,
    /// Everything is written, and nobody knows.
    UnknownWritten,
}

#[derive(Debug)]
pub(super) struct Partitions {
    pub(super) store: Arc<dyn Store>,
    pub(super) control: Mutex<Vec<ControlCommand>>,
    pub(super) customers: Mutex<Vec<CustomerCommand>>,
    /// What the clock of every environment shows.
    pub(super) clock: Arc<dyn Clock>,
    pub(super) values: Mutex<HashMap<EntitlementId, EntitlementValue>>,
    /// Customers that have sent usage.
    pub(super) used: Mutex<HashSet<CustomerId>>,
    pub(super) fault: Mutex<Option<Fault>>,
    /// While set, a change waits for the notification before it commits.
    pub(super) gate: Mutex<Option<Arc<Notify>>>,
}

impl Partitions {
    pub(super) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            control: Mutex::default(),
            customers: Mutex::default(),
            values: Mutex::default(),
            used: Mutex::default(),
            fault: Mutex::default(),
            gate: Mutex::default(),
        }
    }

    async fn commit(&self, lane: Lane, statements: Vec<Statement>) -> Result<(), ChangeError> {
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        let fault = self.fault.lock().unwrap().take();
        let detail = "injected".to_owned();
        match fault {
            Some(Fault::Unavailable) => return Err(ChangeError::Unavailable { detail }),
            Some(Fault::UnknownLost) => return Err(ChangeError::Unknown { detail }),
            Some(Fault::UnknownWritten) | None => {}
        }
        match self.store.commit(Batch::new(lane, statements)).await {
            Ok(_) if fault.is_some() => Err(ChangeError::Unknown { detail }),
            Ok(_) => Ok(()),
            Err(CommitError::Refused { statement, refusal }) => {
                Err(ChangeError::Refused { statement, refusal })
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[async_trait]
impl PartitionPort for Partitions {
    async fn change(&self, change: CustomerChange) -> Result<(), ChangeError> {
        self.commit(Lane::Log, change.statements).await?;
        self.customers.lock().unwrap().extend(change.commands);
        Ok(())
    }

    async fn control(
        &self,
        command: Option<ControlCommand>,
        mut statements: Vec<Statement>,
    ) -> Result<(), ChangeError> {
        if let Some(command) = &command {
            let at = Timestamp::from_ms(0);
            statements.extend(control::append(at, command.encode().into()));
        }
        self.commit(Lane::Control, statements).await?;
        self.control.lock().unwrap().extend(command);
        Ok(())
    }

    async fn standings(
        &self,
        _environment: EnvironmentId,
        _customer: CustomerId,
        entitlements: Vec<EntitlementId>,
    ) -> Result<Standings, ValueError> {
        let values = self.values.lock().unwrap();
        let standing = |it: &EntitlementId| {
            let value = values.get(it).copied()?;
            Some(Standing { value, grants: Vec::new(), segment: None })
        };
        let entitlements = entitlements.iter().map(standing).collect();
        Ok(Standings { now: self.clock.now(), entitlements })
    }

    async fn has_usage(
        &self,
        _environment: EnvironmentId,
        customer: CustomerId,
    ) -> Result<bool, ValueError> {
        Ok(self.used.lock().unwrap().contains(&customer))
    }

    async fn settle(&self, _environment: EnvironmentId) -> Result<(), ValueError> {
        Ok(())
    }
}

/// One partition that has measured nothing yet.
#[async_trait]
impl OpenCells for Partitions {
    fn partitions(&self) -> usize {
        1
    }

    fn partition_of(&self, _customer: CustomerId) -> usize {
        0
    }

    async fn clock(
        &self,
        _partition: usize,
        _environment: EnvironmentId,
    ) -> Result<Timestamp, NotNow> {
        Ok(Timestamp::from_ms(0))
    }

    async fn open(&self, _: usize, _: CellsWanted) -> Result<Vec<OpenScope>, NotNow> {
        Ok(Vec::new())
    }
}

#[derive(Debug, Default)]
pub(super) struct Offered(pub(super) Mutex<Vec<(DeliveryRow, Bytes)>>);

impl RedeliveryPort for Offered {
    fn offer(&self, delivery: DeliveryRow, body: Bytes) {
        self.0.lock().unwrap().push((delivery, body));
    }
}
