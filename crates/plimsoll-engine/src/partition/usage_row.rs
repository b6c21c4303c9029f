//! Usage events on their way to the log, and the bytes of a usage row.
//!
//! A row holds, for each accepted event, whose it is, its effective time and its raw JSON; the
//! whole is compressed with LZ4. Replay needs nothing else: no subject map, no dedupe index.

use std::{borrow::Cow, cell::Cell};

use bytes::Bytes;
use plimsoll_core::{
    codec::{Corrupt, Reader, Writer},
    ids::{CustomerId, EnvironmentId},
    limits,
    time::Timestamp,
};

use crate::ingest::{
    event::{Event, EventReader},
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
pub(crate) fn unquoted(quoted: &str) -> Cow<'_, str> {
    let escaped = quoted.contains('\\');
    Value { raw: quoted, kind: Kind::String { escaped } }.text().unwrap_or_default()
}

/// Bytes in front of the events: environment, stamp and count, each as long as it can be.
const HEAD_BYTES: usize = 16 + 10 + 10;

thread_local! {
    /// The buffers of the last row that this thread wrote: rows have hundreds of kilobytes, and
    /// memory fresh from the system costs more than what is written into it.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

#[derive(Debug, Default)]
struct Buffers {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

/// Gathers the accepted events of one row.
#[derive(Debug)]
pub(super) struct RowWriter {
    environment: EnvironmentId,
    stamped_at: Timestamp,
    count: u32,
    /// The events, behind room for what stands in front of them.
    events: Writer,
    packed: Vec<u8>,
}

impl RowWriter {
    pub(super) fn new(environment: EnvironmentId, stamped_at: Timestamp, capacity: usize) -> Self {
        let Buffers { mut plain, packed } = BUFFERS.take();
        plain.clear();
        plain.reserve(HEAD_BYTES + capacity);
        plain.resize(HEAD_BYTES, 0);
        Self { environment, stamped_at, count: 0, events: Writer::over(plain), packed }
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
        let mut head = Writer::over(Vec::with_capacity(HEAD_BYTES));
        head.bits(self.environment.bits());
        head.time(self.stamped_at);
        head.number(u64::from(self.count));
        let head = head.into_bytes();
        let mut plain = self.events.into_bytes();
        // Right in front of the events, so that what they are behind is of any length.
        let start = HEAD_BYTES - head.len();
        plain[start..HEAD_BYTES].copy_from_slice(&head);
        let mut packed = self.packed;
        let payload = pack(&plain[start..], &mut packed);
        if plain.capacity() <= limits::KEPT_ROW_BYTES {
            BUFFERS.set(Buffers { plain, packed });
        }
        payload
    }
}

/// Compresses, with the size in front. `packed` is room to work in.
fn pack(plain: &[u8], packed: &mut Vec<u8>) -> Bytes {
    let room = lz4_flex::block::get_maximum_output_size(plain.len());
    if packed.len() < room {
        packed.resize(room, 0);
    }
    let length = lz4_flex::block::compress_into(plain, packed).expect("there is room for any data");
    let mut payload = Vec::with_capacity(4 + length);
    payload.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    payload.extend_from_slice(&packed[..length]);
    payload.into()
}

/// A usage row read back.
#[derive(Debug)]
pub struct UsageRow {
    /// Whose.
    pub environment: EnvironmentId,
    /// When, by the environment's clock.
    pub stamped_at: Timestamp,
    /// In order.
    pub events: Vec<StoredEvent>,
}

/// One event of a usage row.
#[derive(Debug)]
pub struct StoredEvent {
    /// Whose.
    pub customer: CustomerId,
    /// Its effective time: never later than the row's stamp.
    pub time: Timestamp,
    /// Its JSON, as it was sent.
    pub raw: String,
}

impl StoredEvent {
    /// Reads the event again, as it was read when it was accepted.
    pub(crate) fn event(&self) -> Result<Event<'_>, Corrupt> {
        let mut scanner = Scanner::new(&self.raw);
        match EventReader::default().read(&mut scanner) {
            Ok(Ok(event)) => Ok(event),
            _ => Err(Corrupt { expected: "an event that can be read again" }),
        }
    }
}

/// Reads the payload of a usage row.
pub fn decode(payload: &[u8]) -> Result<UsageRow, Corrupt> {
    let bytes = unpack(payload)?;
    let reader = RowReader::new(&bytes)?;
    let (environment, stamped_at) = (reader.environment, reader.stamped_at);
    let stored = |it: EventRef<'_>| StoredEvent {
        customer: it.customer,
        time: it.time,
        raw: it.raw.to_owned(),
    };
    let events = reader.map(|it| it.map(stored)).collect::<Result<_, _>>()?;
    Ok(UsageRow { environment, stamped_at, events })
}

/// The bytes of a usage row, for [`RowReader`].
pub(crate) fn unpack(payload: &[u8]) -> Result<Vec<u8>, Corrupt> {
    lz4_flex::decompress_size_prepended(payload).map_err(|_| Corrupt { expected: "an LZ4 block" })
}

/// Reads the events of a row one by one, in order, without copying them.
#[derive(Debug)]
pub(crate) struct RowReader<'a> {
    pub(crate) environment: EnvironmentId,
    pub(crate) stamped_at: Timestamp,
    left: u64,
    rest: Reader<'a>,
}

/// One event of a row, where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRef<'a> {
    pub(crate) customer: CustomerId,
    pub(crate) time: Timestamp,
    pub(crate) raw: &'a str,
}

impl<'a> RowReader<'a> {
    /// At the first event of what [`unpack`] gave.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let mut rest = Reader::new(bytes);
        Ok(Self {
            environment: EnvironmentId::from_bits(rest.bits()?),
            stamped_at: rest.time()?,
            left: rest.number()?,
            rest,
        })
    }

    fn event(&mut self) -> Result<EventRef<'a>, Corrupt> {
        let event = EventRef {
            customer: CustomerId::from_bits(self.rest.bits()?),
            time: self.stamped_at.plus_ms(-self.rest.signed()?),
            raw: self.rest.text()?,
        };
        if self.left == 0 {
            self.rest.finish()?;
        }
        Ok(event)
    }
}

impl<'a> Iterator for RowReader<'a> {
    type Item = Result<EventRef<'a>, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let event = self.event();
        if event.is_err() {
            self.left = 0;
        }
        Some(event)
    }
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

    #[test]
    fn buffers_of_the_last_row_leave_nothing_behind() {
        let stamp = Timestamp::from_ms(1_700_000_000_000);
        let row = |environment: u128, events: usize| {
            let mut writer = RowWriter::new(EnvironmentId::from_parts(1, environment), stamp, 64);
            for event in 0..events {
                writer.push(
                    CustomerId::from_parts(3, 4),
                    stamp,
                    &format!("{{\"id\":\"{event}\"}}"),
                );
            }
            writer.finish()
        };
        let (first, long) = (row(1, 1), row(2, 500));
        let read: Vec<_> = decode(&long).unwrap().events.into_iter().map(|it| it.raw).collect();
        assert_eq!(read.len(), 500);
        assert_eq!(read.last().map(String::as_str), Some("{\"id\":\"499\"}"));
        assert_eq!(row(1, 1), first, "the same events give the same bytes");
    }
}
