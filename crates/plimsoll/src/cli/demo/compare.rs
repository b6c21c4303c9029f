//! Holds what the product said against the recount, and names every difference.
//!
//! Three things are compared: the answers to the events, the value of every entitlement, and every
//! line crossed, both as notification and as webhook with its content.
//!
//! Not here: what should have happened (`recount`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Failure,
    api::Api,
    receiver::Arrival,
    recount::{Circumstance, Crossing, Recount},
    replay::Sent,
    scenario::{Feature, RULES, Scenario},
};

/// Items of one page of notifications: as many as the API gives.
const PAGE: usize = 1_000;

/// Everything that was found, one sentence each; empty means that the two agree.
pub(super) async fn differences(
    api: &Api,
    scenario: &Scenario,
    recount: &Recount,
    sent: &Sent,
    arrivals: &[Arrival],
) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    compare_answers(recount, sent, &mut found);
    compare_values(api, scenario, recount, &mut found).await?;
    let notifications = all_notifications(api).await?;
    compare_notifications(scenario, recount, &notifications, &mut found);
    compare_webhooks(scenario, recount, arrivals, &notifications, &mut found);
    Ok(found)
}

fn compare_answers(recount: &Recount, sent: &Sent, found: &mut Vec<String>) {
    let rows = [
        ("accepted", recount.accepted(), sent.accepted),
        ("duplicates", recount.duplicates(), sent.duplicates),
        ("rejected", 0, sent.rejected),
    ];
    for (what, expected, actual) in rows {
        if expected != actual {
            found.push(format!("events {what}: expected {expected}, the answers said {actual}"));
        }
    }
}

async fn compare_values(
    api: &Api,
    scenario: &Scenario,
    recount: &Recount,
    found: &mut Vec<String>,
) -> Result<(), Failure> {
    for (index, customer) in scenario.customers.iter().enumerate() {
        for feature in Feature::ALL {
            let (customer, feature_key) = (&customer.key, feature.key());
            let path = format!("/v1/customers/{customer}/entitlements/{feature_key}/value");
            let value = api.get(&path).await?;
            let tally = recount.tally(index, feature);
            let balance = tally.limit.map(|limit| limit.saturating_sub(tally.usage).to_string());
            let overage = tally.limit.map_or(0, |limit| tally.usage.saturating_sub(limit));
            let has_access = tally.limit.is_none_or(|limit| tally.usage < limit);
            let rows = [
                ("usage", Value::from(tally.usage.to_string())),
                ("limit", tally.limit.map(|it| it.to_string()).into()),
                ("balance", balance.into()),
                ("overage", overage.to_string().into()),
                ("has_access", has_access.into()),
            ];
            for (field, expected) in rows {
                if value[field] != expected {
                    let actual = &value[field];
                    found.push(format!(
                        "{customer} {feature_key} {field}: expected {expected}, got {actual}"
                    ));
                }
            }
        }
    }
    Ok(())
}

async fn all_notifications(api: &Api) -> Result<Vec<Value>, Failure> {
    let mut notifications = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("/v1/notifications?limit={PAGE}{cursor}")).await?;
        let items = page["items"].as_array().ok_or(Failure::MissingField { field: "items" })?;
        notifications.extend(items.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(notifications),
        }
    }
}

/// What names a crossing in a payload: rule, line, customer, feature.
type Name = (String, String, String, String);

