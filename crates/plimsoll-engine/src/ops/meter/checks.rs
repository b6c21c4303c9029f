//! What a meter must be, and what the core gets of it.

use std::collections::BTreeSet;

use plimsoll_core::{
    catalog::meter as core,
    ids::{EnvironmentId, MeterId},
    limits,
    metering::bucket as core_bucket,
    quantity::Quantity,
    time::Timestamp,
};

use crate::ops::{
    fields,
    meter::{Aggregation, Bucket, CreateMeter, Meter, MeterFilter, UpdateMeter},
    problem::{Problem, ProblemCode},
    scalar::Decimal,
};

impl CreateMeter {
    pub(super) fn into_document(self, id: MeterId, now: Timestamp) -> Result<Meter, Problem> {
        fields::key("key", &self.key)?;
        let name = self.name.unwrap_or_else(|| self.key.clone());
        fields::name("name", &name)?;
        fields::bounded_text("event_type", &self.event_type, limits::EVENT_ATTRIBUTE_BYTES)?;
        fields::metadata(&self.metadata)?;
        let aggregation = read_aggregation(&self.aggregation)?;
        check_value_property(aggregation, self.value_property.as_deref())?;
        let meter = Meter {
            id,
            key: self.key,
            name,
            event_type: self.event_type,
            aggregation,
            value_property: self.value_property,
            multiplier: read_multiplier(aggregation, self.multiplier)?,
            bucket: read_bucket(aggregation, self.bucket.as_deref())?,
            group_by: self.group_by,
            filters: self.filters,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
        };
        if meter.group_by.len() > limits::METER_GROUP_KEYS {
            return Err(too_many("group_by", limits::METER_GROUP_KEYS));
        }
        meter.group_keys()?;
        check_filters(&meter.filters)?;
        Ok(meter)
    }
}

impl UpdateMeter {
    pub(super) fn apply(self, before: &Meter, now: Timestamp) -> Result<Meter, Problem> {
        self.key.check("key")?;
        self.event_type.check("event_type")?;
        self.aggregation.check("aggregation")?;
        self.value_property.check("value_property")?;
        self.multiplier.check("multiplier")?;
        self.bucket.check("bucket")?;
        self.group_by.check("group_by")?;
        self.filters.check("filters")?;
        let name = fields::never_null("name", self.name, before.name.clone())?;
        fields::name("name", &name)?;
        let metadata = fields::patched_metadata(before.metadata.clone(), self.metadata)?;
        Ok(Meter { name, metadata, updated_at: now, ..before.clone() })
    }
}

impl Meter {
    /// What the rules of metering depend on.
    pub(crate) fn to_core(&self, environment: EnvironmentId) -> Result<core::Meter, Problem> {
        Ok(core::Meter {
            id: self.id,
            environment,
            event_type: self.event_type.as_str().into(),
            aggregation: self.core_aggregation()?,
            group_by: self.group_keys()?,
            filters: self.core_filters()?,
        })
    }

    /// Whether entitlements can be limited by what it measures (design 5.2).
    pub(in crate::ops) fn is_limitable(&self) -> bool {
        self.core_aggregation().is_ok_and(|it| it.is_limitable())
    }

    fn core_aggregation(&self) -> Result<core::Aggregation, Problem> {
        if self.aggregation == Aggregation::Count {
            return Ok(core::Aggregation::Count);
        }
        let value = read_value_path(self.value_property.as_deref().unwrap_or_default())?;
        let bucket = self.bucket.map(Bucket::to_core);
        Ok(match (self.aggregation, bucket) {
            (Aggregation::Count, _) => core::Aggregation::Count,
            (Aggregation::Sum, None) => core::Aggregation::Sum { value },
            (Aggregation::Sum, Some(bucket)) => core::Aggregation::BucketedSum { value, bucket },
            (Aggregation::Max, None) => core::Aggregation::Max { value },
            (Aggregation::Max, Some(bucket)) => core::Aggregation::BucketedMax { value, bucket },
            (Aggregation::Avg, _) => core::Aggregation::Average { value },
            (Aggregation::Min, _) => core::Aggregation::Min { value },
            (Aggregation::Latest, _) => core::Aggregation::Latest { value },
            (Aggregation::UniqueCount, _) => core::Aggregation::UniqueCount { value },
            (Aggregation::WeightedSum, _) => core::Aggregation::WeightedSum { value },
            (Aggregation::SumWithMultiplier, _) => {
                let multiplier = self.multiplier.unwrap_or(Quantity::ONE);
                core::Aggregation::SumWithMultiplier { value, multiplier }
            }
        })
    }

