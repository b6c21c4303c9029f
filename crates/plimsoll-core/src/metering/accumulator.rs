//! Accumulators: what the values of a meter's events add up to.
//!
//! An accumulator is a value that grows by single amounts and by other accumulators of its kind;
//! in which order does not matter, except that of two values of one moment the later one counts as
//! the latest. Nothing is rounded: an amount that cannot be held changes nothing.
//!
//! Not here: windows and limits (`state`), what an event's amount is (`catalog::meter`).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalog::meter::{Aggregation, UncountedReason},
    codec::{Corrupt, Reader, Writer},
    entitlement::period::Window,
    limits,
    quantity::Quantity,
    time::Timestamp,
};

/// What one event adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// A number: one for a count, what stands in the event for others.
    Quantity(Quantity),
    /// A value that counts once however often it comes, as the 128 bits that stand for it.
    Distinct(u128),
    /// A number in the bucket that begins at this moment.
    Bucketed(Timestamp, Quantity),
}

/// What a meter's amounts add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accumulator {
    /// Their sum: also of counts, of multiplied values and over buckets.
    Sum(Quantity),
    /// Their mean.
    Average {
        /// Their sum.
        sum: Quantity,
        /// How many there are.
        count: u64,
    },
    /// The least of them.
    Min(Option<Quantity>),
    /// The greatest of them.
    Max(Option<Quantity>),
    /// The one with the latest time, and that time.
    Latest(Option<Box<(Timestamp, Quantity)>>),
    /// How many different ones there are.
    Unique(BTreeSet<u128>),
    /// Their sum, each weighted by the part of the window that comes after it.
    Weighted(Box<Weighted>),
    /// The sum over buckets of the greatest of each.
    BucketMaxima(Box<BucketMaxima>),
}

/// What a weighted sum is made of, whatever the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weighted {
    /// The sum of the values.
    sum: Quantity,
    /// The sum of each value times its moment, in milliseconds since the epoch.
    moments: Quantity,
}

/// The greatest value of each bucket, and the sum of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketMaxima {
    maxima: BTreeMap<Timestamp, Quantity>,
    total: Quantity,
}

const OUT_OF_RANGE: UncountedReason = UncountedReason::ValueOutOfRange;

impl Accumulator {
    /// Nothing yet, for a meter that aggregates like this.
    pub fn empty(aggregation: &Aggregation) -> Self {
        match aggregation {
            Aggregation::Count
            | Aggregation::Sum { .. }
            | Aggregation::SumWithMultiplier { .. }
            | Aggregation::BucketedSum { .. } => Self::Sum(Quantity::ZERO),
            Aggregation::Average { .. } => Self::Average { sum: Quantity::ZERO, count: 0 },
            Aggregation::Min { .. } => Self::Min(None),
            Aggregation::Max { .. } => Self::Max(None),
            Aggregation::Latest { .. } => Self::Latest(None),
            Aggregation::UniqueCount { .. } => Self::Unique(BTreeSet::new()),
            Aggregation::WeightedSum { .. } => Self::Weighted(Box::default()),
            Aggregation::BucketedMax { .. } => Self::BucketMaxima(Box::default()),
        }
    }

    /// Nothing yet, of the same kind.
    #[must_use]
    pub fn emptied(&self) -> Self {
        match self {
            Self::Sum(_) => Self::Sum(Quantity::ZERO),
            Self::Average { .. } => Self::Average { sum: Quantity::ZERO, count: 0 },
            Self::Min(_) => Self::Min(None),
            Self::Max(_) => Self::Max(None),
            Self::Latest(_) => Self::Latest(None),
            Self::Unique(_) => Self::Unique(BTreeSet::new()),
            Self::Weighted(_) => Self::Weighted(Box::default()),
            Self::BucketMaxima(_) => Self::BucketMaxima(Box::default()),
        }
    }

    /// Adds what an event of this time brings; what cannot be held changes nothing.
    pub fn add(&mut self, time: Timestamp, amount: Amount) -> Result<(), UncountedReason> {
        match (self, amount) {
            (Self::Sum(sum), Amount::Quantity(value) | Amount::Bucketed(_, value)) => {
                *sum = sum.checked_add(value).map_err(|_| OUT_OF_RANGE)?;
            }
            (Self::Average { sum, count }, Amount::Quantity(value)) => {
                *sum = sum.checked_add(value).map_err(|_| OUT_OF_RANGE)?;
                *count += 1;
            }
            (Self::Min(least), Amount::Quantity(value)) => {
                *least = Some(least.map_or(value, |it| it.min(value)));
            }
            (Self::Max(most), Amount::Quantity(value)) => {
                *most = Some(most.map_or(value, |it| it.max(value)));
            }
            (Self::Latest(latest), Amount::Quantity(value))
                if latest.as_ref().is_none_or(|it| it.0 <= time) =>
            {
                *latest = Some(Box::new((time, value)));
            }
            (Self::Unique(seen), Amount::Distinct(value)) => {
                if seen.len() >= limits::UNIQUE_VALUES && !seen.contains(&value) {
                    return Err(UncountedReason::UniqueLimit);
                }
                seen.insert(value);
            }
            (Self::Weighted(weighted), Amount::Quantity(value)) => weighted.add(time, value)?,
            (Self::BucketMaxima(maxima), Amount::Bucketed(bucket, value)) => {
                maxima.add(bucket, value)?;
            }
            // An older value than the latest. A meter's aggregation never changes, so its amounts
            // are of one kind.
            _ => {}
        }
        Ok(())
    }

