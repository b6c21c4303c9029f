//! Features: what is sold.
//!
//! Whether and how a feature is measured never changes; its name, value and metadata do. Not here:
//! who may use it (`entitlement`).

use std::sync::Arc;

use plimsoll_core::{
    catalog::feature as core,
    command::ControlCommand,
    ids::{EnvironmentId, FeatureId},
    limits,
    time::Timestamp,
};
use plimsoll_store::resource;
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::{EnvironmentView, index::Versioned},
    ops::{
        Context, Ops,
        document::{Document, Kind},
        fields::{self, Metadata, MetadataPatch},
        page::{ListRequest, Page},
        plan::{Answer, ControlPlan, json},
        problem::{Problem, ProblemCode},
        request::{Immutable, Patch},
        scalar::as_text,
    },
};

/// A feature: something that is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Feature {
    /// The feature's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "fea_01K0000000000000000000000A")]
    pub id: FeatureId,
    /// The feature's key, unique among features.
    #[schema(example = "tokens")]
    pub key: String,
    /// What people call it.
    #[schema(example = "Tokens")]
    pub name: String,
    /// Whether and how it is measured.
    pub r#type: FeatureType,
    /// The key of the meter that measures it; only of a metered one.
    #[schema(example = "tokens")]
    pub meter: Option<String>,
    /// What an entitlement to it gives, unless the entitlement says otherwise; only of a static
    /// one.
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Option<serde_json::Value>,
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

/// Whether and how a feature is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeatureType {
    /// Its usage is measured by a meter.
    Metered,
    /// A customer has it or not.
    Boolean,
    /// A customer has a configured value of it.
    Static,
}

/// A feature to be made.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateFeature {
    /// The feature's key, unique among features; it never changes.
    #[schema(example = "tokens")]
    pub key: String,
    /// What people call it; the key if absent.
    #[serde(default)]
    #[schema(example = "Tokens")]
    pub name: Option<String>,
    /// `metered`, `boolean` or `static`; it never changes.
    #[schema(value_type = FeatureType)]
    pub r#type: String,
    /// The key or id of the meter that measures it: required for `metered`, refused otherwise.
    #[serde(default)]
    #[schema(example = "tokens")]
    pub meter: Option<String>,
    /// What an entitlement to it gives: required for `static`, refused otherwise.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Option<serde_json::Value>,
    /// Texts to keep with it.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// A change of a feature. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateFeature {
    /// What people call it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// What an entitlement to it gives; only of a static feature.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    pub value: Patch<serde_json::Value>,
    /// Texts to set, or to remove by null.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    pub metadata: Patch<MetadataPatch>,
    #[serde(default)]
    #[schema(ignore)]
    key: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    r#type: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    meter: Immutable,
}

/// Checks the value of a static feature or entitlement.
pub(crate) fn check_value(value: &serde_json::Value) -> Result<(), Problem> {
    if json(value).len() > limits::METADATA_VALUE_BYTES {
        let detail = format!("value has at most {} bytes as JSON", limits::METADATA_VALUE_BYTES);
        return Err(Problem::invalid("value", detail));
    }
    Ok(())
}