    /// The group-by keys, in the order of their names.
    fn group_keys(&self) -> Result<Vec<core::GroupKey>, Problem> {
        let read = |(name, path): (&String, &String)| {
            let refuse = |detail: String| {
                Problem::at(ProblemCode::InvalidGroupBy, format!("group_by.{name}"), detail)
            };
            if !is_group_key(name) {
                let bytes = limits::GROUP_KEY_BYTES;
                let detail = format!("a name has 1 to {bytes} letters, digits, '_', '.' and '-'");
                return Err(refuse(detail));
            }
            let path = path.parse().map_err(|it: core::InvalidValuePath| refuse(it.to_string()))?;
            Ok(core::GroupKey { name: name.as_str().into(), path })
        };
        self.group_by.iter().map(read).collect()
    }

    fn core_filters(&self) -> Result<Vec<core::Filter>, Problem> {
        let read = |(index, it): (usize, &MeterFilter)| {
            let values = it.values.iter().map(|it| it.as_str().into()).collect();
            Ok(core::Filter { path: read_filter_path(index, &it.property)?, values })
        };
        self.filters.iter().enumerate().map(read).collect()
    }
}

impl Aggregation {
    const ALL: [Self; 9] = [
        Self::Count,
        Self::Sum,
        Self::Avg,
        Self::Min,
        Self::Max,
        Self::Latest,
        Self::UniqueCount,
        Self::SumWithMultiplier,
        Self::WeightedSum,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Latest => "latest",
            Self::UniqueCount => "unique_count",
            Self::SumWithMultiplier => "sum_with_multiplier",
            Self::WeightedSum => "weighted_sum",
        }
    }
}

impl Bucket {
    const ALL: [Self; 10] = [
        Self::Minute,
        Self::Minutes15,
        Self::Minutes30,
        Self::Hour,
        Self::Hours3,
        Self::Hours6,
        Self::Hours12,
        Self::Day,
        Self::Week,
        Self::Month,
    ];

    const fn to_core(self) -> core_bucket::Bucket {
        match self {
            Self::Minute => core_bucket::Bucket::Minute,
            Self::Minutes15 => core_bucket::Bucket::Minutes15,
            Self::Minutes30 => core_bucket::Bucket::Minutes30,
            Self::Hour => core_bucket::Bucket::Hour,
            Self::Hours3 => core_bucket::Bucket::Hours3,
            Self::Hours6 => core_bucket::Bucket::Hours6,
            Self::Hours12 => core_bucket::Bucket::Hours12,
            Self::Day => core_bucket::Bucket::Day,
            Self::Week => core_bucket::Bucket::Week,
            Self::Month => core_bucket::Bucket::Month,
        }
    }
}

/// Whether a group-by key can have this name.
fn is_group_key(name: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'.' | b'-');
    (1..=limits::GROUP_KEY_BYTES).contains(&name.len()) && name.bytes().all(plain)
}

fn read_aggregation(text: &str) -> Result<Aggregation, Problem> {
    Aggregation::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
        let known = Aggregation::ALL.map(Aggregation::as_str).join(", ");
        let detail = format!("{text:?} is not an aggregation; there are {known}");
        Problem::at(ProblemCode::UnknownAggregation, "aggregation", detail)
    })
}

fn check_value_property(aggregation: Aggregation, path: Option<&str>) -> Result<(), Problem> {
    let at = |code, detail: String| Err(Problem::at(code, "value_property", detail));
    match (aggregation, path) {
        (Aggregation::Count, None) => Ok(()),
        (Aggregation::Count, Some(_)) => at(
            ProblemCode::ValuePropertyNotAllowed,
            "count counts events and looks at no value".to_owned(),
        ),
        (other, None) => at(
            ProblemCode::ValuePropertyRequired,
            format!(
                "{} looks at a value of each event: value_property says where it stands",
                other.as_str()
            ),
        ),
        (_, Some(path)) => read_value_path(path).map(|_| ()),
    }
}

fn read_value_path(path: &str) -> Result<core::ValuePath, Problem> {
    path.parse().map_err(|error: core::InvalidValuePath| {
        Problem::at(ProblemCode::InvalidValueProperty, "value_property", error.to_string())
    })
}