    /// Adds everything that another one of the same kind holds, as coming after it. Bounds are for
    /// single events: what has been counted is never dropped here.
    pub fn merge(&mut self, later: &Self) -> Result<(), UncountedReason> {
        match (self, later) {
            (Self::Sum(sum), Self::Sum(other)) => {
                *sum = sum.checked_add(*other).map_err(|_| OUT_OF_RANGE)?;
            }
            (Self::Average { sum, count }, Self::Average { sum: other, count: others }) => {
                *sum = sum.checked_add(*other).map_err(|_| OUT_OF_RANGE)?;
                *count += others;
            }
            (Self::Min(least), Self::Min(Some(other))) => {
                *least = Some(least.map_or(*other, |it| it.min(*other)));
            }
            (Self::Max(most), Self::Max(Some(other))) => {
                *most = Some(most.map_or(*other, |it| it.max(*other)));
            }
            (Self::Latest(latest), Self::Latest(Some(other)))
                if latest.as_ref().is_none_or(|it| it.0 <= other.0) =>
            {
                *latest = Some(other.clone());
            }
            (Self::Unique(seen), Self::Unique(other)) => seen.extend(other.iter()),
            (Self::Weighted(weighted), Self::Weighted(other)) => weighted.merge(other)?,
            (Self::BucketMaxima(maxima), Self::BucketMaxima(other)) => {
                for (bucket, value) in &other.maxima {
                    maxima.put(*bucket, *value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The value inside a window, exact but for a mean and a weighted sum; nothing where there is
    /// none, as the least of no values.
    pub fn value_in(&self, window: Window) -> Option<Quantity> {
        match self {
            Self::Sum(sum) => Some(*sum),
            Self::Average { sum, count } => {
                let count = i64::try_from(*count).unwrap_or(i64::MAX);
                sum.rounded_div(Quantity::from_integer(count))
            }
            Self::Min(value) | Self::Max(value) => *value,
            Self::Latest(latest) => latest.as_ref().map(|it| it.1),
            Self::Unique(seen) => Some(Quantity::from_integer(seen.len() as i64)),
            Self::Weighted(weighted) => weighted.value_in(window),
            Self::BucketMaxima(maxima) => Some(maxima.total),
        }
    }

    /// The value as entitlements compare it: never below zero. Aggregations that no entitlement
    /// stands on have none.
    pub fn usage(&self) -> Quantity {
        let value = match self {
            Self::Sum(sum) => *sum,
            Self::Max(value) => value.unwrap_or_default(),
            Self::Latest(latest) => latest.as_ref().map_or(Quantity::ZERO, |it| it.1),
            Self::Unique(seen) => Quantity::from_integer(seen.len() as i64),
            Self::BucketMaxima(maxima) => maxima.total,
            Self::Average { .. } | Self::Min(_) | Self::Weighted(_) => Quantity::ZERO,
        };
        value.floor_at_zero()
    }

    /// What [`Accumulator::usage`] would be with this amount added, or why it cannot be.
    pub fn usage_after(
        &self,
        time: Timestamp,
        amount: Amount,
    ) -> Result<Quantity, UncountedReason> {
        match (self, amount) {
            (Self::Unique(seen), Amount::Distinct(value)) => {
                let is_new = !seen.contains(&value);
                if is_new && seen.len() >= limits::UNIQUE_VALUES {
                    return Err(UncountedReason::UniqueLimit);
                }
                Ok(Quantity::from_integer(seen.len() as i64 + i64::from(is_new)))
            }
            (Self::BucketMaxima(maxima), Amount::Bucketed(bucket, value)) => {
                let known = maxima.maxima.get(&bucket).copied();
                if known.is_none() && maxima.maxima.len() >= limits::WINDOW_BUCKETS {
                    return Err(UncountedReason::BucketLimit);
                }
                maxima.total_with(known, value).map(Quantity::floor_at_zero)
            }
            _ => {
                let mut after = self.clone();
                after.add(time, amount)?;
                Ok(after.usage())
            }
        }
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Sum(sum) => sum.is_zero(),
            Self::Average { count, .. } => *count == 0,
            Self::Min(value) | Self::Max(value) => value.is_none(),
            Self::Latest(latest) => latest.is_none(),
            Self::Unique(seen) => seen.is_empty(),
            Self::Weighted(weighted) => **weighted == Weighted::default(),
            Self::BucketMaxima(maxima) => maxima.maxima.is_empty(),
        }
    }

    /// Writes it as checkpoints and archives keep it.
    pub fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Sum(sum) => {
                writer.byte(0);
                writer.quantity(*sum);
            }
            Self::Average { sum, count } => {
                writer.byte(1);
                writer.quantity(*sum);
                writer.number(*count);
            }
            Self::Min(value) => {
                writer.byte(2);
                writer.option(*value, Writer::quantity);
            }
            Self::Max(value) => {
                writer.byte(3);
                writer.option(*value, Writer::quantity);
            }
            Self::Latest(latest) => {
                writer.byte(4);
                writer.option(latest.as_deref(), |writer, (time, value)| {
                    writer.time(*time);
                    writer.quantity(*value);
                });
            }
            Self::Unique(seen) => {
                writer.byte(5);
                writer.list(seen.iter(), |writer, it| writer.bits(*it));
            }
            Self::Weighted(weighted) => {
                writer.byte(6);
                writer.quantity(weighted.sum);
                writer.quantity(weighted.moments);
            }
            Self::BucketMaxima(maxima) => {
                writer.byte(7);
                writer.list(maxima.maxima.iter(), |writer, (bucket, value)| {
                    writer.time(*bucket);
                    writer.quantity(*value);
                });
            }
        }
    }

    /// Reads what [`Accumulator::encode`] wrote.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(match reader.byte()? {
            0 => Self::Sum(reader.quantity()?),
            1 => Self::Average { sum: reader.quantity()?, count: reader.number()? },
            2 => Self::Min(reader.option(Reader::quantity)?),
            3 => Self::Max(reader.option(Reader::quantity)?),
            4 => Self::Latest(reader.option(|it| Ok((it.time()?, it.quantity()?)))?.map(Box::new)),
            5 => Self::Unique(reader.list(Reader::bits)?.into_iter().collect()),
            6 => {
                let (sum, moments) = (reader.quantity()?, reader.quantity()?);
                Self::Weighted(Box::new(Weighted { sum, moments }))
            }
            7 => {
                let mut maxima = BucketMaxima::default();
                for (bucket, value) in reader.list(|it| Ok((it.time()?, it.quantity()?)))? {
                    let total = maxima.put(bucket, value);
                    total.map_err(|_| Corrupt { expected: "buckets that add up" })?;
                }
                Self::BucketMaxima(Box::new(maxima))
            }
            _ => return Err(Corrupt { expected: "an accumulator" }),
        })
    }
}

