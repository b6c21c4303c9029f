//! What can be done with rules.

use std::sync::Arc;

use plimsoll_core::{
    command::ControlCommand,
    ids::{CustomerId, EnvironmentId, LineId, RuleId},
    limits,
};

use crate::{
    catalogue::{EnvironmentView, index::Versioned},
    ops::{
        Context, Ops, fields,
        page::{ListRequest, Page},
        plan::{Answer, ControlPlan, Draft, json},
        problem::{Problem, ProblemCode},
        request::Patch,
        rule::{CreateRule, Rule, StoredRule, UpdateRule, checks::Surroundings},
    },
};

impl Ops {
    /// Makes a rule. Lines that are already reached fire, unless it says otherwise.
    pub async fn create_rule(
        &self,
        context: &Context,
        request: CreateRule,
    ) -> Result<Rule, Problem> {
        self.once(context, async {
            let customers = self.find_customers(context, &request.customers).await?;
            let id = self.mint(RuleId::from_parts);
            let mint_line = || self.mint(LineId::from_parts);
            self.control(context, |view, draft| {
                view.rules.check_room(limits::RULES)?;
                let around = Surroundings {
                    view,
                    customers: customers.clone(),
                    mint_line: &mint_line,
                    now: context.now,
                };
                let stored = request.clone().into_stored(id, around)?;
                draft.insert(&stored, None);
                audit(draft, "rule.create", None, Some(&stored));
                let answer = Answer::created(stored.rule.clone());
                Ok(put(ControlPlan::new(answer), draft.environment, 1, stored))
            })
            .await
        })
        .await
    }

    /// The rule with this id.
    pub fn get_rule(&self, context: &Context, name: &str) -> Result<Rule, Problem> {
        Ok(find_rule(&*self.view(context)?, name)?.document.rule.clone())
    }

    /// Rules, the oldest first.
    pub fn list_rules(
        &self,
        context: &Context,
        request: &ListRequest,
    ) -> Result<Page<Rule>, Problem> {
        Ok(self.view(context)?.rules.page(request)?.map(|it| it.document.rule.clone()))
    }

    /// Changes a rule. Lines that the change leaves alone keep what they have fired.
    pub async fn update_rule(
        &self,
        context: &Context,
        name: &str,
        request: UpdateRule,
    ) -> Result<Rule, Problem> {
        self.once(context, async {
            find_rule(&*self.view(context)?, name)?;
            let customers = match &request.customers {
                Patch::Keep | Patch::Clear => Vec::new(),
                Patch::Set(names) => self.find_customers(context, names).await?,
            };
            let mint_line = || self.mint(LineId::from_parts);
            self.control(context, |view, draft| {
                let Versioned { version, document: before } = find_rule(view, name)?;
                let around = Surroundings {
                    view,
                    customers: customers.clone(),
                    mint_line: &mint_line,
                    now: context.now,
                };
                let after = request.clone().apply(before, around)?;
                draft.update(*version, &after, None);
                audit(draft, "rule.update", Some(before), Some(&after));
                let answer = Answer::changed(after.rule.clone());
                Ok(put(ControlPlan::new(answer), draft.environment, version + 1, after))
            })
            .await
        })
        .await
    }

    /// Deletes a rule. What it has fired stays.
    pub async fn delete_rule(&self, context: &Context, name: &str) -> Result<(), Problem> {
        self.once(context, async {
            self.control(context, |view, draft| {
                let rule = find_rule(view, name)?;
                let id = rule.document.rule.id;
                draft.delete(rule);
                audit(draft, "rule.delete", Some(&rule.document), None);
                Ok(ControlPlan::new(Answer::deleted())
                    .command(ControlCommand::DeleteRule {
                        environment: draft.environment,
                        rule: id,
                    })
                    .view(draft.environment, move |it| Arc::make_mut(&mut it.rules).remove(id)))
            })
            .await
        })
        .await
    }

    /// The ids of the customers that a request names.
    pub(super) async fn find_customers(
        &self,
        context: &Context,
        names: &[String],
    ) -> Result<Vec<CustomerId>, Problem> {
        fields::distinct("customers", names, limits::RULE_SCOPE)?;
        let mut ids = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let field = format!("customers[{index}]");
            let Some(customer) = self.find_customer(context, name).await? else {
                let detail = format!("there is no customer {name:?}");
                return Err(Problem::at(ProblemCode::CustomerNotFound, field, detail));
            };
            if ids.contains(&customer.document.id) {
                return Err(Problem::invalid(field, "the customer is named twice"));
            }
            ids.push(customer.document.id);
        }
        Ok(ids)
    }
}

/// The plan that also tells the partitions, and shows the rule to the catalogue.
fn put<T>(
    plan: ControlPlan<T>,
    environment: EnvironmentId,
    version: i64,
    document: StoredRule,
) -> ControlPlan<T> {
    plan.command(ControlCommand::PutRule(document.to_core(environment))).view(
        environment,
        move |it| {
            Arc::make_mut(&mut it.rules).put(Versioned { version, document });
        },
    )
}

fn audit(
    draft: &mut Draft,
    action: &'static str,
    before: Option<&StoredRule>,
    after: Option<&StoredRule>,
) {
    let id = after.or(before).map(|it| it.rule.id.to_string()).unwrap_or_default();
    let shown = |it: Option<&StoredRule>| it.map(|it| json(&it.rule));
    draft.audit_as(action, "rule", id, shown(before), shown(after));
}

/// The rule with this id, in one environment.
fn find_rule<'a>(
    view: &'a EnvironmentView,
    name: &str,
) -> Result<&'a Versioned<StoredRule>, Problem> {
    view.rules.find(name).ok_or_else(|| Problem::not_found("rule", name))
}
