//! Sends the usage at the chosen speed, in batches, as a gateway would that flushes often.
//!
//! Now and then a batch is sent a second time, like a client whose first answer got lost: the
//! server must recognise every event of it.
//!
//! Not here: what the screen shows of it (`screen`), what must come of it (`recount`).

use std::{fmt::Write as _, time::Duration};

use plimsoll_core::time::Timestamp;
use plimsoll_engine::deps::Clock;

use super::{
    Failure,
    api::Api,
    scenario::{EVENT_TYPE, Scenario, Usage},
};

/// The `source` of every event.
const SOURCE: &str = "demo/gateway";
/// How long events gather before they are sent.
const FLUSH: Duration = Duration::from_millis(20);
/// Events in one request at the most.
const BATCH_MAX: usize = 500;
/// Every so many batches one is sent twice.
const REPEAT_EVERY: u64 = 20;

/// How much faster than in the trace time passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    Times(f64),
    Unlimited,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Unlimited),
            Ok(0.0) => Ok(Self::Unlimited),
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err("expected a number above 0, or max".to_owned()),
        }
    }
}

/// What has been sent and answered so far.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Events sent, repeated ones included.
    pub(super) events: u64,
    /// What the answers said.
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
    /// When the request with the event of this index began, on the demonstration's clock.
    pub(super) begun: Vec<Duration>,
}

/// The usage that is not sent yet.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    scenario: &'a Scenario,
    /// When the first event happened.
    start: Timestamp,
    speed: Speed,
    next: usize,
    batches: u64,
    pub(super) sent: Sent,
}

/// The id of the event with this index.
pub(super) fn event_id(index: usize) -> String {
    format!("request-{index:07}")
}

/// The index of the event with this id.
pub(super) fn event_index(id: &str) -> Option<usize> {
    id.strip_prefix("request-")?.parse().ok()
}

impl<'a> Replay<'a> {
    /// All usage of `scenario`, whose first event happened at `start`.
    pub(super) fn new(scenario: &'a Scenario, start: Timestamp, speed: Speed) -> Self {
        Self { scenario, start, speed, next: 0, batches: 0, sent: Sent::default() }
    }

    /// How many events are sent.
    pub(super) fn progress(&self) -> usize {
        self.next
    }

    /// Waits until something is due, sends it, and returns the events in the order in which they
    /// were sent, with an event that was sent twice in it twice. `None` when all are sent.
    pub(super) async fn step(
        &mut self,
        api: &Api,
        clock: &dyn Clock,
        elapsed: Duration,
    ) -> Result<Option<Vec<usize>>, Failure> {
        let total = self.scenario.usage.len();
        if self.next >= total {
            return Ok(None);
        }
        let due = self.due(elapsed);
        if due <= self.next {
            clock.sleep(FLUSH).await;
            return Ok(Some(Vec::new()));
        }
        let batch: Vec<usize> = (self.next..due.min(self.next + BATCH_MAX)).collect();
        self.next += batch.len();
        self.sent.begun.resize(self.next, clock.elapsed());
        let body = self.body(&batch);
        self.batches += 1;
        let mut order = batch.clone();
        if self.batches.is_multiple_of(REPEAT_EVERY) {
            self.send(api, body.clone(), batch.len()).await?;
            order.extend(&batch);
        }
        self.send(api, body, batch.len()).await?;
        if self.speed != Speed::Unlimited {
            clock.sleep(FLUSH).await;
        }
        Ok(Some(order))
    }

    /// The index after the last event that has happened when `elapsed` of the replay has passed.
    fn due(&self, elapsed: Duration) -> usize {
        let Speed::Times(times) = self.speed else { return self.scenario.usage.len() };
        let trace_ms = elapsed.mul_f64(times.min(1e9)).as_millis();
        self.scenario.usage.partition_point(|it| u128::from(offset_ms(it)) <= trace_ms)
    }

    async fn send(&mut self, api: &Api, body: String, events: usize) -> Result<(), Failure> {
        let answer = api.post_text("/v1/events", body).await?;
        let number =
            |field: &'static str| answer[field].as_u64().ok_or(Failure::MissingField { field });
        self.sent.events += events as u64;
        self.sent.accepted += number("accepted")?;
        self.sent.duplicates += number("duplicates")?;
        self.sent.rejected += answer["rejected"].as_array().map_or(0, |it| it.len() as u64);
        Ok(())
    }

    fn body(&self, batch: &[usize]) -> String {
        let mut body = String::from("[");
        for index in batch {
            let Some(usage) = self.scenario.usage.get(*index) else { continue };
            if body.len() > 1 {
                body.push(',');
            }
            self.write_event(&mut body, *index, usage);
        }
        body.push(']');
        body
    }

    fn write_event(&self, body: &mut String, index: usize, usage: &Usage) {
        let subject = self
            .scenario
            .customers
            .get(usage.customer)
            .and_then(|it| it.subjects.get(usage.subject))
            .expect("usage belongs to a customer and one of its subjects");
        let time = self.start.plus_ms(usage.request.offset_ms);
        // Keys, numbers and times need no escaping.
        write!(
            body,
            "{{\"specversion\":\"1.0\",\"id\":\"{}\",\"source\":\"{SOURCE}\",\
             \"type\":\"{EVENT_TYPE}\",\"subject\":\"{subject}\",\"time\":\"{time}\",\
             \"data\":{{\"context_tokens\":{},\"generated_tokens\":{}}}}}",
            event_id(index),
            usage.request.context_tokens,
            usage.request.generated_tokens,
        )
        .expect("writing to a String cannot fail");
    }
}

fn offset_ms(usage: &Usage) -> u64 {
    usage.request.offset_ms.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::{super::trace::Trace, *};

    #[test]
    fn speeds() {
        let cases = [
            ("200", Some(Speed::Times(200.0))),
            ("0.5", Some(Speed::Times(0.5))),
            ("0", Some(Speed::Unlimited)),
            ("max", Some(Speed::Unlimited)),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("fast", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_due_follows_the_speed() {
        let scenario = Scenario::new(&Trace::generate(1), 1);
        let replay = |speed| Replay::new(&scenario, Timestamp::from_ms(0), speed);
        let at = |seconds| Duration::from_secs(seconds);
        let twice = replay(Speed::Times(2.0));
        let expected = scenario.usage.iter().filter(|it| it.request.offset_ms <= 20_000).count();
        assert_eq!(twice.due(at(10)), expected);
        assert_eq!(twice.due(at(100_000)), scenario.usage.len());
        assert_eq!(replay(Speed::Unlimited).due(at(0)), scenario.usage.len());
    }

    #[test]
    fn a_batch_is_an_array_of_cloud_events() {
        let scenario = Scenario::new(&Trace::generate(1), 1);
        let replay = Replay::new(&scenario, Timestamp::from_ms(0), Speed::Unlimited);
        let events: serde_json::Value = serde_json::from_str(&replay.body(&[0, 7])).unwrap();
        assert_eq!(events.as_array().unwrap().len(), 2);
        assert_eq!(event_index(events[1]["id"].as_str().unwrap()), Some(7));
        let tokens = scenario.usage[7].request.context_tokens;
        assert_eq!(events[1]["data"]["context_tokens"], tokens);
        assert_eq!(events[0]["time"], "1970-01-01T00:00:00Z");
    }
}
