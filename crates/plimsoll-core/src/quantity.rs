//! Exact decimal quantities: usage, limits, levels, percentages.
//!
//! A quantity has at most 28 significant digits and is never a float. What does not fit is an
//! error for the event or request that carries it, never a wrap and never a rounding in silence.
//!
//! Not here: money with its currency and minor units.

use std::{cmp::Ordering, fmt, str::FromStr};

use rust_decimal::Decimal;

/// An exact decimal number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(Decimal);

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Not a decimal number at all (this includes NaN and infinities).
    #[error("expected a decimal number")]
    NotANumber,
    /// A number, but with more digits than can be held exactly.
    #[error("the number has more than 28 significant digits")]
    OutOfRange,
}

/// The result of an addition or a product does not fit 28 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result has more than 28 significant digits")]
pub struct Overflow;

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// One.
    pub const ONE: Self = Self(Decimal::ONE);
    /// One hundred, what a percentage is of.
    pub const HUNDRED: Self = Self(Decimal::ONE_HUNDRED);

    /// The whole number `value`.
    pub fn from_integer(value: i64) -> Self {
        Self(Decimal::from(value))
    }

    /// Reads the text of a JSON number or of a numeric string: sign, digits, fraction, exponent.
    ///
    /// White space, a leading plus, `_`, hexadecimal, NaN and infinities are refused.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        // The common case first: a few plain digits need no decimal parser.
        let bytes = text.as_bytes();
        if !bytes.is_empty() && bytes.len() <= 18 && bytes.iter().all(u8::is_ascii_digit) {
            let value = bytes.iter().fold(0_i64, |sum, it| sum * 10 + i64::from(it - b'0'));
            return Ok(Self::from_integer(value));
        }
        parse_general(text)
    }

    /// The sum, or an error if it does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        let sum = self.0.checked_add(other.0).ok_or(Overflow)?;
        // rust_decimal drops fraction digits to make a sum fit; a dropped digit is a wrong sum.
        if sum.scale() < self.0.scale().max(other.0.scale()) && !self.adds_exactly(other, sum) {
            return Err(Overflow);
        }
        Ok(Self(sum))
    }

    fn adds_exactly(self, other: Self, sum: Decimal) -> bool {
        sum.checked_sub(self.0).is_some_and(|it| it == other.0)
            && sum.checked_sub(other.0).is_some_and(|it| it == self.0)
    }

    /// The difference, or an error if it does not fit.
    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.checked_add(Self(-other.0))
    }

    /// The product, or an error if it does not fit: no digit is ever dropped.
    pub fn checked_mul(self, other: Self) -> Result<Self, Overflow> {
        let ((one, one_scale), (two, two_scale)) = (self.to_parts(), other.to_parts());
        let product = one.checked_mul(two).ok_or(Overflow)?;
        let scale = one_scale + two_scale;
        scaled(product, i64::from(scale)).map(Self).ok_or(Overflow)
    }

    /// The quotient, rounded to 28 digits where it must be; nothing if `divisor` is zero.
    pub fn rounded_div(self, divisor: Self) -> Option<Self> {
        self.0.checked_div(divisor.0).map(|it| Self(it.normalize()))
    }

    /// How often `step` fits into this; nothing if `step` is not above zero, or beyond 64 bits.
    pub fn multiples_of(self, step: Self) -> Option<u64> {
        if step.is_zero() || step.is_negative() {
            return None;
        }
        if self.is_negative() {
            return Some(0);
        }
        let count = self.0.checked_div(step.0)?.floor();
        let count = u64::try_from(count.mantissa()).ok()?;
        // The quotient may have been rounded up to a whole number.
        let too_many = step.times(count).is_ok_and(|it| it > self);
        Some(count - u64::from(too_many))
    }

    /// This many times over, or an error if it does not fit.
    pub fn times(self, count: u64) -> Result<Self, Overflow> {
        self.checked_mul(Self(Decimal::from(count)))
    }

    /// The sum, rounded where digits after the point are too many, at the edge where it is too
    /// large: for what happens by itself, which nobody can be told to send again.
    #[must_use]
    pub fn bounded_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, as [`Quantity::bounded_add`].
    #[must_use]
    pub fn bounded_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The difference of two numbers that are not below zero, rounded to what can be held where
    /// it must be: for display only.
    #[must_use]
    pub fn rounded_sub(self, other: Self) -> Self {
        // It lies between the two in size, so only digits after the point can be too many.
        Self(self.0.checked_sub(other.0).unwrap_or_default().normalize())
    }

    /// This many percent of `whole`, rounded to 28 digits where it must be.
    pub fn percent_of(self, whole: Self) -> Result<Self, Overflow> {
        let product = self.0.checked_mul(whole.0).ok_or(Overflow)?;
        product.checked_div(Decimal::ONE_HUNDRED).map(Self).ok_or(Overflow)
    }

    /// How many percent of `whole` this is; nothing if `whole` is zero.
    pub fn as_percentage_of(self, whole: Self) -> Option<Self> {
        let scaled = self.0.checked_mul(Decimal::ONE_HUNDRED)?;
        scaled.checked_div(whole.0).map(|it| Self(it.normalize()))
    }

    /// The greater of this and zero: what is shown and compared when corrections went below.
    #[must_use]
    pub fn floor_at_zero(self) -> Self {
        if self.is_negative() { Self::ZERO } else { self }
    }

    /// Whether this is below zero.
    pub fn is_negative(self) -> bool {
        self.0.cmp(&Decimal::ZERO) == Ordering::Less
    }

    /// Whether this is exactly zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Rounds half-even to this many places after the point, for display only.
    #[must_use]
    pub fn rounded(self, places: u32) -> Self {
        Self(self.0.round_dp(places).normalize())
    }

    /// Mantissa and scale of the normalized number, for storage.
    pub(crate) fn to_parts(self) -> (i128, u32) {
        let normalized = self.0.normalize();
        (normalized.mantissa(), normalized.scale())
    }

    /// The number with these parts, or nothing if they are out of range.
    pub(crate) fn from_parts(mantissa: i128, scale: u32) -> Option<Self> {
        Decimal::try_from_i128_with_scale(mantissa, scale).ok().map(Self)
    }
}