impl CreateFeature {
    /// The document, with the meter left as the request says it.
    fn into_document(self, id: FeatureId, now: Timestamp) -> Result<Feature, Problem> {
        fields::key("key", &self.key)?;
        let name = self.name.unwrap_or_else(|| self.key.clone());
        fields::name("name", &name)?;
        fields::metadata(&self.metadata)?;
        let r#type = match self.r#type.as_str() {
            "metered" => FeatureType::Metered,
            "boolean" => FeatureType::Boolean,
            "static" => FeatureType::Static,
            other => {
                let detail = format!("{other:?} is none of metered, boolean, static");
                return Err(Problem::at(ProblemCode::UnknownFeatureType, "type", detail));
            }
        };
        only_for("meter", self.meter.is_some(), r#type == FeatureType::Metered, "metered")?;
        only_for("value", self.value.is_some(), r#type == FeatureType::Static, "static")?;
        self.value.as_ref().map_or(Ok(()), check_value)?;
        Ok(Feature {
            id,
            key: self.key,
            name,
            r#type,
            meter: self.meter,
            value: self.value,
            metadata: self.metadata,
            created_at: now,
            updated_at: now,
        })
    }
}

/// Refuses a field that is missing where it belongs, or given where it does not.
fn only_for(field: &str, given: bool, belongs: bool, r#type: &str) -> Result<(), Problem> {
    match (given, belongs) {
        (true, true) | (false, false) => Ok(()),
        (false, true) => {
            let detail = format!("a {type} feature has a {field}");
            Err(Problem::at(ProblemCode::MissingField, field, detail))
        }
        (true, false) => {
            Err(Problem::invalid(field, format!("only a {type} feature has a {field}")))
        }
    }
}

impl UpdateFeature {
    fn apply(self, before: &Feature, now: Timestamp) -> Result<Feature, Problem> {
        self.key.check("key")?;
        self.r#type.check("type")?;
        self.meter.check("meter")?;
        let name = fields::never_null("name", self.name, before.name.clone())?;
        fields::name("name", &name)?;
        let value = match (before.r#type, self.value) {
            (_, Patch::Keep) => before.value.clone(),
            (FeatureType::Static, Patch::Set(value)) => {
                check_value(&value)?;
                Some(value)
            }
            (FeatureType::Static, Patch::Clear) => {
                return Err(Problem::invalid("value", "a static feature has a value"));
            }
            (FeatureType::Metered | FeatureType::Boolean, Patch::Set(_) | Patch::Clear) => {
                return Err(Problem::invalid("value", "only a static feature has a value"));
            }
        };
        let metadata = fields::patched_metadata(before.metadata.clone(), self.metadata)?;
        Ok(Feature { name, value, metadata, updated_at: now, ..before.clone() })
    }
}

impl Feature {
    /// What the rules of metering depend on.
    fn to_core(
        &self,
        environment: EnvironmentId,
        view: &EnvironmentView,
    ) -> Result<core::Feature, Problem> {
        let kind = match (self.r#type, &self.meter) {
            (FeatureType::Boolean, _) => core::FeatureKind::Boolean,
            (FeatureType::Static, _) => core::FeatureKind::Static,
            (FeatureType::Metered, meter) => {
                let name = meter.as_deref().unwrap_or_default();
                let meter = view.meters.find(name).ok_or_else(|| {
                    let detail = format!("there is no meter {name:?}");
                    Problem::at(ProblemCode::MeterNotFound, "meter", detail)
                })?;
                core::FeatureKind::Metered { meter: meter.document.id }
            }
        };
        let document = json(self).into_bytes().into();
        Ok(core::Feature { id: self.id, environment, kind, document })
    }
}

impl Document for Feature {
    type Id = FeatureId;
    const KIND: Kind = Kind::Feature;

    fn id(&self) -> FeatureId {
        self.id
    }

    fn key(&self) -> Option<&str> {
        Some(&self.key)
    }
}

impl Ops {
    /// Makes a feature.
    pub async fn create_feature(
        &self,
        context: &Context,
        request: CreateFeature,
    ) -> Result<Feature, Problem> {
        self.once(context, async {
            let asked = request.into_document(self.mint(FeatureId::from_parts), context.now)?;
            self.control(context, |view, draft| {
                view.features.check_free(&asked.key)?;
                view.features.check_room(limits::FEATURES)?;
                let mut feature = asked.clone();
                // The meter may be asked for by id; documents show its key.
                let meter = feature.meter.as_deref().and_then(|it| view.meters.find(it));
                if let Some(meter) = meter {
                    feature.meter = Some(meter.document.key.clone());
                }
                let command = ControlCommand::PutFeature(feature.to_core(draft.environment, view)?);
                draft.insert(&feature, Some(&feature.key));
                draft.audit("feature.create", None, Some(&feature));
                let entry = Versioned { version: 1, document: feature.clone() };
                Ok(ControlPlan::new(Answer::created(feature))
                    .command(command)
                    .view(draft.environment, |it| Arc::make_mut(&mut it.features).put(entry)))
            })
            .await
        })
        .await
    }