impl Weighted {
    fn add(&mut self, time: Timestamp, value: Quantity) -> Result<(), UncountedReason> {
        let moment = value.checked_mul(Quantity::from_integer(time.as_ms()));
        let moments = moment.map_err(|_| OUT_OF_RANGE)?;
        self.merge(&Self { sum: value, moments })
    }

    fn merge(&mut self, other: &Self) -> Result<(), UncountedReason> {
        let sum = self.sum.checked_add(other.sum).map_err(|_| OUT_OF_RANGE)?;
        let moments = self.moments.checked_add(other.moments).map_err(|_| OUT_OF_RANGE)?;
        *self = Self { sum, moments };
        Ok(())
    }

    /// Each value times the part of the window that comes after its moment.
    fn value_in(&self, window: Window) -> Option<Quantity> {
        let end = Quantity::from_integer(window.to.as_ms());
        let length = Quantity::from_integer(window.to.ms_since(window.from));
        let left = self.sum.checked_mul(end).ok()?.checked_sub(self.moments).ok()?;
        left.rounded_div(length)
    }
}

impl BucketMaxima {
    fn add(&mut self, bucket: Timestamp, value: Quantity) -> Result<(), UncountedReason> {
        if self.maxima.len() >= limits::WINDOW_BUCKETS && !self.maxima.contains_key(&bucket) {
            return Err(UncountedReason::BucketLimit);
        }
        self.put(bucket, value)
    }

    fn put(&mut self, bucket: Timestamp, value: Quantity) -> Result<(), UncountedReason> {
        let known = self.maxima.get(&bucket).copied();
        if known.is_none_or(|it| it < value) {
            self.total = self.total_with(known, value)?;
            self.maxima.insert(bucket, value);
        }
        Ok(())
    }

    /// The total with this value in a bucket whose greatest value is known, or not.
    fn total_with(
        &self,
        known: Option<Quantity>,
        value: Quantity,
    ) -> Result<Quantity, UncountedReason> {
        if known.is_some_and(|it| it >= value) {
            return Ok(self.total);
        }
        let without = self.total.checked_sub(known.unwrap_or_default());
        without.and_then(|it| it.checked_add(value)).map_err(|_| OUT_OF_RANGE)
    }
}

#[cfg(test)]
mod tests;
