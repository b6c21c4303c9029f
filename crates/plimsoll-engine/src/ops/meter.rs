//! Meters: which events count, and by what number.
//!
//! What a meter measures never changes; its name and metadata do. Not here: measuring
//! (`plimsoll-core`).

use std::sync::Arc;

use plimsoll_core::{
    catalog::meter as core,
    command::ControlCommand,
    ids::{EnvironmentId, MeterId},
    limits,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{EnvironmentView, index::Versioned},
    ops::{
        Context, Ops,
        document::{Document, Kind},
        fields::{self, Metadata, MetadataPatch},
        page::{ListRequest, Page},
        plan::{Answer, ControlPlan},
        problem::{Problem, ProblemCode},
        request::{Immutable, Patch},
        scalar::as_text,
    },
};

/// A meter: events of one type, put together to one number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Meter {
    /// The meter's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "mtr_01K0000000000000000000000A")]
    pub id: MeterId,
    /// The meter's key, unique among meters.
    #[schema(example = "tokens")]
    pub key: String,
    /// What people call it.
    #[schema(example = "Tokens")]
    pub name: String,
    /// The `type` of the events that it measures.
    #[schema(example = "llm.request")]
    pub event_type: String,
    /// How values are put together.
    pub aggregation: Aggregation,
    /// Where the value stands inside an event's `data`, as a JSONPath of member names.
    #[schema(example = "$.tokens")]
    pub value_property: Option<String>,
    /// Texts that Plimsoll keeps and never reads.
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
    /// When it was made.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// How the values of a meter's events are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The sum of a value of each event; a negative value corrects.
    Sum,
    /// The number of events.
    Count,
}

/// A meter to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateMeter {
    /// The meter's key, unique among meters; it never changes.
    #[schema(example = "tokens")]
    pub key: String,
    /// What people call it; the key if absent.
    #[serde(default)]
    #[schema(example = "Tokens")]
    pub name: Option<String>,
    /// The `type` of the events to measure; it never changes.
    #[schema(example = "llm.request")]
    pub event_type: String,
    /// `sum` or `count`; it never changes.
    #[schema(value_type = Aggregation)]
    pub aggregation: String,
    /// A JSONPath of member names, such as `$.usage['total.tokens']`: required for `sum`, refused
    /// for `count`.
    #[serde(default)]
    #[schema(example = "$.tokens")]
    pub value_property: Option<String>,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of a meter. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMeter {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    key: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    event_type: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    aggregation: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    value_property: Immutable,
}

impl CreateMeter {
    fn into_document(self, id: MeterId, now: Timestamp) -> Result<Meter, Problem> {
        fields::key("key", &self.key)?;
        let name = self.name.unwrap_or_else(|| self.key.clone());
        fields::name("name", &name)?;
        fields::bounded_text("event_type", &self.event_type, limits::EVENT_ATTRIBUTE_BYTES)?;
        fields::metadata(&self.metadata)?;
        let aggregation = match self.aggregation.as_str() {
            "sum" => Aggregation::Sum,
            "count" => Aggregation::Count,
            other => {
                let detail = format!("{other:?} is not an aggregation; there are sum and count");
                return Err(Problem::at(ProblemCode::UnknownAggregation, "aggregation", detail));
            }
        };
        check_value_property(aggregation, self.value_property.as_deref())?;
        Ok(Meter {
            id,
            key: self.key,
            name,
            event_type: self.event_type,
            aggregation,
            value_property: self.value_property,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
        })
    }
}

fn check_value_property(aggregation: Aggregation, path: Option<&str>) -> Result<(), Problem> {
    let at = |code, detail: String| Err(Problem::at(code, "value_property", detail));
    match (aggregation, path) {
        (Aggregation::Sum, None) => at(
            ProblemCode::ValuePropertyRequired,
            "sum adds up a value of each event: value_property says where it stands".to_owned(),
        ),
        (Aggregation::Count, Some(_)) => at(
            ProblemCode::ValuePropertyNotAllowed,
            "count counts events and looks at no value".to_owned(),
        ),
        (Aggregation::Sum, Some(path)) => match path.parse::<core::ValuePath>() {
            Ok(_) => Ok(()),
            Err(error) => at(ProblemCode::InvalidValueProperty, error.to_string()),
        },
        (Aggregation::Count, None) => Ok(()),
    }
}