    /// The feature with this key or id.
    pub fn get_feature(&self, context: &Context, name: &str) -> Result<Feature, Problem> {
        Ok(find_feature(&*self.view(context)?, name)?.document.clone())
    }

    /// Features, the oldest first.
    pub fn list_features(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<Feature>, Problem> {
        Ok(self.view(context)?.features.page(request)?.map(|it| it.document.clone()))
    }

    /// Changes a feature's name, value or metadata.
    pub async fn update_feature(
        &self,
        context: &Context,
        name: &str,
        request: UpdateFeature,
    ) -> Result<Feature, Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let before = find_feature(view, name)?;
                let after = request.clone().apply(&before.document, context.now)?;
                draft.update(before.version, &after, Some(&after.key));
                draft.audit("feature.update", Some(&before.document), Some(&after));
                // Notifications show the feature's document, so the partitions need to know.
                let command = ControlCommand::PutFeature(after.to_core(draft.environment, view)?);
                let entry = Versioned { version: before.version + 1, document: after.clone() };
                Ok(ControlPlan::new(Answer::changed(after))
                    .command(command)
                    .view(draft.environment, |it| Arc::make_mut(&mut it.features).put(entry)))
            })
            .await
        })
        .await
    }

    /// Deletes a feature that no rule and no entitlement names.
    pub async fn delete_feature(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            let feature = find_feature(&*self.view(context)?, name)?.document.clone();
            self.check_not_entitled(context, &feature).await?;
            let deleted = self.control(context, |view, draft| {
                let feature = find_feature(view, name)?;
                let id = feature.document.id;
                if let Some(rule) = view.rules.iter().find(|it| it.document.names_feature(id)) {
                    let detail = format!("the rule {:?} names it", rule.document.rule.name);
                    return Err(Problem::new(ProblemCode::FeatureInUse, detail));
                }
                draft.delete(feature);
                // After the deletion: see `resource::unnamed`.
                let kind = Kind::Entitlement.as_str();
                let key = id.to_string();
                draft.statements.push(resource::unnamed(draft.environment, kind, &key));
                draft.audit("feature.delete", Some(&feature.document), None);
                Ok(ControlPlan::new(Answer::deleted())
                    .command(ControlCommand::DeleteFeature(id))
                    .view(draft.environment, move |it| Arc::make_mut(&mut it.features).remove(id)))
            });
            deleted.await
        })
        .await
    }

    /// Refuses what entitlements name, with a reason. The commit checks it again.
    async fn check_not_entitled(
        &self,
        context: &Context,
        feature: &Feature,
    ) -> Result<(), Problem> {
        let store = self.inner.deps.store.as_ref();
        let (environment, key) = (context.environment(), feature.id.to_string());
        let named = resource::is_named(store, environment, Kind::Entitlement.as_str(), &key);
        if named.await.map_err(|it| super::control::unreadable(&it))? {
            return Err(entitled());
        }
        Ok(())
    }
}

/// Customers are entitled to the feature.
pub(super) fn entitled() -> Problem {
    let detail = "customers are entitled to it; delete their entitlements first";
    Problem::new(ProblemCode::FeatureInUse, detail)
}

/// The feature with this key or id, in one environment.
pub(crate) fn find_feature<'a>(
    view: &'a EnvironmentView,
    name: &str,
) -> Result<&'a Versioned<Feature>, Problem> {
    view.features.find(name).ok_or_else(|| Problem::not_found("feature", name))
}
