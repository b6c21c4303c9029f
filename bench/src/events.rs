//! Requests full of CloudEvents, made before the measurement and renumbered in place during it.
//!
//! An event has about 240 bytes. Its id is `<run>-<sequence>-<index>`, of which only the digits
//! of the sequence change from one sending to the next: a distinct id costs a copy of eight bytes.
//!
//! Not here: who sends them (`workload`).

use plimsoll_core::time::Timestamp;

use crate::client;

/// Digits of the sequence in an id.
const SEQUENCE_DIGITS: usize = 8;
/// Stands where the sequence goes, until the first renumbering.
const SEQUENCE_MARK: &str = "########";

/// What the events of one request are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template<'a> {
    /// The API key.
    pub(crate) key: &'a str,
    /// First part of every id; distinct for each request that is kept.
    pub(crate) run: &'a str,
    /// The events' type.
    pub(crate) event_type: &'a str,
    /// The time of the first event; each is a millisecond before the one in front of it.
    pub(crate) time: Timestamp,
}

/// A request to `/v1/events`, whole, with the places that must change.
#[derive(Debug)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    sequence_offsets: Vec<usize>,
}

impl Request {
    /// One event for each `(subject, tokens)`: one alone is an object, more are an array.
    pub(crate) fn new(template: Template<'_>, usage: &[(String, u32)]) -> Self {
        let events: Vec<String> = usage
            .iter()
            .enumerate()
            .map(|(index, (subject, tokens))| event(template, index, subject, *tokens))
            .collect();
        let body = match events.as_slice() {
            [only] => only.clone(),
            several => format!("[{}]", several.join(",")),
        };
        let bytes = client::request("POST", "/v1/events", template.key, body.as_bytes());
        let mut sequence_offsets = Vec::with_capacity(usage.len());
        let mut searched = 0;
        while let Some(found) = client::find(&bytes[searched..], SEQUENCE_MARK.as_bytes()) {
            sequence_offsets.push(searched + found);
            searched += found + SEQUENCE_DIGITS;
        }
        Self { bytes, sequence_offsets }
    }

    /// Gives every event an id that it had with no other `sequence`; returns the bytes to send.
    pub(crate) fn renumber(&mut self, sequence: u32) -> &[u8] {
        let digits = format!("{:0width$}", sequence % 100_000_000, width = SEQUENCE_DIGITS);
        for offset in &self.sequence_offsets {
            self.bytes[*offset..*offset + SEQUENCE_DIGITS].copy_from_slice(digits.as_bytes());
        }
        &self.bytes
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.sequence_offsets.len()
    }

    /// Bytes of one event on average, for the report.
    pub(crate) fn bytes_per_event(&self) -> usize {
        self.bytes.len() / self.len().max(1)
    }
}

fn event(template: Template<'_>, index: usize, subject: &str, tokens: u32) -> String {
    let Template { run, event_type, .. } = template;
    // Events of one request are not of one moment.
    let time = template.time.plus_ms(-(index as i64));
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{run}-{SEQUENCE_MARK}-{index:04}\",\
         \"source\":\"bench/gateway-1\",\"type\":\"{event_type}\",\"subject\":\"{subject}\",\
         \"time\":\"{time}\",\"datacontenttype\":\"application/json\",\
         \"data\":{{\"tokens\":{tokens},\"model\":\"m-1\"}}}}"
    )
}

/// Pseudo-random numbers, the same in every run: splitmix64.
#[derive(Debug)]
pub(crate) struct Sequence(pub(crate) u64);

impl Sequence {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % u64::from(bound.max(1))) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renumbering_changes_every_id_and_nothing_else() {
        let template = Template {
            key: "k",
            run: "r1",
            event_type: "llm.request",
            time: Timestamp::from_ms(1_700_000_000_000),
        };
        let usage = vec![("customer-1".to_owned(), 7), ("customer-2".to_owned(), 8)];
        let mut request = Request::new(template, &usage);
        let first = String::from_utf8(request.renumber(1).to_vec()).unwrap();
        let second = String::from_utf8(request.renumber(2).to_vec()).unwrap();
        assert_eq!(first.matches("r1-00000001-000").count(), 2);
        assert_eq!(first.replace("-00000001-", "-00000002-"), second);
        let body = first.split_once("\r\n\r\n").unwrap().1;
        let events: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(events[1]["data"]["tokens"], 8);
        assert!((200..280).contains(&body.len().div_euclid(2)), "{}", body.len() / 2);
    }
}
