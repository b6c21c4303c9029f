//! Resets that someone asks for: usage starts again at zero before the period is over.
//!
//! Not here: resets by time, and what a reset does to grants and overage (`plimsoll-core`).

use plimsoll_core::command::{CustomerCommand, ManualReset};
use serde::Deserialize;

use crate::{
    catalogue::index::Versioned,
    ops::{
        Context, Ops,
        change::Changed,
        entitlement::{
            Entitlement,
            scheduled::{ScheduledReset, effective_at},
        },
        plan::{Answer, CustomerPlan, json},
        problem::{Problem, ProblemCode},
        scalar::Time,
    },
};

/// A reset of an entitlement.
#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetEntitlement {
    /// When, never earlier than now; now if absent.
    #[serde(default)]
    pub effective_at: Option<Time>,
    /// Whether the next period still begins when it would have; if not, a whole period begins with
    /// the reset. True if absent.
    #[serde(default)]
    pub retain_anchor: Option<bool>,
    /// Whether what was used beyond the limit counts in the new period; if absent, as the
    /// entitlement says.
    #[serde(default)]
    pub preserve_overage: Option<bool>,
}

impl Ops {
    /// Has usage start again at zero, now or later.
    pub async fn reset_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: ResetEntitlement,
    ) -> Result<Entitlement, Problem> {
        self.once(context, async {
            self.attempts(|| self.try_reset_entitlement(context, customer, name, request)).await
        })
        .await
    }

    /// Nothing, if something was changed meanwhile.
    async fn try_reset_entitlement(
        &self,
        context: &Context,
        customer: &str,
        name: &str,
        request: ResetEntitlement,
    ) -> Result<Option<Entitlement>, Problem> {
        let (turn, customer) = self.customer_in_turn(context, customer).await?;
        let customer = customer.document.id;
        let found = self.find_entitlement(context, customer, name).await?;
        let Versioned { version, document: before } = found.entry;
        before.check_metered()?;
        let (now, standing) = self.standing(context, customer, &before).await?;
        let at = effective_at("effective_at", request.effective_at, now)?;
        let from = standing.value.window.from;
        if at <= from {
            let detail = format!("a reset comes after the period began, at {from}");
            return Err(Problem::at(ProblemCode::ResetTooSoon, "effective_at", detail));
        }
        let before = before.at(now);
        let mut after = Entitlement { updated_at: context.now, ..before.clone() };
        let reset = ScheduledReset {
            effective_at: at,
            retain_anchor: request.retain_anchor.unwrap_or(true),
            preserve_overage: request.preserve_overage,
        };
        let command = CustomerCommand::ResetEntitlement {
            customer,
            entitlement: after.id,
            reset: ManualReset {
                at,
                retains_anchor: reset.retain_anchor,
                preserves_overage: reset.preserve_overage,
            },
        };
        if at > now {
            after.schedule_reset(reset)?;
        } else if !reset.retain_anchor {
            after.anchor_at(at);
        }
        let mut draft = self.draft(context);
        draft.update(version, &after, Some(&found.feature.to_string()));
        draft.audit("entitlement.reset", Some(&before), Some(&after));
        let plan = CustomerPlan {
            turn,
            draft,
            customer,
            commands: vec![command],
            documents: vec![(after.id.to_string(), json(&after).into_bytes())],
            opening: None,
            effects: Vec::new(),
            answer: Answer::changed(after),
        };
        match self.change(context, plan).await? {
            Changed::Made(entitlement) => Ok(Some(entitlement)),
            Changed::Refused { .. } => Ok(None),
        }
    }
}
