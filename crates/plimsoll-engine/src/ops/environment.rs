//! Environments: each isolates everything in it; an API key belongs to one.
//!
//! Not here: making them (`bootstrap`).

use std::{fmt, str::FromStr, sync::Arc};

use plimsoll_core::{ids::EnvironmentId, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::index::Versioned,
    ops::{
        Context, Ops,
        document::{Document, Kind},
        fields,
        plan::{Answer, ControlPlan},
        problem::Problem,
        request::{Immutable, Patch},
        scalar::{as_text, as_text_or_null},
    },
};

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Environment {
    /// The environment's id.
    #[serde(with = "as_text")]
    #[schema(value_type = String, example = "env_01K0000000000000000000000A")]
    pub id: EnvironmentId,
    /// What people call it; unique.
    #[schema(example = "live")]
    pub name: String,
    /// Whether it is the real thing.
    pub kind: EnvironmentKind,
    /// What happens to usage of a subject that nobody has.
    pub unknown_subjects: UnknownSubjects,
    /// Where its clock stands, if it was set; else it follows the machine's.
    #[serde(default, with = "as_text_or_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clock: Option<Timestamp>,
    /// When it was made.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Whether an environment is the real thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// Real customers; it follows the machine's clock.
    Live,
    /// For trying things out.
    Sandbox,
}

/// What happens to usage of a subject that nobody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSubjects {
    /// A provisional customer is made for it.
    Create,
    /// It is rejected.
    Reject,
}

/// A change of an environment. What is absent stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateEnvironment {
    /// What happens to usage of a subject that nobody has.
    #[serde(default)]
    #[schema(value_type = Option<UnknownSubjects>)]
    pub unknown_subjects: Patch<UnknownSubjects>,
    #[serde(default)]
    #[schema(ignore)]
    name: Immutable,
    #[serde(default)]
    #[schema(ignore)]
    kind: Immutable,
}

/// The text is not a kind of environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an environment is live or sandbox")]
pub struct InvalidEnvironmentKind;

impl FromStr for EnvironmentKind {
    type Err = InvalidEnvironmentKind;

    fn from_str(text: &str) -> Result<Self, InvalidEnvironmentKind> {
        match text {
            "live" => Ok(Self::Live),
            "sandbox" => Ok(Self::Sandbox),
            _ => Err(InvalidEnvironmentKind),
        }
    }
}

impl fmt::Display for EnvironmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Sandbox => "sandbox",
        })
    }
}

impl Document for Environment {
    type Id = EnvironmentId;
    const KIND: Kind = Kind::Environment;

    fn id(&self) -> EnvironmentId {
        self.id
    }
}

impl Environment {
    /// The environment's time, where the machine's clock shows `machine`.
    pub fn now(&self, machine: Timestamp) -> Timestamp {
        self.clock.unwrap_or(machine)
    }
}

impl Ops {
    /// The caller's environment.
    pub fn environment(&self, context: &Context) -> Result<Environment, Problem> {
        Ok(self.view(context)?.environment.document.clone())
    }

    /// Changes the settings of the caller's environment.
    pub async fn update_environment(
        &self,
        context: &Context,
        request: UpdateEnvironment,
    ) -> Result<Environment, Problem> {
        self.once(context, async {
            request.name.check("name")?;
            request.kind.check("kind")?;
            self.control(context, |view, draft| {
                let Versioned { version, document: before } = view.environment.as_ref();
                let unknown_subjects = fields::never_null(
                    "unknown_subjects",
                    request.unknown_subjects.clone(),
                    before.unknown_subjects,
                )?;
                let after = Environment {
                    unknown_subjects,
                    updated_at: self.machine_now(),
                    ..before.clone()
                };
                // An environment has no key: its name is unique among all, which a key is not.
                draft.update(*version, &after, None);
                draft.audit("environment.update", Some(before), Some(&after));
                let entry = Versioned { version: version + 1, document: after.clone() };
                Ok(ControlPlan::new(Answer::changed(after))
                    .view(draft.environment, |it| it.environment = Arc::new(entry)))
            })
            .await
        })
        .await
    }
}