fn name_in(payload: &Value) -> Name {
    let data = &payload["data"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = &data["line"];
    (
        text(&data["rule"]["name"]),
        format!("{} {}", text(&line["kind"]), text(&line["value"])),
        text(&data["customer"]["key"]),
        text(&data["feature"]["key"]),
    )
}

fn name_of(crossing: &Crossing, scenario: &Scenario) -> Name {
    let rule = &RULES[crossing.rule];
    let line = rule.lines[crossing.line];
    (
        rule.name.to_owned(),
        format!("{} {}", line.kind.key(), line.value),
        scenario.customers[crossing.customer].key.clone(),
        crossing.feature.key().to_owned(),
    )
}

fn sentence((rule, line, customer, feature): &Name) -> String {
    format!("{customer} {feature}, rule \"{rule}\", line {line}")
}

fn compare_notifications(
    scenario: &Scenario,
    recount: &Recount,
    notifications: &[Value],
    found: &mut Vec<String>,
) {
    let mut actual: BTreeMap<Name, usize> = BTreeMap::new();
    for notification in notifications {
        *actual.entry(name_in(&notification["payload"])).or_default() += 1;
        for delivery in notification["deliveries"].as_array().into_iter().flatten() {
            if delivery["state"] != "SUCCESS" {
                let (id, state) = (&notification["id"], &delivery["state"]);
                found.push(format!("a delivery of notification {id} is in state {state}"));
            }
        }
    }
    for crossing in recount.crossings().keys() {
        let name = name_of(crossing, scenario);
        match actual.remove(&name) {
            Some(1) => {}
            count => {
                let count = count.unwrap_or(0);
                found.push(format!("{count} notifications instead of 1: {}", sentence(&name)));
            }
        }
    }
    for (name, count) in actual {
        found.push(format!("{count} notifications instead of 0: {}", sentence(&name)));
    }
}

fn compare_webhooks(
    scenario: &Scenario,
    recount: &Recount,
    arrivals: &[Arrival],
    notifications: &[Value],
    found: &mut Vec<String>,
) {
    let known: BTreeSet<&str> = notifications.iter().filter_map(|it| it["id"].as_str()).collect();
    let mut actual: BTreeMap<(Name, &str), Vec<&Arrival>> = BTreeMap::new();
    for arrival in arrivals {
        let Arrival { notification, bad_signature, .. } = arrival;
        if let Some(problem) = bad_signature {
            found.push(format!("the webhook of {notification} is not signed well: {problem}"));
        }
        if !known.contains(notification.as_str()) {
            found.push(format!("a webhook has the id {notification}, which no notification has"));
        }
        let name = name_in(&arrival.payload);
        actual.entry((name, &arrival.channel)).or_default().push(arrival);
    }
    for (crossing, circumstance) in recount.crossings() {
        for channel in crossing.channels() {
            let name = name_of(crossing, scenario);
            let sentence = sentence(&name);
            match actual.remove(&(name, channel)).as_deref() {
                Some([arrival]) => {
                    let differences = compare_payload(circumstance, &arrival.payload);
                    found
                        .extend(differences.map(|it| format!("{it} in the webhook of {sentence}")));
                }
                other => {
                    let count = other.map_or(0, <[_]>::len);
                    found.push(format!("{count} webhooks to {channel} instead of 1: {sentence}"));
                }
            }
        }
    }
    for ((name, channel), several) in actual {
        let count = several.len();
        found.push(format!("{count} webhooks to {channel} instead of 0: {}", sentence(&name)));
    }
}

fn compare_payload(expected: &Circumstance, payload: &Value) -> impl Iterator<Item = String> {
    let data = &payload["data"];
    let rows = [
        ("previous_usage", expected.previous_usage.to_string().into(), &data["previous_usage"]),
        ("usage", expected.usage.to_string().into(), &data["value"]["usage"]),
        ("crossed_by.id", Value::from(expected.event.clone()), &data["crossed_by"]["id"]),
    ];
    rows.into_iter()
        .filter(|(_, expected, actual)| *actual != expected)
        .map(|(field, expected, actual)| format!("{field}: expected {expected}, got {actual}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{replay::event_id, trace::Trace},
        *,
    };

    /// What a faultless product would have sent for every crossing.
    fn perfect(scenario: &Scenario, recount: &Recount) -> (Vec<Value>, Vec<Arrival>) {
        let mut notifications = Vec::new();
        let mut arrivals = Vec::new();
        for (number, (crossing, circumstance)) in recount.crossings().iter().enumerate() {
            let rule = &RULES[crossing.rule];
            let line = rule.lines[crossing.line];
            let payload = json!({"data": {
                "customer": {"key": scenario.customers[crossing.customer].key},
                "feature": {"key": crossing.feature.key()},
                "rule": {"name": rule.name},
                "line": {"kind": line.kind.key(), "value": line.value.to_string()},
                "value": {"usage": circumstance.usage.to_string()},
                "previous_usage": circumstance.previous_usage.to_string(),
                "crossed_by": circumstance.event.as_ref().map(|id| json!({"id": id})),
            }});
            let id = format!("ntf_{number}");
            notifications.push(json!({
                "id": id, "payload": payload, "deliveries": [{"state": "SUCCESS"}],
            }));
            arrivals.extend(crossing.channels().map(|channel| Arrival {
                channel: channel.to_owned(),
                notification: id.clone(),
                at: std::time::Duration::ZERO,
                bad_signature: None,
                payload: payload.clone(),
            }));
        }
        (notifications, arrivals)
    }

    #[test]
    fn every_difference_is_found() {
        let scenario = Scenario::new(&Trace::generate(3), 3);
        let mut recount = Recount::new(&scenario.customers);
        for (index, usage) in scenario.usage.iter().enumerate() {
            recount.add(&event_id(index), usage);
        }
        let check = |change: fn(&mut Vec<Value>, &mut Vec<Arrival>), expected: &[&str]| {
            let (mut notifications, mut arrivals) = perfect(&scenario, &recount);
            change(&mut notifications, &mut arrivals);
            let mut found = Vec::new();
            compare_notifications(&scenario, &recount, &notifications, &mut found);
            compare_webhooks(&scenario, &recount, &arrivals, &notifications, &mut found);
            assert_eq!(found.len(), expected.len(), "{found:#?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found} has no {expected}");
            }
        };
        check(|_, _| {}, &[]);
        check(|_, arrivals| drop(arrivals.pop()), &["0 webhooks to customer-success instead of 1"]);
        check(|_, arrivals| arrivals.extend_from_within(..1), &["2 webhooks to billing instead"]);
        check(
            |notifications, _| notifications.extend_from_within(..1),
            &["2 notifications instead of 1"],
        );
        check(
            |_, arrivals| arrivals[0].bad_signature = Some("forged".to_owned()),
            &["not signed well: forged"],
        );
        check(
            |_, arrivals| arrivals[0].payload["data"]["value"]["usage"] = json!("1"),
            &["usage: expected"],
        );
        check(
            |notifications, _| notifications[0]["deliveries"][0]["state"] = json!("PENDING"),
            &["is in state \"PENDING\""],
        );
    }

    #[test]
    fn answers_are_compared() {
        let recount = Recount::new(&[]);
        let mut found = Vec::new();
        compare_answers(&recount, &Sent::default(), &mut found);
        assert_eq!(found, [""; 0]);
        let sent = Sent { accepted: 1, rejected: 2, ..Sent::default() };
        compare_answers(&recount, &sent, &mut found);
        assert_eq!(found.len(), 2);
    }
}
