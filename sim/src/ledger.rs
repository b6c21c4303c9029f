//! What clients sent and what they were told: the other side of the log.
//!
//! An event that was acknowledged must be in the log once, one that was not may be there once or
//! not at all. What an answer may say follows from what was known when the request was sent.
//!
//! Not here: making requests (`world`), reading the log (`check`).

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::limits;
use plimsoll_engine::ingest::Answer;
use serde_json::{Value, json};

/// Younger events than this may be sent again: well inside the dedupe window, which is kept in days
/// and ends by a clock that jumps.
const RESEND_WITHIN_MS: i64 = limits::DEDUPE_WINDOW_MS - 3 * 24 * 60 * 60 * 1000;

/// What makes an event this event, as its sender sees it.
pub type EventKey = (String, String);

/// An event as it is sent.
#[derive(Debug, Clone)]
pub struct Event {
    /// Whose.
    pub subject: String,
    /// Its id.
    pub id: String,
    /// Its type.
    pub event_type: String,
    /// What it carries.
    pub data: Value,
    /// The time that it names.
    pub time_ms: Option<i64>,
}

impl Event {
    /// What makes it this event.
    pub fn key(&self) -> EventKey {
        (self.subject.clone(), self.id.clone())
    }

    /// As CloudEvents has it.
    pub fn to_json(&self) -> Value {
        let mut json = json!({"specversion": "1.0", "id": self.id, "source": "sim",
            "type": self.event_type, "subject": self.subject, "data": self.data});
        if let Some(ms) = self.time_ms {
            let time = plimsoll_core::time::Timestamp::from_ms(ms);
            json["time"] = Value::String(time.to_string());
        }
        json
    }

    /// Whether its time is one that is rejected, where the environment's clock shows something from
    /// `least` to `most`; nothing if that depends.
    fn is_out_of_time(&self, (least, most): (i64, i64)) -> Option<bool> {
        let Some(time) = self.time_ms else { return Some(false) };
        let accepted = time - limits::EVENT_TIME_AHEAD_MS..=time + limits::DEDUPE_WINDOW_MS;
        let (first, last) = (accepted.contains(&least), accepted.contains(&most));
        let is_apart = most < *accepted.start() || *accepted.end() < least;
        if first && last { Some(false) } else { is_apart.then_some(true) }
    }
}

#[derive(Debug)]
struct Sent {
    event: Event,
    is_acknowledged: bool,
    /// Something was said about it, be it that it is rejected.
    is_answered: bool,
    /// It was sent more than once before anything was known about it.
    is_contested: bool,
    /// The latest time of day up to its sending.
    sent_ms: i64,
}

/// Everything that was sent.
#[derive(Debug, Default)]
pub struct Ledger {
    sent: BTreeMap<EventKey, Sent>,
    /// Subjects whose customer may have been deleted.
    doomed: BTreeSet<String>,
    /// The latest time of day that there was.
    latest_ms: i64,
}

/// A request on its way, and what may be answered.
#[derive(Debug)]
pub struct Request {
    events: Vec<Event>,
    /// Indexes that must be rejected for their time.
    out_of_time: BTreeSet<u32>,
    /// Indexes that may be: the clock is being moved.
    doubtful: BTreeSet<u32>,
    /// Events that nobody had sent before.
    fresh: Vec<EventKey>,
    /// Events of which nobody knew whether they were accepted.
    unknown: u64,
}

impl Request {
    /// The body.
    pub fn body(&self) -> Value {
        self.events.iter().map(Event::to_json).collect()
    }
}

impl Ledger {
    /// The time of day is `now`.
    pub fn see_time(&mut self, now_ms: i64) {
        self.latest_ms = self.latest_ms.max(now_ms);
    }

    /// The latest time of day that there was.
    pub fn latest_ms(&self) -> i64 {
        self.latest_ms
    }

    /// The customer of these subjects may be deleted from now on.
    pub fn doom(&mut self, subjects: impl IntoIterator<Item = String>) {
        self.doomed.extend(subjects);
    }

