//! One strict pass over JSON text, for the path that every event takes.
//!
//! It finds where values stand and copies nothing. It refuses what is not JSON, and nesting beyond
//! [`limits::JSON_DEPTH`]; it notes strings with escapes (to be decoded by those who need them) and
//! `\u` escapes that are half of a surrogate pair, which no UTF-8 text can hold.
//!
//! Why our own: ingest needs the raw text of a few members, each refused duplicate and each depth
//! counted, in one pass. `docs/adr/0003-json-scanner.md` has the figures.
//!
//! Not here: what an event is (`event`), JSON of the API's other requests (serde).

use std::borrow::Cow;

use plimsoll_core::limits;

/// The text is not JSON, or nested too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected} at byte {at}")]
pub struct Malformed {
    /// Where, in bytes from the start of the text.
    pub at: usize,
    /// What should stand there.
    pub expected: &'static str,
}

/// What kind of value stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string; whether it holds escapes.
    String {
        /// Whether it must be decoded before it can be compared.
        escaped: bool,
    },
    /// A number, not yet read.
    Number,
    /// An object.
    Object,
    /// An array.
    Array,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
}

/// A value and the text it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The text of the value, quotes and brackets included.
    pub raw: &'a str,
    /// What it is.
    pub kind: Kind,
}

impl<'a> Value<'a> {
    /// The decoded text of a string; nothing for other kinds and for broken surrogate pairs.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        let Kind::String { escaped } = self.kind else { return None };
        if escaped {
            serde_json::from_str(self.raw).ok().map(Cow::Owned)
        } else {
            self.raw.get(1..self.raw.len() - 1).map(Cow::Borrowed)
        }
    }
}

/// How the members of the last object stood, for [`Scanner::object_like`]. `M` is what a name means
/// to the reader.
#[derive(Debug)]
pub(super) struct Model<'a, M> {
    members: Vec<Member<'a, M>>,
}

#[derive(Debug, Clone, Copy)]
struct Member<'a, M> {
    /// The name, the colon and the white space around it, up to the value.
    lead: &'a [u8],
    name: Value<'a>,
    meaning: M,
    value: Value<'a>,
}

impl<M> Default for Model<'_, M> {
    fn default() -> Self {
        Self { members: Vec::new() }
    }
}

impl<'a, M: Copy> Model<'a, M> {
    /// Members that are kept. Who sends more is served, but learns nothing from the last object.
    const MEMBERS: usize = 64;

    fn put(&mut self, place: usize, member: Member<'a, M>) {
        // Half of a surrogate pair must be noted each time it is met: escapes are always read.
        if !matches!(member.name.kind, Kind::String { escaped: false }) {
            self.members.truncate(place);
        } else if let Some(known) = self.members.get_mut(place) {
            *known = member;
        } else if place == self.members.len() && place < Self::MEMBERS {
            self.members.push(member);
        }
    }
}

