//! What a rule must be: its lines, its scope, its channels; and what the core gets of it.

use plimsoll_core::{
    ids::{ChannelId, CustomerId, EnvironmentId, FeatureId, LineId, RuleId},
    limits, line as core_line,
    quantity::Quantity,
    rule as core,
    time::Timestamp,
};

use crate::{
    catalogue::EnvironmentView,
    ops::{
        fields,
        plan::json,
        problem::{Problem, ProblemCode},
        request::Patch,
        rule::{
            CreateRule, Edge, Rule, RuleType, StoredRule, UpdateRule, WhenSeveral, distinct_edges,
            lines,
        },
        scalar::Decimal,
    },
};

/// What checking a rule depends on.
pub(super) struct Surroundings<'a> {
    /// The rule's environment.
    pub(super) view: &'a EnvironmentView,
    /// The customers that the request names, found in the store.
    pub(super) customers: Vec<CustomerId>,
    /// Makes the ids of new lines.
    pub(super) mint_line: &'a dyn Fn() -> LineId,
    /// When the change is made.
    pub(super) now: Timestamp,
}

impl CreateRule {
    pub(super) fn into_stored(
        self,
        id: RuleId,
        around: Surroundings<'_>,
    ) -> Result<StoredRule, Problem> {
        fields::name("name", &self.name)?;
        let r#type = read_type(&self.r#type)?;
        let (features, feature_ids) = find_features(around.view, &self.features)?;
        let channels = find_channels(around.view, &self.channels)?;
        let lines = lines::read(r#type, self.lines, &[], around.mint_line)?;
        lines::check_groups(around.view, &feature_ids, &lines)?;
        let warning_percentage = read_warning_percentage(r#type, self.warning_percentage)?;
        let hysteresis = read_hysteresis(r#type, self.hysteresis)?;
        fields::metadata(&self.metadata)?;
        let limit_line = r#type.hidden_line().map(|_| (around.mint_line)());
        let rule = Rule {
            id,
            name: self.name,
            r#type,
            features,
            customers: around.customers,
            lines,
            warning_percentage,
            channels,
            when_several: self.when_several,
            notify_on: read_edges(r#type, self.notify_on.unwrap_or_else(|| vec![Edge::Crossed]))?,
            hysteresis,
            evaluate_on_create: self.evaluate_on_create.unwrap_or(true),
            disabled: self.disabled,
            metadata: self.metadata,
            created_at: around.now,
            updated_at: around.now,
        };
        Ok(StoredRule { rule, feature_ids, limit_line })
    }
}

impl UpdateRule {
    /// The rule after the change. `around.customers` is looked at only if the request names some.
    pub(super) fn apply(
        self,
        before: &StoredRule,
        around: Surroundings<'_>,
    ) -> Result<StoredRule, Problem> {
        self.r#type.check("type")?;
        let StoredRule { mut rule, mut feature_ids, mut limit_line } = before.clone();
        let moves_groups = !matches!((&self.features, &self.lines), (Patch::Keep, Patch::Keep));
        rule.name = fields::never_null("name", self.name, rule.name)?;
        fields::name("name", &rule.name)?;
        match self.features {
            Patch::Keep => {}
            Patch::Clear => (rule.features, feature_ids) = (Vec::new(), Vec::new()),
            Patch::Set(names) => {
                (rule.features, feature_ids) = find_features(around.view, &names)?;
            }
        }
        if !matches!(self.customers, Patch::Keep) {
            rule.customers = around.customers;
        }
        if let Some(lines) = given("lines", self.lines)? {
            rule.lines = lines::read(rule.r#type, lines, &rule.lines, around.mint_line)?;
        }
        if moves_groups {
            lines::check_groups(around.view, &feature_ids, &rule.lines)?;
        }
        if !matches!(self.warning_percentage, Patch::Keep) {
            let percentage = self.warning_percentage.apply(None);
            let percentage = read_warning_percentage(rule.r#type, percentage)?;
            if percentage != rule.warning_percentage {
                // Another level is another line.
                limit_line = Some((around.mint_line)());
            }
            rule.warning_percentage = percentage;
        }
        if let Some(names) = given("channels", self.channels)? {
            rule.channels = find_channels(around.view, &names)?;
        }
        if let Some(edges) = given("notify_on", self.notify_on)? {
            rule.notify_on = read_edges(rule.r#type, edges)?;
        }
        if !matches!(self.hysteresis, Patch::Keep) {
            rule.hysteresis = read_hysteresis(rule.r#type, self.hysteresis.apply(None))?;
        }
        rule.when_several =
            fields::never_null("when_several", self.when_several, rule.when_several)?;
        rule.evaluate_on_create = fields::never_null(
            "evaluate_on_create",
            self.evaluate_on_create,
            rule.evaluate_on_create,
        )?;
        rule.disabled = fields::never_null("disabled", self.disabled, rule.disabled)?;
        rule.metadata = fields::patched_metadata(rule.metadata, self.metadata)?;
        rule.updated_at = around.now;
        Ok(StoredRule { rule, feature_ids, limit_line })
    }
}

/// The value of a field, if the request has it; null is refused.
fn given<T>(field: &str, patch: Patch<T>) -> Result<Option<T>, Problem> {
    match patch {
        Patch::Keep => Ok(None),
        Patch::Set(value) => Ok(Some(value)),
        Patch::Clear => Err(Problem::invalid(field, format!("{field} cannot be null"))),
    }
}

fn read_type(text: &str) -> Result<RuleType, Problem> {
    RuleType::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
        let known = RuleType::ALL.map(RuleType::as_str).join(", ");
        let detail = format!("{text:?} is not a type of rule; there are {known}");
        Problem::at(ProblemCode::UnknownRuleType, "type", detail)
    })
}

/// Keys and ids of the features that the request names, each in the order of the request.
fn find_features(
    view: &EnvironmentView,
    names: &[String],
) -> Result<(Vec<String>, Vec<FeatureId>), Problem> {
    fields::distinct("features", names, limits::RULE_SCOPE)?;
    let mut ids = Vec::with_capacity(names.len());
    let mut keys: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let field = format!("features[{index}]");
        let feature = view.features.find(name).ok_or_else(|| {
            let detail = format!("there is no feature {name:?}");
            Problem::at(ProblemCode::FeatureNotFound, field.clone(), detail)
        })?;
        if ids.contains(&feature.document.id) {
            return Err(Problem::invalid(field, "the feature is named twice"));
        }
        ids.push(feature.document.id);
        keys.push(feature.document.key.clone());
    }
    Ok((keys, ids))
}

fn find_channels(view: &EnvironmentView, names: &[String]) -> Result<Vec<ChannelId>, Problem> {
    if names.is_empty() {
        let detail = "a rule names at least one channel";
        return Err(Problem::at(ProblemCode::MissingField, "channels", detail));
    }
    fields::distinct("channels", names, limits::RULE_CHANNELS)?;
    let find = |(index, name): (usize, &String)| {
        let found = view.channels.find(name).map(|it| it.document.channel.id);
        found.ok_or_else(|| {
            let detail = format!("there is no channel {name:?}");
            Problem::at(ProblemCode::ChannelNotFound, format!("channels[{index}]"), detail)
        })
    };
    names.iter().enumerate().map(find).collect()
}

fn read_warning_percentage(
    r#type: RuleType,
    given: Option<Decimal>,
) -> Result<Option<Quantity>, Problem> {
    let at = |detail: String| {
        Err(Problem::at(ProblemCode::InvalidWarningPercentage, "warning_percentage", detail))
    };
    match (r#type.default_warning(), given) {
        (default, None) => Ok(default.map(Quantity::from_integer)),
        (None, Some(_)) => at(format!("a rule of type {} has none", r#type.as_str())),
        (Some(_), Some(Decimal(value))) => {
            if value <= Quantity::ZERO || value >= Quantity::HUNDRED {
                return at("a warning comes above 0 and below 100 percent".to_owned());
            }
            Ok(Some(value))
        }
    }
}

fn read_hysteresis(r#type: RuleType, given: Option<Decimal>) -> Result<Quantity, Problem> {
    let hysteresis = given.map_or(Quantity::ZERO, |it| it.0);
    if hysteresis.is_negative() {
        return Err(Problem::invalid("hysteresis", "hysteresis is not below zero"));
    }
    if r#type == RuleType::Reset && !hysteresis.is_zero() {
        let detail = format!("a rule of type {} has no lines to arm again", r#type.as_str());
        return Err(Problem::invalid("hysteresis", detail));
    }
    Ok(hysteresis)
}

fn read_edges(r#type: RuleType, edges: Vec<Edge>) -> Result<Vec<Edge>, Problem> {
    let edges = distinct_edges(edges);
    if !edges.contains(&Edge::Crossed) {
        let detail = r#"notify_on is ["crossed"] or ["crossed", "resolved"]"#;
        return Err(Problem::invalid("notify_on", detail));
    }
    if r#type == RuleType::Reset && edges.contains(&Edge::Resolved) {
        let detail = format!("what a rule of type {} tells of never resolves", r#type.as_str());
        return Err(Problem::invalid("notify_on", detail));
    }
    Ok(edges)
}

impl StoredRule {
    /// What evaluation depends on, and the document that notifications show.
    pub(super) fn to_core(&self, environment: EnvironmentId) -> core::Rule {
        let rule = &self.rule;
        let hidden_line = rule.r#type.hidden_line().zip(self.limit_line).map(|(kind, id)| {
            // Without a percentage to warn at, it is the one of `reached`.
            let value = rule.warning_percentage.unwrap_or(Quantity::HUNDRED);
            core_line::Line { id, kind, value, group: None }
        });
        let lines = rule.lines.iter().map(lines::to_core);
        core::Rule {
            id: rule.id,
            environment,
            kind: rule.r#type.to_core(),
            features: self.feature_ids.clone(),
            customers: rule.customers.clone(),
            lines: lines.chain(hidden_line).collect(),
            channels: rule.channels.clone(),
            when_several: match rule.when_several {
                WhenSeveral::Each => core::WhenSeveral::Each,
                WhenSeveral::Highest => core::WhenSeveral::Highest,
            },
            sends_resolved: rule.notify_on.contains(&Edge::Resolved),
            hysteresis: rule.hysteresis,
            evaluate_on_create: rule.evaluate_on_create,
            disabled: rule.disabled,
            document: json(rule).into_bytes().into(),
        }
    }
}