impl UpdateMeter {
    fn apply(self, before: &Meter, now: Timestamp) -> Result<Meter, Problem> {
        self.key.check("key")?;
        self.event_type.check("event_type")?;
        self.aggregation.check("aggregation")?;
        self.value_property.check("value_property")?;
        let name = fields::never_null("name", self.name, before.name.clone())?;
        fields::name("name", &name)?;
        let metadata = fields::patched_metadata(before.metadata.clone(), self.metadata)?;
        Ok(Meter { name, metadata, updated_at: now, ..before.clone() })
    }
}

impl Meter {
    /// What the rules of metering depend on.
    pub(crate) fn to_core(&self, environment: EnvironmentId) -> Result<core::Meter, Problem> {
        let aggregation = match (self.aggregation, &self.value_property) {
            (Aggregation::Count, _) => core::Aggregation::Count,
            (Aggregation::Sum, path) => {
                let path = path.as_deref().unwrap_or_default();
                let value = path.parse().map_err(|error: core::InvalidValuePath| {
                    let detail = error.to_string();
                    Problem::at(ProblemCode::InvalidValueProperty, "value_property", detail)
                })?;
                core::Aggregation::Sum { value }
            }
        };
        let event_type = self.event_type.as_str().into();
        let (group_by, filters) = (Vec::new(), Vec::new());
        Ok(core::Meter { id: self.id, environment, event_type, aggregation, group_by, filters })
    }
}

impl Document for Meter {
    type Id = MeterId;
    const KIND: Kind = Kind::Meter;

    fn id(&self) -> MeterId {
        self.id
    }

    fn key(&self) -> Option<&str> {
        Some(&self.key)
    }
}

impl Ops {
    /// Makes a meter. It counts what is accepted from now on.
    pub async fn create_meter(
        &self,
        context: &Context,
        request: CreateMeter,
    ) -> Result<Meter, Problem> {
        self.once(context, async {
            let meter = request.into_document(self.mint(MeterId::from_parts), context.now)?;
            self.control(context, |view, draft| {
                view.meters.check_free(&meter.key)?;
                view.meters.check_room(limits::METERS)?;
                draft.insert(&meter, Some(&meter.key));
                draft.audit("meter.create", None, Some(&meter));
                let command = ControlCommand::PutMeter(meter.to_core(draft.environment)?);
                let entry = Versioned { version: 1, document: meter.clone() };
                Ok(ControlPlan::new(Answer::created(meter.clone()))
                    .command(command)
                    .view(draft.environment, |it| Arc::make_mut(&mut it.meters).put(entry)))
            })
            .await
        })
        .await
    }

    /// The meter with this key or id.
    pub fn get_meter(&self, context: &Context, name: &str) -> Result<Meter, Problem> {
        Ok(find_meter(&*self.view(context)?, name)?.document.clone())
    }

    /// Meters, the oldest first.
    pub fn list_meters(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<Meter>, Problem> {
        Ok(self.view(context)?.meters.page(request)?.map(|it| it.document.clone()))
    }

    /// Changes a meter's name or metadata.
    pub async fn update_meter(
        &self,
        context: &Context,
        name: &str,
        request: UpdateMeter,
    ) -> Result<Meter, Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let before = find_meter(view, name)?;
                let after = request.clone().apply(&before.document, context.now)?;
                draft.update(before.version, &after, Some(&after.key));
                draft.audit("meter.update", Some(&before.document), Some(&after));
                let entry = Versioned { version: before.version + 1, document: after.clone() };
                Ok(ControlPlan::new(Answer::changed(after))
                    .view(draft.environment, |it| Arc::make_mut(&mut it.meters).put(entry)))
            })
            .await
        })
        .await
    }

    /// Deletes a meter that no feature is measured by.
    pub async fn delete_meter(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let meter = find_meter(view, name)?;
                let Meter { id, key, .. } = &meter.document;
                let id = *id;
                let used = view.features.iter().find(|it| it.document.meter.as_ref() == Some(key));
                if let Some(feature) = used {
                    let detail =
                        format!("the feature {:?} is measured by it", feature.document.key);
                    return Err(Problem::new(ProblemCode::MeterInUse, detail));
                }
                draft.delete(meter);
                draft.audit("meter.delete", Some(&meter.document), None);
                Ok(ControlPlan::new(Answer::deleted())
                    .command(ControlCommand::DeleteMeter(id))
                    .view(draft.environment, move |it| Arc::make_mut(&mut it.meters).remove(id)))
            })
            .await
        })
        .await
    }
}

/// The meter with this key or id, in one environment.
pub(crate) fn find_meter<'a>(
    view: &'a EnvironmentView,
    name: &str,
) -> Result<&'a Versioned<Meter>, Problem> {
    view.meters.find(name).ok_or_else(|| Problem::not_found("meter", name))
}
