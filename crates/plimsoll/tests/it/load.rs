//! One client that sends batch after batch, each with the same ids until it is answered.

use std::io;

use crate::{
    http::Client,
    ledger::{Batch, Ledger},
    saas,
};

/// Events of one batch.
const BATCH: u64 = 500;

/// Sends usage of the customer `acme`.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) ledger: Ledger,
    sent: u64,
    unanswered: Option<Batch>,
}

/// Why a batch is not known to be stored.
#[derive(Debug)]
pub(crate) enum NotStored {
    /// 503, with this code.
    Refused(String),
    /// Nobody answered.
    NoAnswer(io::Error),
}

impl Load {
    /// Sends one batch, the one before if that was not answered.
    pub(crate) fn send(&mut self, client: &Client) -> Result<(), NotStored> {
        let batch = self.unanswered.take().unwrap_or_else(|| self.batch());
        let answer = client.send("POST", "/v1/events", &batch.body());
        match answer {
            Ok(answer) if answer.status == 200 => {
                self.ledger.note(batch, &answer.json());
                Ok(())
            }
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{}", answer.json());
                self.unanswered = Some(batch);
                Err(NotStored::Refused(saas::text(&answer.json(), "code")))
            }
            Err(error) => {
                self.unanswered = Some(batch);
                Err(NotStored::NoAnswer(error))
            }
        }
    }

    fn batch(&mut self) -> Batch {
        let mut events = Vec::new();
        for _ in 0..BATCH {
            self.sent += 1;
            events.push((format!("event-{}", self.sent), "acme".to_owned(), 1));
        }
        Batch { events }
    }
}