    /// Notes that these events are sent now, where the environment's clock shows something between
    /// these two.
    pub fn send(&mut self, events: Vec<Event>, now_ms: i64, clock: (i64, i64)) -> Request {
        self.see_time(now_ms);
        let (mut fresh, mut unknown, mut out_of_time) = (Vec::new(), 0, BTreeSet::new());
        let (mut in_batch, mut doubtful) = (BTreeSet::new(), BTreeSet::new());
        for (index, event) in events.iter().enumerate() {
            match event.is_out_of_time(clock) {
                Some(false) => {}
                Some(true) => {
                    out_of_time.insert(index as u32);
                    continue;
                }
                None => drop(doubtful.insert(index as u32)),
            }
            if !in_batch.insert(event.key()) {
                continue;
            }
            match self.sent.get_mut(&event.key()) {
                None => fresh.push(event.key()),
                Some(sent) if !sent.is_acknowledged => {
                    sent.is_contested = true;
                    unknown += 1;
                }
                Some(_) => {}
            }
        }
        for event in &events {
            let sent_ms = self.latest_ms;
            let sent = || Sent {
                event: event.clone(),
                is_acknowledged: false,
                is_answered: false,
                is_contested: false,
                sent_ms,
            };
            self.sent.entry(event.key()).or_insert_with(sent);
        }
        Request { events, out_of_time, doubtful, fresh, unknown }
    }

