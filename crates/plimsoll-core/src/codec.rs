//! The bytes of log rows and checkpoints.
//!
//! Fields are written in a fixed order without names; numbers as variable-length integers. The
//! same value always gives the same bytes: "same log, same state, to the byte" is checked on them.
//! A change of any layout raises [`CORE_VERSION`], and the fixtures of every version stay readable:
//! commands by tags that are never given twice, checkpoints by the version beside them, which a
//! [`Reader`] carries.
//!
//! Not here: compression and framing (the engine), where the bytes are kept (the store).

use std::sync::Arc;

use crate::{quantity::Quantity, time::Timestamp};

/// The version of every layout in this crate, kept beside each stored row.
pub const CORE_VERSION: i64 = 3;

/// Items for which room is made before they are read: a count may be a lie.
const ROOM_AT_ONCE: u64 = 64;

/// Stored bytes do not have the layout that they claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are corrupt: {expected}")]
pub struct Corrupt {
    /// What was expected where the bytes went wrong.
    pub expected: &'static str,
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A writer over an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that goes on at the end of `bytes`.
    pub fn over(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// What has been written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One byte: a tag or a flag.
    pub fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// An unsigned number, seven bits a byte, lowest first.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed number, small magnitudes first.
    pub fn signed(&mut self, value: i64) {
        self.number(((value << 1) ^ (value >> 63)) as u64);
    }

    /// The 16 bytes of an id.
    pub fn bits(&mut self, value: u128) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Length and bytes.
    pub fn slice(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Length and UTF-8.
    pub fn text(&mut self, value: &str) {
        self.slice(value.as_bytes());
    }

    /// A point in time.
    pub fn time(&mut self, value: Timestamp) {
        self.signed(value.as_ms());
    }

    /// An exact decimal, normalized: equal numbers give equal bytes.
    pub fn quantity(&mut self, value: Quantity) {
        let (mantissa, scale) = value.to_parts();
        self.byte(scale as u8);
        self.byte(u8::from(mantissa < 0));
        let magnitude = mantissa.unsigned_abs();
        self.number(magnitude as u64);
        self.number((magnitude >> 64) as u64);
    }

    /// A flag, then the value if there is one.
    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// The count, then each item.
    pub fn list<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }
}

/// Takes fields from a buffer, in the order in which they were written.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    version: i64,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes` of the current layout.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::of_version(bytes, CORE_VERSION)
    }

    /// A reader at the start of `bytes` that a core of this version wrote.
    pub fn of_version(bytes: &'a [u8], version: i64) -> Self {
        Self { rest: bytes, version }
    }

    /// The version of the layout that is read.
    pub(crate) fn version(&self) -> i64 {
        self.version
    }

    /// Reads one field in the layout of an older version.
    pub(crate) fn as_version<T>(
        &mut self,
        version: i64,
        read: impl FnOnce(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<T, Corrupt> {
        let current = std::mem::replace(&mut self.version, version);
        let field = read(self);
        self.version = current;
        field
    }

    /// Whether everything has been read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes that are left over.
    pub fn finish(self) -> Result<(), Corrupt> {
        if self.rest.is_empty() { Ok(()) } else { Err(Corrupt { expected: "the end" }) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(Corrupt { expected: "more bytes" })?;
        self.rest = rest;
        Ok(taken)
    }

    /// See [`Writer::byte`].
    pub fn byte(&mut self) -> Result<u8, Corrupt> {
        Ok(self.take(1)?[0])
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Corrupt> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Corrupt { expected: "a flag" }),
        }
    }

    /// See [`Writer::number`].
    pub fn number(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt { expected: "a number of at most 64 bits" })
    }

    /// See [`Writer::number`]; for a number of at most 32 bits.
    pub fn number_u32(&mut self) -> Result<u32, Corrupt> {
        u32::try_from(self.number()?).map_err(|_| Corrupt { expected: "a number of 32 bits" })
    }

    /// See [`Writer::signed`].
    pub fn signed(&mut self) -> Result<i64, Corrupt> {
        let value = self.number()?;
        Ok(((value >> 1) as i64) ^ -((value & 1) as i64))
    }

    /// See [`Writer::bits`].
    pub fn bits(&mut self) -> Result<u128, Corrupt> {
        let bytes = self.take(16)?;
        let bytes = bytes.try_into().map_err(|_| Corrupt { expected: "16 bytes" })?;
        Ok(u128::from_be_bytes(bytes))
    }

    /// See [`Writer::slice`].
    pub fn slice(&mut self) -> Result<&'a [u8], Corrupt> {
        let length =
            usize::try_from(self.number()?).map_err(|_| Corrupt { expected: "a length" })?;
        self.take(length)
    }

    /// See [`Writer::text`].
    pub fn text(&mut self) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.slice()?).map_err(|_| Corrupt { expected: "UTF-8" })
    }

    /// See [`Writer::slice`]; for bytes that are shared.
    pub fn shared(&mut self) -> Result<Arc<[u8]>, Corrupt> {
        self.slice().map(Arc::from)
    }

    /// See [`Writer::time`].
    pub fn time(&mut self) -> Result<Timestamp, Corrupt> {
        self.signed().map(Timestamp::from_ms)
    }

    /// See [`Writer::quantity`].
    pub fn quantity(&mut self) -> Result<Quantity, Corrupt> {
        let expected = Corrupt { expected: "a quantity" };
        let scale = u32::from(self.byte()?);
        let negative = self.flag()?;
        let magnitude = u128::from(self.number()?) | (u128::from(self.number()?) << 64);
        let magnitude = i128::try_from(magnitude).map_err(|_| expected)?;
        Quantity::from_parts(if negative { -magnitude } else { magnitude }, scale).ok_or(expected)
    }

    /// See [`Writer::option`].
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Option<T>, Corrupt> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// See [`Writer::list`].
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Corrupt>,
    ) -> Result<Vec<T>, Corrupt> {
        let count = self.number()?;
        // An item has at least one byte, so a count beyond what is left is a lie.
        if count > self.rest.len() as u64 {
            return Err(Corrupt { expected: "fewer items" });
        }
        let mut items = Vec::with_capacity(count.min(ROOM_AT_ONCE) as usize);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_round_trip(
            number: u64,
            signed: i64,
            bits: u128,
            text: String,
            mantissa: i64,
            scale in 0_u32..20,
        ) {
            let quantity = Quantity::from_parts(i128::from(mantissa), scale).unwrap();
            let mut writer = Writer::new();
            writer.number(number);
            writer.signed(signed);
            writer.bits(bits);
            writer.text(&text);
            writer.quantity(quantity);
            writer.option(Some(number), Writer::number);
            writer.list([1_u64, 2, 3].into_iter(), Writer::number);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.bits(), Ok(bits));
            prop_assert_eq!(reader.text(), Ok(text.as_str()));
            prop_assert_eq!(reader.quantity(), Ok(quantity));
            prop_assert_eq!(reader.option(Reader::number), Ok(Some(number)));
            prop_assert_eq!(reader.list(Reader::number), Ok(vec![1, 2, 3]));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            drop((reader.quantity(), reader.list(|it| it.text().map(str::len))));
            prop_assert!(reader.bits().is_err() || bytes.len() >= 16);
        }
    }
}
