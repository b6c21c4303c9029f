//! The rules of delivering a notification to a channel: states, retries, what an answer means.
//!
//! Everything is decided here from data; the engine's `delivery` module acts on it.
//!
//! Not here: sockets, signatures, the store, and the order in which deliveries start.

pub mod outcome;
pub mod pace;
pub mod schedule;

use std::{fmt, str::FromStr};

/// Where one delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No attempt has a result yet.
    Pending,
    /// An attempt failed and another will follow.
    Sending,
    /// The receiver answered 2xx. Final.
    Success,
    /// The attempts are used up, or the channel went away. Final.
    Failed,
}

/// What can happen to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// An attempt was answered 2xx.
    Delivered,
    /// An attempt failed and the schedule has another one.
    AttemptFailed,
    /// An attempt failed and there is no further one.
    LastAttemptFailed,
    /// The channel was disabled or deleted while the delivery was open.
    ChannelClosed,
}

/// A final delivery does not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {state} cannot take {event:?}")]
pub struct IllegalTransition {
    /// The state that the delivery was in.
    pub state: State,
    /// What was to happen to it.
    pub event: Event,
}

/// The text was not the name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected PENDING, SENDING, SUCCESS or FAILED")]
pub struct InvalidState;

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Sending, Self::Success, Self::Failed];

    /// The state after `event`.
    pub const fn after(self, event: Event) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Pending | Self::Sending, Event::Delivered) => Ok(Self::Success),
            (Self::Pending | Self::Sending, Event::AttemptFailed) => Ok(Self::Sending),
            (Self::Pending | Self::Sending, Event::LastAttemptFailed | Event::ChannelClosed) => {
                Ok(Self::Failed)
            }
            (Self::Success | Self::Failed, _) => Err(IllegalTransition { state: self, event }),
        }
    }

    /// Whether nothing can happen to the delivery any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }

    /// The name in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sending => "SENDING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(InvalidState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 4] =
        [Event::Delivered, Event::AttemptFailed, Event::LastAttemptFailed, Event::ChannelClosed];

    #[test]
    fn every_pair_of_state_and_event_is_decided() {
        use State::{Failed, Pending, Sending, Success};
        // Columns in the order of EVENTS; `None` is refused.
        let table = [
            (Pending, [Some(Success), Some(Sending), Some(Failed), Some(Failed)]),
            (Sending, [Some(Success), Some(Sending), Some(Failed), Some(Failed)]),
            (Success, [None; 4]),
            (Failed, [None; 4]),
        ];
        assert_eq!(table.map(|(state, _)| state), State::ALL);
        for (state, row) in table {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                let expected = expected.ok_or(IllegalTransition { state, event });
                assert_eq!(state.after(event), expected, "{state} {event:?}");
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("pending".parse::<State>(), Err(InvalidState));
    }
}
