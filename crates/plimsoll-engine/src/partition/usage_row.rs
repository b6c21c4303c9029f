//! Usage events on their way to the log, and the bytes of a usage row.
//!
//! A row holds, for each accepted event, whose it is, its effective time and its raw JSON; the
//! whole is compressed with LZ4. Replay needs nothing else: no subject map, no dedupe index.

use std::borrow::Cow;

use bytes::Bytes;
use plimsoll_core::{
    codec::{Corrupt, Reader, Writer},
    ids::{CustomerId, EnvironmentId},
    time::Timestamp,
};

use crate::ingest::{
    event::{self, Event},
    json::{Kind, Scanner, Value},
};

/// The codec of a payload: LZ4 block with its size in front. Stored: never reused.
pub(super) const CODEC_LZ4: u32 = 1;
/// The codec of a payload that is as the core wrote it.
pub(super) const CODEC_PLAIN: u32 = 0;

/// A piece of a text, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` stands in `whole`. `part` must be a slice of `whole`.
    fn of(whole: &str, part: &str) -> Self {
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }

    fn of_text(self, whole: &str) -> &str {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One event of a request, read and resolved, for the owner of its customer's partition.
#[derive(Debug, Clone)]
pub struct IncomingEvent {
    /// Its place in the request.
    pub index: u32,
    /// Whose it is.
    pub customer: CustomerId,
    /// Keyed hash of customer, source and id: what makes it this event.
    pub identity: u128,
    /// Its own time, if it names one.
    pub time: Option<Timestamp>,
    /// The event inside the request's body.
    raw: Span,
    /// The quoted `type`.
    event_type: Span,
    data: Option<(Span, Kind)>,
}

impl IncomingEvent {
    /// Remembers where the parts of `event` stand in `body`.
    pub fn new(
        body: &str,
        index: u32,
        customer: CustomerId,
        identity: u128,
        event: &Event<'_>,
    ) -> Self {
        Self {
            index,
            customer,
            identity,
            time: event.time,
            raw: Span::of(body, event.raw),
            event_type: Span::of(body, event.event_type_raw),
            data: event.data.map(|it| (Span::of(body, it.raw), it.kind)),
        }
    }

    /// The event as it was written.
    pub fn raw<'a>(&self, body: &'a str) -> &'a str {
        self.raw.of_text(body)
    }

    /// The event's `type` with its quotes, to be compared before it is decoded.
    pub fn quoted_type<'a>(&self, body: &'a str) -> &'a str {
        self.event_type.of_text(body)
    }

    /// The event's `data`.
    pub fn data<'a>(&self, body: &'a str) -> Option<Value<'a>> {
        self.data.map(|(span, kind)| Value { raw: span.of_text(body), kind })
    }
}

/// Decodes a quoted string that has been scanned before.
pub(super) fn unquoted(quoted: &str) -> Cow<'_, str> {
    let escaped = quoted.contains('\\');
    Value { raw: quoted, kind: Kind::String { escaped } }.text().unwrap_or_default()
}

/// Gathers the accepted events of one row.
#[derive(Debug)]
pub(super) struct RowWriter {
    environment: EnvironmentId,
    stamped_at: Timestamp,
    count: u32,
    events: Writer,
}

impl RowWriter {
    pub(super) fn new(environment: EnvironmentId, stamped_at: Timestamp, capacity: usize) -> Self {
        let events = Writer::over(Vec::with_capacity(capacity));
        Self { environment, stamped_at, count: 0, events }
    }

    /// How many events it holds: the index of the next one.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn push(&mut self, customer: CustomerId, time: Timestamp, raw: &str) {
        self.events.bits(customer.bits());
        self.events.signed(self.stamped_at.ms_since(time));
        self.events.text(raw);
        self.count += 1;
    }

    pub(super) fn finish(self) -> Bytes {
        let mut row = Writer::over(Vec::with_capacity(self.events.len() + 64));
        row.bits(self.environment.bits());
        row.time(self.stamped_at);
        row.number(u64::from(self.count));
        let mut bytes = row.into_bytes();
        bytes.extend_from_slice(&self.events.into_bytes());
        lz4_flex::compress_prepend_size(&bytes).into()
    }
}

/// A usage row read back.
#[derive(Debug)]
pub(crate) struct UsageRow {
    pub(crate) environment: EnvironmentId,
    pub(crate) stamped_at: Timestamp,
    pub(crate) events: Vec<StoredEvent>,
}

/// One event of a usage row.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) customer: CustomerId,
    pub(crate) time: Timestamp,
    pub(crate) raw: String,
}

impl StoredEvent {
    /// Reads the event again, as it was read when it was accepted.
    pub(crate) fn event(&self) -> Result<Event<'_>, Corrupt> {
        let mut scanner = Scanner::new(&self.raw);
        match event::read(&self.raw, &mut scanner) {
            Ok(Ok(event)) => Ok(event),
            _ => Err(Corrupt { expected: "an event that can be read again" }),
        }
    }
}

/// Reads the payload of a usage row.
pub(crate) fn decode(payload: &[u8]) -> Result<UsageRow, Corrupt> {
    let bytes = lz4_flex::decompress_size_prepended(payload)
        .map_err(|_| Corrupt { expected: "an LZ4 block" })?;
    let mut reader = Reader::new(&bytes);
    let environment = EnvironmentId::from_bits(reader.bits()?);
    let stamped_at = reader.time()?;
    let events = reader.list(|reader| {
        Ok(StoredEvent {
            customer: CustomerId::from_bits(reader.bits()?),
            time: stamped_at.plus_ms(-reader.signed()?),
            raw: reader.text()?.to_owned(),
        })
    })?;
    reader.finish()?;
    Ok(UsageRow { environment, stamped_at, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let environment = EnvironmentId::from_parts(1, 2);
        let stamp = Timestamp::from_ms(1_700_000_000_000);
        let mut writer = RowWriter::new(environment, stamp, 64);
        let raw = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"c"}"#;
        let customer = CustomerId::from_parts(3, 4);
        writer.push(customer, stamp.plus_ms(-5), raw);
        writer.push(customer, stamp, raw);
        assert_eq!(writer.count(), 2);
        let row = decode(&writer.finish()).unwrap();
        assert_eq!((row.environment, row.stamped_at, row.events.len()), (environment, stamp, 2));
        let first = &row.events[0];
        assert_eq!((first.customer, first.time), (customer, stamp.plus_ms(-5)));
        assert_eq!(first.event().unwrap().id, "1");
        assert!(decode(b"\x05\0\0\0junk").is_err());
    }
}