fn parse_general(text: &str) -> Result<Quantity, InvalidQuantity> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits_only = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
    if !digits_only(whole) || !digits_only(fraction) {
        return Err(InvalidQuantity::NotANumber);
    }
    let fraction_digits = if mantissa.contains('.') { fraction } else { "" };
    let all = format!("{whole}{fraction_digits}");
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return Ok(Quantity::ZERO);
    }
    let kept = significant.trim_end_matches('0');
    let dropped = (significant.len() - kept.len()) as i64;
    let scale = fraction_digits.len() as i64 - exponent - dropped;
    let magnitude: i128 = kept.parse().map_err(|_| InvalidQuantity::OutOfRange)?;
    let value = scaled(magnitude, scale).ok_or(InvalidQuantity::OutOfRange)?;
    Ok(Quantity(if mantissa.starts_with('-') { -value } else { value }))
}

fn parse_exponent(text: &str) -> Result<i64, InvalidQuantity> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(InvalidQuantity::NotANumber);
    }
    // More than a thousand either way cannot be held; the exact value no longer matters.
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000);
    Ok(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// `magnitude · 10^-scale`, exactly.
fn scaled(magnitude: i128, scale: i64) -> Option<Decimal> {
    if scale >= 0 {
        let scale = u32::try_from(scale).ok()?;
        Decimal::try_from_i128_with_scale(magnitude, scale).ok()
    } else {
        let power = u32::try_from(-scale).ok()?;
        let value = magnitude.checked_mul(10_i128.checked_pow(power)?)?;
        Decimal::try_from_i128_with_scale(value, 0).ok()
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let normalized = self.0.normalize();
        if normalized.is_zero() { f.write_str("0") } else { fmt::Display::fmt(&normalized, f) }
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn reads_json_numbers_and_numeric_strings() {
        use InvalidQuantity::{NotANumber, OutOfRange};
        let cases = [
            ("0", Ok("0")),
            ("-0", Ok("0")),
            ("812", Ok("812")),
            ("007", Ok("7")),
            ("1.50", Ok("1.5")),
            ("-3.25", Ok("-3.25")),
            ("1e3", Ok("1000")),
            ("1.5E-2", Ok("0.015")),
            ("100e-2", Ok("1")),
            ("1000000000000000000000000000", Ok("1000000000000000000000000000")),
            ("0.0000000000000000000000000001", Ok("0.0000000000000000000000000001")),
            ("0e999999999999999999999", Ok("0")),
            ("1e400", Err(OutOfRange)),
            ("1e-400", Err(OutOfRange)),
            ("1234567890123456789012345678901234567890", Err(OutOfRange)),
            ("0.12345678901234567890123456789", Err(OutOfRange)),
            ("NaN", Err(NotANumber)),
            ("Infinity", Err(NotANumber)),
            ("", Err(NotANumber)),
            ("-", Err(NotANumber)),
            ("+1", Err(NotANumber)),
            (" 1", Err(NotANumber)),
            ("1.", Err(NotANumber)),
            (".5", Err(NotANumber)),
            ("1_000", Err(NotANumber)),
            ("0x10", Err(NotANumber)),
            ("1e", Err(NotANumber)),
            ("१", Err(NotANumber)),
        ];
        for (text, expected) in cases {
            let got = Quantity::parse(text).map(|it| it.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn sums_are_exact_or_refused() {
        assert_eq!(quantity("0.1").checked_add(quantity("0.2")), Ok(quantity("0.3")));
        let big = quantity("9999999999999999999999999999");
        assert_eq!(big.checked_add(quantity("0.1")), Err(Overflow));
        assert_eq!(big.checked_add(Quantity::ONE).map(|it| it.to_string().len()), Ok(29));
        let widest = Quantity::from_parts((1_i128 << 96) - 1, 0).unwrap();
        assert_eq!(widest.checked_add(Quantity::ONE), Err(Overflow));
        assert_eq!(quantity("5").checked_sub(quantity("7")), Ok(quantity("-2")));
    }

    #[test]
    fn products_are_exact_or_refused() {
        assert_eq!(quantity("1.5").checked_mul(quantity("-0.2")), Ok(quantity("-0.3")));
        let small = quantity("0.00000000000001");
        assert_eq!(small.checked_mul(quantity("100000000000000")), Ok(Quantity::ONE));
        let fine = quantity("0.123456789012345");
        assert_eq!(fine.checked_mul(fine), Err(Overflow));
        assert_eq!(quantity("1e20").checked_mul(quantity("1e20")), Err(Overflow));
    }

    #[test]
    fn multiples() {
        let cases = [
            ("0.3", "0.1", Some(3)),
            ("350", "100", Some(3)),
            ("300", "100", Some(3)),
            ("99.99", "100", Some(0)),
            ("-5", "1", Some(0)),
            ("2.9999999999999999999999999999", "3", Some(0)),
            ("5", "0", None),
            ("5", "-1", None),
            ("1e27", "0.001", None),
        ];
        for (usage, step, expected) in cases {
            assert_eq!(quantity(usage).multiples_of(quantity(step)), expected, "{usage} of {step}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(quantity("80").percent_of(quantity("1000")), Ok(quantity("800")));
        assert_eq!(quantity("812").as_percentage_of(quantity("1000")), Some(quantity("81.2")));
        assert_eq!(quantity("1").as_percentage_of(Quantity::ZERO), None);
    }
}
