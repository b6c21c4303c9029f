//! What the lines of a rule must be, and what the core gets of them.
//!
//! Not here: the line of a rule that draws none itself (`rule::checks`).

use plimsoll_core::{
    ids::{FeatureId, LineId},
    limits, line as core,
    quantity::Quantity,
};

use crate::{
    catalogue::EnvironmentView,
    ops::{
        problem::{Problem, ProblemCode},
        rule::{Line, LineGroup, LineKind, NewLine, RuleType},
        scalar::Decimal,
    },
};

/// The lines of a request; one with the kind, value and group of a line before keeps that line's
/// id.
pub(super) fn read(
    r#type: RuleType,
    lines: Vec<NewLine>,
    before: &[Line],
    mint: &dyn Fn() -> LineId,
) -> Result<Vec<Line>, Problem> {
    check_count(r#type, lines.len())?;
    let mut read: Vec<Line> = Vec::with_capacity(lines.len());
    for (index, NewLine { kind, value: Decimal(value), group, .. }) in lines.into_iter().enumerate()
    {
        check_value(index, kind, value)?;
        check_group(index, kind, group.as_ref())?;
        let same = |it: &&Line| it.kind == kind && it.value == value && it.group == group;
        if read.iter().any(|it| same(&it)) {
            let detail = "the rule has the same line already";
            return Err(Problem::at(ProblemCode::DuplicateLine, format!("lines[{index}]"), detail));
        }
        let id = before.iter().find(same).map_or_else(mint, |it| it.id);
        read.push(Line { id, kind, value, group });
    }
    Ok(read)
}

fn check_count(r#type: RuleType, count: usize) -> Result<(), Problem> {
    let at = |code, detail: String| Err(Problem::at(code, "lines", detail));
    match (r#type, count) {
        (RuleType::BalanceThreshold, 0) => {
            let detail = format!("a rule of type {} has at least one line", r#type.as_str());
            at(ProblemCode::LinesRequired, detail)
        }
        (RuleType::BalanceThreshold, count) if count > limits::RULE_LINES => at(
            ProblemCode::TooManyItems,
            format!("a rule has at most {} lines", limits::RULE_LINES),
        ),
        (RuleType::BalanceThreshold, _) | (_, 0) => Ok(()),
        (_, _) => {
            let detail = format!("a rule of type {} takes no lines", r#type.as_str());
            at(ProblemCode::LinesNotAllowed, detail)
        }
    }
}

/// Usage is at zero before anything happens, so a line on it stands above zero. A balance comes
/// down to zero, and many want to hear of just that.
fn check_value(index: usize, kind: LineKind, value: Quantity) -> Result<(), Problem> {
    let (is_valid, bound) = match kind {
        LineKind::BalanceValue => (!value.is_negative(), "at zero or above"),
        LineKind::BalancePercentage => {
            (!value.is_negative() && value <= Quantity::HUNDRED, "at 0 to 100 percent")
        }
        LineKind::UsagePercentage | LineKind::UsageValue | LineKind::Every => {
            (value > Quantity::ZERO, "above zero")
        }
    };
    if is_valid {
        return Ok(());
    }
    let detail = format!("such a line stands {bound}, not at {value}");
    Err(Problem::at(ProblemCode::LineValueInvalid, format!("lines[{index}].value"), detail))
}

fn check_group(index: usize, kind: LineKind, group: Option<&LineGroup>) -> Result<(), Problem> {
    let Some(group) = group else { return Ok(()) };
    let at = |code, field: &str, detail: String| {
        Err(Problem::at(code, format!("lines[{index}].{field}"), detail))
    };
    if matches!(kind, LineKind::BalanceValue | LineKind::BalancePercentage) {
        let detail = "a balance is what all usage leaves, not that of one group".to_owned();
        return at(ProblemCode::GroupNotAllowed, "group", detail);
    }
    if !(1..=limits::GROUP_KEY_BYTES).contains(&group.key.len()) {
        let detail = format!("a group-by key has 1 to {} bytes", limits::GROUP_KEY_BYTES);
        return at(ProblemCode::InvalidGroup, "group.key", detail);
    }
    if group.value.as_ref().is_some_and(|it| it.len() > limits::GROUP_VALUE_BYTES) {
        let detail = format!("a group-by value has at most {} bytes", limits::GROUP_VALUE_BYTES);
        return at(ProblemCode::InvalidGroup, "group.value", detail);
    }
    Ok(())
}

/// Refuses a line on a group-by key that no feature of the rule has, because it could never fire.
/// A rule on all features may wait for one to come.
pub(super) fn check_groups(
    view: &EnvironmentView,
    features: &[FeatureId],
    lines: &[Line],
) -> Result<(), Problem> {
    if features.is_empty() {
        return Ok(());
    }
    let has_key = |feature: &FeatureId, key: &str| {
        let feature = view.features.get(*feature).map(|it| &it.document);
        let meter = feature.and_then(|it| view.meters.find(it.meter.as_deref()?));
        meter.is_some_and(|it| it.document.group_by.contains_key(key))
    };
    for (index, line) in lines.iter().enumerate() {
        let Some(LineGroup { key, .. }) = &line.group else { continue };
        if !features.iter().any(|it| has_key(it, key)) {
            let field = format!("lines[{index}].group.key");
            let detail = format!("no meter of the rule's features has the group-by key {key:?}");
            return Err(Problem::at(ProblemCode::GroupKeyNotFound, field, detail));
        }
    }
    Ok(())
}

/// What evaluation depends on.
pub(super) fn to_core(line: &Line) -> core::Line {
    let group = line.group.as_ref().map(|it| core::LineGroup {
        key: it.key.as_str().into(),
        value: it.value.as_deref().map(Box::from),
    });
    core::Line { id: line.id, kind: line.kind.to_core(), value: line.value, group }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rule::StoredRule;

    #[test]
    fn a_row_of_the_first_version_is_a_rule_on_all_usage() {
        let row = r#"{"id": "rul_01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": "r",
            "type": "entitlements.balance.threshold", "features": [], "customers": [],
            "lines": [{"id": "lin_01ARZ3NDEKTSV4RRFFQ69G5FAV", "kind": "usage_value",
                "value": "5"}],
            "channels": [], "when_several": "each", "notify_on": ["crossed"], "hysteresis": "0",
            "evaluate_on_create": true, "disabled": false, "metadata": {},
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "feature_ids": [], "limit_line": null}"#;
        let stored: StoredRule = serde_json::from_str(row).unwrap();
        let line = to_core(&stored.rule.lines[0]);
        assert_eq!((line.kind, line.group), (core::LineKind::UsageValue, None));
        // It is written as it was: a line without a group has no such field.
        let written: serde_json::Value = serde_json::to_value(&stored).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(row).unwrap());
    }
}