fn read_multiplier(
    aggregation: Aggregation,
    given: Option<Decimal>,
) -> Result<Option<Quantity>, Problem> {
    let at = |code, detail: String| Err(Problem::at(code, "multiplier", detail));
    match (aggregation, given) {
        (Aggregation::SumWithMultiplier, None) => at(
            ProblemCode::MultiplierRequired,
            "sum_with_multiplier multiplies each value: multiplier says by what".to_owned(),
        ),
        (Aggregation::SumWithMultiplier, Some(Decimal(value))) => {
            if value <= Quantity::ZERO {
                let detail = format!("a multiplier is above zero, not {value}");
                return at(ProblemCode::InvalidMultiplier, detail);
            }
            Ok(Some(value))
        }
        (_, None) => Ok(None),
        (other, Some(_)) => at(
            ProblemCode::MultiplierNotAllowed,
            format!("{} multiplies nothing; sum_with_multiplier does", other.as_str()),
        ),
    }
}

fn read_bucket(aggregation: Aggregation, given: Option<&str>) -> Result<Option<Bucket>, Problem> {
    let Some(text) = given else { return Ok(None) };
    let at = |code, detail: String| Problem::at(code, "bucket", detail);
    if !matches!(aggregation, Aggregation::Sum | Aggregation::Max) {
        let detail = format!("only sum and max look at buckets, not {}", aggregation.as_str());
        return Err(at(ProblemCode::BucketNotAllowed, detail));
    }
    let name = |it: Bucket| it.to_core().name();
    let found = Bucket::ALL.into_iter().find(|it| name(*it) == text);
    let unknown = || {
        let known = Bucket::ALL.map(name).join(", ");
        let detail = format!("{text:?} is not a length of buckets; there are {known}");
        at(ProblemCode::UnknownBucket, detail)
    };
    found.map(Some).ok_or_else(unknown)
}

fn check_filters(filters: &[MeterFilter]) -> Result<(), Problem> {
    if filters.len() > limits::METER_FILTERS {
        return Err(too_many("filters", limits::METER_FILTERS));
    }
    let mut paths = Vec::with_capacity(filters.len());
    for (index, filter) in filters.iter().enumerate() {
        let path = read_filter_path(index, &filter.property)?;
        if paths.contains(&path) {
            let detail = "another filter looks there already; give all values to one";
            return Err(invalid_filter(format!("filters[{index}].property"), detail));
        }
        paths.push(path);
        check_filter_values(&format!("filters[{index}].values"), &filter.values)?;
    }
    Ok(())
}

fn check_filter_values(field: &str, values: &[String]) -> Result<(), Problem> {
    if values.is_empty() {
        return Err(invalid_filter(field, "without a value no event would ever pass"));
    }
    if values.len() > limits::FILTER_VALUES {
        return Err(too_many(field, limits::FILTER_VALUES));
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let field = format!("{field}[{index}]");
        if value.len() > limits::FILTER_VALUE_BYTES {
            let detail = format!("a value has at most {} bytes", limits::FILTER_VALUE_BYTES);
            return Err(invalid_filter(field, detail));
        }
        if !seen.insert(value) {
            return Err(invalid_filter(field, format!("{value:?} twice")));
        }
    }
    Ok(())
}

fn read_filter_path(index: usize, property: &str) -> Result<core::ValuePath, Problem> {
    property.parse().map_err(|error: core::InvalidValuePath| {
        invalid_filter(format!("filters[{index}].property"), error.to_string())
    })
}

fn invalid_filter(field: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::at(ProblemCode::InvalidFilter, field, detail)
}

fn too_many(field: &str, most: usize) -> Problem {
    let detail = format!("{field} has at most {most} items");
    Problem::at(ProblemCode::TooManyItems, field, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_as_in_the_core() {
        for bucket in Bucket::ALL {
            let json = serde_json::to_value(bucket).unwrap();
            assert_eq!(json, bucket.to_core().name());
        }
        assert_eq!(Bucket::ALL.map(Bucket::to_core), core_bucket::Bucket::ALL);
    }

    #[test]
    fn aggregations_are_named_as_they_are_stored() {
        for aggregation in Aggregation::ALL {
            assert_eq!(serde_json::to_value(aggregation).unwrap(), aggregation.as_str());
        }
    }

    #[test]
    fn a_row_of_the_first_version_is_a_meter() {
        let text = r#"{"id": "mtr_01ARZ3NDEKTSV4RRFFQ69G5FAV", "key": "m", "name": "m",
            "event_type": "t", "aggregation": "sum", "value_property": "$.v", "metadata": {},
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}"#;
        let meter: Meter = serde_json::from_str(text).unwrap();
        let core = meter.to_core(EnvironmentId::from_bits(1)).unwrap();
        let value = "$.v".parse().unwrap();
        assert_eq!(core.aggregation, core::Aggregation::Sum { value });
        assert!(core.group_by.is_empty() && core.filters.is_empty());
    }
}