    /// Takes an answer in, or says what is wrong with it.
    pub fn answered(&mut self, request: &Request, answer: &Answer) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {answer:?} to {request:?}"));
        let rejected: BTreeSet<u32> = answer.rejected.iter().map(|it| it.index).collect();
        if !rejected.is_superset(&request.out_of_time) {
            return wrong("an event out of its time was not rejected");
        }
        let of = |index: &u32| request.events.get(*index as usize);
        let gone: Vec<u32> = rejected.difference(&request.out_of_time).copied().collect();
        let may_be_gone = |it: &u32| {
            request.doubtful.contains(it)
                || of(it).is_some_and(|it| self.doomed.contains(&it.subject))
        };
        if !gone.iter().all(may_be_gone) {
            return wrong("an event was rejected without a reason");
        }
        let counted = answer.accepted + answer.duplicates + rejected.len() as u64;
        if counted != request.events.len() as u64 {
            return wrong("the answer does not add up");
        }
        let is_contested = |it: &EventKey| self.sent.get(it).is_some_and(|it| it.is_contested);
        let fresh = request.fresh.len() as u64;
        let certain = request.fresh.iter().filter(|it| !is_contested(it)).count() as u64;
        let may_be = certain.saturating_sub(gone.len() as u64)..=fresh + request.unknown;
        if !may_be.contains(&answer.accepted) {
            return wrong("an event was taken for a duplicate, or a duplicate was accepted");
        }
        for (index, event) in request.events.iter().enumerate() {
            if let Some(sent) = self.sent.get_mut(&event.key()) {
                sent.is_answered = true;
                sent.is_acknowledged |= !rejected.contains(&(index as u32));
            }
        }
        Ok(())
    }

    /// Events that may be sent again: acknowledged ones, or those of which nothing is known.
    pub fn again(&self, acknowledged: bool) -> Vec<Event> {
        let all = self.sent.values().filter(|it| self.is_young(it));
        all.filter(|it| it.is_acknowledged == acknowledged).map(|it| it.event.clone()).collect()
    }

    /// Whether any usage was acknowledged.
    pub fn has_acknowledged(&self) -> bool {
        self.sent.values().any(|it| it.is_acknowledged)
    }

    /// Events of which nothing was ever said, and that may be sent again.
    pub fn unanswered(&self) -> Vec<Event> {
        let all = self.sent.values().filter(|it| self.is_young(it) && !it.is_answered);
        all.map(|it| it.event.clone()).collect()
    }

    fn is_young(&self, sent: &Sent) -> bool {
        self.latest_ms - sent.sent_ms < RESEND_WITHIN_MS
    }

    /// Compares with how often each event is in the log.
    pub fn compare(&self, logged: &BTreeMap<EventKey, u32>) -> Vec<String> {
        let mut findings = Vec::new();
        for (key, count) in logged {
            if !self.sent.contains_key(key) {
                findings.push(format!("event {key:?} is in the log and nobody sent it"));
            } else if *count > 1 {
                findings.push(format!("event {key:?} is in the log {count} times"));
            }
        }
        for (key, _) in self.sent.iter().filter(|(_, it)| it.is_acknowledged) {
            if !logged.contains_key(key) {
                findings.push(format!("event {key:?} was acknowledged and is not in the log"));
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_engine::ingest::Rejected;

    use super::*;

    const NOW_MS: i64 = 1_773_144_000_000;

    fn event(id: &str, time_ms: Option<i64>) -> Event {
        let (subject, event_type) = ("a".to_owned(), "t".to_owned());
        Event { subject, id: id.to_owned(), event_type, data: json!({"tokens": 1}), time_ms }
    }

    fn answer(accepted: u64, duplicates: u64, rejected: &[u32]) -> Answer {
        let rejected = rejected.iter().map(|it| Rejected {
            index: *it,
            code: "code".into(),
            detail: String::new(),
        });
        Answer { accepted, duplicates, rejected: rejected.collect() }
    }

    #[test]
    fn an_answer_says_what_can_be() {
        let mut ledger = Ledger::default();
        let first = ledger.send(vec![event("1", None), event("1", None)], NOW_MS, (NOW_MS, NOW_MS));
        assert!(ledger.answered(&first, &answer(2, 0, &[])).is_err(), "one of them is a duplicate");
        assert!(ledger.answered(&first, &answer(1, 0, &[])).is_err(), "it does not add up");
        assert!(ledger.answered(&first, &answer(1, 0, &[1])).is_err(), "rejected for no reason");
        assert_eq!(ledger.answered(&first, &answer(1, 1, &[])), Ok(()));
        let again = ledger.send(vec![event("1", None)], NOW_MS, (NOW_MS, NOW_MS));
        assert!(ledger.answered(&again, &answer(1, 0, &[])).is_err(), "accepted twice");
        assert_eq!(ledger.answered(&again, &answer(0, 1, &[])), Ok(()));

        let lost = ledger.send(vec![event("2", None)], NOW_MS, (NOW_MS, NOW_MS));
        drop(lost);
        let resent =
            ledger.send(vec![event("2", None), event("3", None)], NOW_MS, (NOW_MS, NOW_MS));
        assert!(
            ledger.answered(&resent, &answer(0, 2, &[])).is_err(),
            "nobody had sent the second"
        );
        assert_eq!(ledger.answered(&resent, &answer(1, 1, &[])), Ok(()));

        let ahead =
            ledger.send(vec![event("4", Some(NOW_MS + 3_600_001))], NOW_MS, (NOW_MS, NOW_MS));
        assert!(ledger.answered(&ahead, &answer(1, 0, &[])).is_err(), "from the future");
        assert_eq!(ledger.answered(&ahead, &answer(0, 0, &[0])), Ok(()));
        assert!(ledger.unanswered().is_empty());
    }

    #[test]
    fn what_was_acknowledged_is_in_the_log_once() {
        let mut ledger = Ledger::default();
        let request = ledger.send(vec![event("1", None)], NOW_MS, (NOW_MS, NOW_MS));
        let key = |id: &str| ("a".to_owned(), id.to_owned());
        let once = BTreeMap::from([(key("1"), 1)]);
        assert_eq!((ledger.compare(&once).len(), ledger.compare(&BTreeMap::new()).len()), (0, 0));
        assert_eq!(ledger.answered(&request, &answer(1, 0, &[])), Ok(()));
        assert_eq!(ledger.compare(&once), Vec::<String>::new());
        for logged in [vec![], vec![(key("1"), 2)], vec![(key("1"), 1), (key("2"), 1)]] {
            assert_eq!(
                ledger.compare(&logged.clone().into_iter().collect()).len(),
                1,
                "{logged:?}"
            );
        }
    }
}