/// Walks over a text.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    broken_surrogates: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, broken_surrogates: false }
    }

    /// Where the scanner stands, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The text from a position of earlier up to here.
    pub fn text_since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Whether a string since the last call held half of a surrogate pair.
    pub fn take_broken_surrogates(&mut self) -> bool {
        std::mem::take(&mut self.broken_surrogates)
    }

    /// The next character that is not white space.
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Refuses anything but white space up to the end.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the text")),
        }
    }

    /// Walks over an object, showing each member to `visit`.
    pub fn object(&mut self, mut visit: impl FnMut(Value<'a>, Value<'a>)) -> Result<(), Malformed> {
        self.enter(b'{', "an object")?;
        if self.leave(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a member name"));
            }
            let name = self.value()?;
            self.take(b':', "a colon")?;
            let value = self.value()?;
            visit(name, value);
            if self.leave(b'}') {
                return Ok(());
            }
            self.take(b',', "a comma or the end of the object")?;
        }
    }

    /// Walks over an object whose members may stand where those of `model` stood.
    ///
    /// Objects that are sent together are alike: the same names in the same order, and some of the
    /// values too. Where the text goes on as it did in the model, comparing it is all that is to
    /// be done; everything else is read as by [`Scanner::object`].
    pub(super) fn object_like<M: Copy>(
        &mut self,
        model: &mut Model<'a, M>,
        read_name: impl Fn(&Value<'a>) -> M,
        mut visit: impl FnMut(M, Value<'a>, Value<'a>),
    ) -> Result<(), Malformed> {
        self.enter(b'{', "an object")?;
        if self.leave(b'}') {
            return Ok(());
        }
        for place in 0.. {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a member name"));
            }
            let alike = model.members.get(place).filter(|it| self.rest().starts_with(it.lead));
            let member = if let Some(alike) = alike.copied() {
                self.at += alike.lead.len();
                let value = match alike.value.kind {
                    Kind::String { escaped: false } if self.skip(alike.value.raw) => alike.value,
                    _ => self.value()?,
                };
                Member { value, ..alike }
            } else {
                let start = self.at;
                let name = self.value()?;
                self.take(b':', "a colon")?;
                self.peek();
                let lead = self.text.as_bytes().get(start..self.at).unwrap_or_default();
                let value = self.value()?;
                Member { lead, name, meaning: read_name(&name), value }
            };
            model.put(place, member);
            visit(member.meaning, member.name, member.value);
            if self.leave(b'}') {
                return Ok(());
            }
            self.take(b',', "a comma or the end of the object")?;
        }
        Ok(())
    }

    /// Walks over an array; `visit` must walk over each item.
    pub fn array<E: From<Malformed>>(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.enter(b'[', "an array")?;
        if self.leave(b']') {
            return Ok(());
        }
        loop {
            visit(self)?;
            if self.leave(b']') {
                return Ok(());
            }
            self.take(b',', "a comma or the end of the array")?;
        }
    }

    /// Walks over any value.
    pub fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let first = self.peek().ok_or_else(|| self.expected("a value"))?;
        let start = self.at;
        let kind = match first {
            b'"' => Kind::String { escaped: self.string()? },
            b'-' | b'0'..=b'9' => {
                self.number()?;
                Kind::Number
            }
            b'{' => {
                self.object(|_, _| {})?;
                Kind::Object
            }
            b'[' => {
                self.array(|it| it.value().map(drop))?;
                Kind::Array
            }
            b't' => self.literal("true", Kind::Boolean)?,
            b'f' => self.literal("false", Kind::Boolean)?,
            b'n' => self.literal("null", Kind::Null)?,
            _ => return Err(self.expected("a value")),
        };
        // Both ends stand beside ASCII characters, so the slice is on character boundaries.
        let raw = self.text.get(start..self.at).ok_or_else(|| self.expected("UTF-8"))?;
        Ok(Value { raw, kind })
    }

    /// Walks over exactly this text, if it comes next.
    fn skip(&mut self, text: &str) -> bool {
        let skips = self.rest().starts_with(text.as_bytes());
        self.at += if skips { text.len() } else { 0 };
        skips
    }

    fn enter(&mut self, open: u8, what: &'static str) -> Result<(), Malformed> {
        self.take(open, what)?;
        self.depth += 1;
        if self.depth > limits::JSON_DEPTH {
            return Err(self.expected("less nesting"));
        }
        Ok(())
    }

    fn leave(&mut self, close: u8) -> bool {
        let leaves = self.peek() == Some(close);
        if leaves {
            self.at += 1;
            self.depth -= 1;
        }
        leaves
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    fn literal(&mut self, word: &'static str, kind: Kind) -> Result<Kind, Malformed> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(kind)
        } else {
            Err(self.expected("a value"))
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.skip_if(|it| it == b'-');
        if !self.skip_if(|it| it == b'0') {
            self.digits()?;
        }
        if self.skip_if(|it| it == b'.') {
            self.digits()?;
        }
        if self.skip_if(|it| matches!(it, b'e' | b'E')) {
            self.skip_if(|it| matches!(it, b'+' | b'-'));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        if !self.skip_if(|it| it.is_ascii_digit()) {
            return Err(self.expected("a digit"));
        }
        while self.skip_if(|it| it.is_ascii_digit()) {}
        Ok(())
    }

    /// Walks over a string; tells whether it has escapes.
    fn string(&mut self) -> Result<bool, Malformed> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.rest());
            if self.at == self.text.len() {
                return Err(self.expected("the end of the string"));
            }
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.expected("no control character inside the string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.text.as_bytes().get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let unit = self.code_unit()?;
                let pairs = (0xd800..0xdc00).contains(&unit) && self.rest().starts_with(b"\\u");
                if pairs {
                    self.at += 1;
                    let low = self.code_unit()?;
                    self.broken_surrogates |= !(0xdc00..0xe000).contains(&low);
                } else {
                    self.broken_surrogates |= (0xd800..0xe000).contains(&unit);
                }
                Ok(())
            }
            _ => Err(self.expected("an escape")),
        }
    }

    /// Walks over `u` and its four digits.
    fn code_unit(&mut self) -> Result<u32, Malformed> {
        let digits = self.rest().get(1..5).and_then(|it| std::str::from_utf8(it).ok());
        let plain = digits.filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        let unit = plain.and_then(|it| u32::from_str_radix(it, 16).ok());
        let unit = unit.ok_or_else(|| self.expected("four hexadecimal digits"))?;
        self.at += 5;
        Ok(unit)
    }

    fn skip_if(&mut self, wanted: impl FnOnce(u8) -> bool) -> bool {
        let skips = self.text.as_bytes().get(self.at).is_some_and(|it| wanted(*it));
        self.at += usize::from(skips);
        skips
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }
}

/// How many bytes of a string stand before the first quote, backslash or control character.
///
/// Eight at a time: strings are most of what is sent.
fn plain_bytes(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return index * 8 + (stops.trailing_zeros() / 8) as usize;
        }
    }
    let stop = rest.iter().position(|it| matches!(it, b'"' | b'\\' | 0..=0x1f));
    words.len() * 8 + stop.unwrap_or(rest.len())
}

/// Marks the bytes of a word that end a run of plain characters, by their highest bits.
///
/// The lowest mark is right; those above it may be wrong, because a subtraction borrows from the
/// byte above.
const fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let quotes = word ^ (ONES * b'"' as u64);
    let backslashes = word ^ (ONES * b'\\' as u64);
    let is_quote = quotes.wrapping_sub(ONES) & !quotes;
    let is_backslash = backslashes.wrapping_sub(ONES) & !backslashes;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_quote | is_backslash | is_control) & HIGH
}

#[cfg(test)]
mod tests;
