//! Whether a lane's channel takes deliveries, and what becomes of them if it does not.
//!
//! The open deliveries of a channel that is disabled or deleted fail. The registry is told of a
//! channel a moment after the commit that made or enabled it, so a lane that was offered something
//! for a closed channel waits a little before it believes that.
//!
//! Not here: disabling a channel (`ops`).

use std::{sync::Arc, time::Duration};

use plimsoll_store::{Batch, Lane as StoreLane, delivery};

use super::{Event, Lane, request::Prepared};

/// How long after an offer the registry may still learn that the channel takes deliveries.
const REGISTRY_LAG_US: u64 = 1_000_000;
/// Deliveries of a closed channel that one transaction fails.
const SWEEP_DELIVERIES: u32 = 1_000;
/// Wait after deliveries could not be failed.
const SWEEP_RETRY: Duration = Duration::from_secs(1);
/// What the deliveries of a closed channel show.
const CHANNEL_DISABLED: &str = "channel_disabled";

/// Whether the channel takes deliveries.
pub(super) enum Door {
    /// The channel is not known yet; after this time it never will be.
    Unknown { until_us: u64 },
    /// It takes deliveries.
    Open(Prepared),
    /// It is disabled or gone: its open deliveries fail.
    Closed {
        /// From this time on deliveries in the store are to be failed; `None` if there are none.
        sweep_at_us: Option<u64>,
        /// They are being failed.
        is_sweeping: bool,
    },
}

impl Door {
    /// The door of a lane that starts now.
    pub(super) fn unknown(now_us: u64) -> Self {
        Self::Unknown { until_us: now_us + REGISTRY_LAG_US }
    }
}

impl Lane {
    /// Looks whether the channel has changed, and fails what is open if it is closed.
    pub(super) fn look_at_door(&mut self) {
        let now_us = self.now_us();
        let channel = self.shared.channels.get(self.id).filter(|it| !it.disabled);
        match (&self.door, channel) {
            (Door::Open(known), Some(now)) if Arc::ptr_eq(&known.channel, &now) => {}
            // What is being failed was open before; let that end before anything new comes.
            (Door::Closed { is_sweeping: true, .. }, _) => {}
            (_, Some(channel)) => {
                self.pace.set_rate_limit(channel.rate_limit);
                self.drop_wires();
                match Prepared::new(channel) {
                    Ok(prepared) => self.open_door(prepared),
                    Err(error) => {
                        tracing::error!(channel = %self.id, %error, "the channel cannot be used");
                        self.close_door(now_us);
                    }
                }
            }
            (Door::Unknown { until_us }, None) if now_us < *until_us => {}
            (_, None) => self.close_door(now_us),
        }
        self.sweep_if_due(now_us);
    }

    /// When the door is to be looked at again, for the timer.
    pub(super) fn next_look_us(&self) -> Option<u64> {
        match &self.door {
            Door::Unknown { until_us } => Some(*until_us),
            Door::Closed { sweep_at_us, is_sweeping: false } => *sweep_at_us,
            Door::Open(_) | Door::Closed { is_sweeping: true, .. } => None,
        }
    }

    /// Whether the door is closed; then what was offered, or found in the store, fails soon.
    pub(super) fn turn_away(&mut self) -> bool {
        let at_us = self.now_us() + REGISTRY_LAG_US;
        let Door::Closed { sweep_at_us, .. } = &mut self.door else { return false };
        sweep_at_us.get_or_insert(at_us);
        true
    }

    /// Notes that the open deliveries have been failed, or not.
    pub(super) fn swept(&mut self, result: Result<(), ()>) {
        let now_us = self.now_us();
        if let Door::Closed { sweep_at_us, is_sweeping } = &mut self.door {
            *is_sweeping = false;
            if result.is_err() {
                *sweep_at_us = Some(now_us);
            }
        }
    }

    fn open_door(&mut self, prepared: Prepared) {
        if matches!(self.door, Door::Closed { .. }) {
            self.backlog.is_behind_again();
        }
        self.door = Door::Open(prepared);
    }

    fn close_door(&mut self, now_us: u64) {
        if matches!(self.door, Door::Closed { .. }) {
            return;
        }
        let ready = self.ready.clear();
        self.let_go(ready);
        self.drop_wires();
        self.door = Door::Closed { sweep_at_us: Some(now_us), is_sweeping: false };
    }

    /// Fails the open deliveries of a closed channel.
    fn sweep_if_due(&mut self, now_us: u64) {
        let Door::Closed { sweep_at_us, is_sweeping } = &mut self.door else { return };
        if *is_sweeping || sweep_at_us.is_none_or(|it| it > now_us) {
            return;
        }
        *sweep_at_us = None;
        *is_sweeping = true;
        let deps = self.shared.deps.clone();
        let channel = self.id;
        self.work.push(Box::pin(async move {
            loop {
                let now = deps.clock.now();
                let fail = delivery::fail_open(channel, CHANNEL_DISABLED, now, SWEEP_DELIVERIES);
                let batch = Batch::new(StoreLane::Attempts, vec![fail]);
                match deps.store.commit(batch).await {
                    Ok(rows) if rows[0].len() == SWEEP_DELIVERIES as usize => {}
                    Ok(_) => return Event::Swept(Ok(())),
                    Err(error) => {
                        tracing::warn!(%channel, %error, "deliveries cannot be failed");
                        deps.clock.sleep(SWEEP_RETRY).await;
                        return Event::Swept(Err(()));
                    }
                }
            }
        }));
    }
}
