//! What happens: the requests of clients, drawn by the dice and sent to the engine.
//!
//! A few customers, features and rules that are made, changed and deleted all the time meet more
//! often than many would. What exists is asked of the engine in calm weather before each round, so
//! that what became of a request without an answer does not matter.
//!
//! Not here: which requests go together and when the process crashes (`run`). A new kind of request
//! is a case more in [`Request`].

use plimsoll_engine::{
    engine::Engine,
    ingest::{IngestError, Mode},
    ops::{
        Context,
        page::ListRequest,
        problem::{Problem, ProblemCode},
        request::parse_request,
    },
};
use serde_json::{Value, json};

use crate::{
    ledger::{Event, Ledger},
    random::Dice,
};

pub mod setup;

/// How many customers there are at a time, at the most.
const CUSTOMERS: u64 = 5;
/// The features that there are. The last has a meter that counts.
pub const FEATURES: [&str; 3] = ["tokens", "seats", "calls"];
/// The event types of the meters, and one without a meter.
const EVENT_TYPES: [&str; 5] = ["llm.request", "llm.request", "llm.request", "llm.request", "ping"];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Something a client wants. The texts are keys and ids.
#[derive(Debug)]
pub enum Request {
    /// Usage.
    Send(Vec<Event>),
    /// A customer is made.
    MakeCustomer(Value),
    /// A customer is deleted, with its subjects.
    DeleteCustomer(String, Vec<String>),
    /// An entitlement of a customer is made.
    Entitle(String, Value),
    /// The limit of a customer's entitlement to a feature changes.
    ChangeLimit(String, &'static str, Value),
    /// A customer's entitlement to a feature is deleted.
    Unentitle(String, &'static str),
    /// A rule is made.
    MakeRule(Value),
    /// A rule is changed.
    ChangeRule(String, Value),
    /// A rule is deleted.
    DeleteRule(String),
    /// A value is read.
    Read(String, &'static str),
}

/// What exists, as far as the clients know, and how they choose.
#[derive(Debug)]
pub struct World {
    dice: Dice,
    /// Key and subjects of every customer.
    customers: Vec<(String, Vec<String>)>,
    rules: Vec<String>,
    /// The channels of the setup: the healthy one first.
    pub channels: Vec<String>,
    next: u64,
}

impl World {
    /// Before anything exists.
    pub fn new(dice: Dice) -> Self {
        Self { dice, customers: vec![], rules: vec![], channels: vec![], next: 0 }
    }

    /// Asks the engine what exists.
    pub async fn look(&mut self, engine: &Engine, context: &Context) -> Result<(), Problem> {
        let everything = ListRequest { limit: Some(1_000), cursor: None };
        let customers = engine.ops.list_customers(context, &everything).await?;
        let named = |key: Option<String>, id: String| key.unwrap_or(id);
        let customers = customers.items.into_iter();
        self.customers =
            customers.map(|it| (named(it.key, it.id.to_string()), it.subjects)).collect();
        let rules = engine.ops.list_rules(context, &everything)?;
        self.rules = rules.items.iter().map(|it| it.id.to_string()).collect();
        Ok(())
    }

    /// The next request.
    pub fn draw(&mut self, ledger: &mut Ledger, now_ms: i64) -> Request {
        let weights = [46, 6, 2, 9, 14, 3, 6, 12, 2, 6];
        let customer = self.customer();
        let feature = *self.dice.pick(&FEATURES).unwrap_or(&FEATURES[0]);
        match (self.dice.weighted(&weights), customer) {
            (1, _) if (self.customers.len() as u64) < CUSTOMERS => self.new_customer(),
            (2, Some((key, subjects))) => {
                ledger.doom(subjects.iter().cloned());
                Request::DeleteCustomer(key, subjects)
            }
            (3, Some((key, _))) => Request::Entitle(key, self.entitlement(feature)),
            (4, Some((key, _))) => Request::ChangeLimit(key, feature, self.limit()),
            (5, Some((key, _))) => Request::Unentitle(key, feature),
            (6, _) => Request::MakeRule(self.rule()),
            (7, _) => match self.dice.pick(&self.rules).cloned() {
                Some(id) => Request::ChangeRule(id, self.rule_change()),
                None => Request::MakeRule(self.rule()),
            },
            (8, _) => match self.dice.pick(&self.rules).cloned() {
                Some(id) => Request::DeleteRule(id),
                None => Request::MakeRule(self.rule()),
            },
            (9, Some((key, _))) => Request::Read(key, feature),
            _ => Request::Send(self.events(ledger, now_ms)),
        }
    }

    /// An event of every customer that moves no meter.
    pub fn pings(&mut self) -> Vec<Event> {
        let subjects: Vec<String> =
            self.customers.iter().filter_map(|(_, it)| it.first()).cloned().collect();
        let ping = |subject| Event {
            subject,
            id: format!("e{}", self.number()),
            event_type: "ping".to_owned(),
            tokens: Value::Null,
            time_ms: None,
        };
        subjects.into_iter().map(ping).collect()
    }

    fn customer(&mut self) -> Option<(String, Vec<String>)> {
        self.dice.pick(&self.customers).cloned()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn new_customer(&mut self) -> Request {
        let (key, number) = (self.dice.below(CUSTOMERS + 2), self.number());
        // Now and then it takes over a customer that usage has made.
        let subject = match self.customer() {
            Some((_, subjects)) if self.dice.percent(20) && !subjects.is_empty() => {
                subjects[0].clone()
            }
            _ => format!("c{key}-{number}"),
        };
        Request::MakeCustomer(json!({"key": format!("c{key}"), "subjects": [subject]}))
    }

    fn events(&mut self, ledger: &Ledger, now_ms: i64) -> Vec<Event> {
        let count = if self.dice.percent(10) { 20 } else { self.dice.between(1, 6) };
        let (known, unknown) = (ledger.again(true), ledger.again(false));
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..count {
            let again = match self.dice.below(10) {
                0 => self.dice.pick(&known).cloned(),
                1 | 2 => self.dice.pick(&unknown).cloned(),
                3 => self.dice.pick(&events).cloned(),
                _ => None,
            };
            let event = match again {
                // Whatever it carries the second time, it is the same event.
                Some(event) if self.dice.percent(20) => Event { tokens: json!(1_000), ..event },
                Some(event) => event,
                None => self.event(now_ms),
            };
            events.push(event);
        }
        events
    }

    fn event(&mut self, now_ms: i64) -> Event {
        let subjects: Vec<String> = self.customers.iter().flat_map(|(_, it)| it).cloned().collect();
        let number = self.number();
        let subject = match self.dice.pick(&subjects).cloned() {
            Some(subject) if self.dice.percent(97) => subject,
            _ => format!("stranger-{number}"),
        };
        let tokens = match self.dice.below(20) {
            0 => json!(-(self.dice.between(1, 60) as i64)),
            1 => json!("2.5"),
            2 => json!("many"),
            _ => json!(self.dice.between(0, 40)),
        };
        let time_ms = match self.dice.below(12) {
            0 => Some(now_ms - self.dice.below(3 * DAY_MS as u64) as i64),
            1 => Some(now_ms - self.dice.below(40 * DAY_MS as u64) as i64),
            2 => Some(now_ms + self.dice.below(2 * 60 * 60 * 1000) as i64),
            3 => Some(now_ms - self.dice.below(60_000) as i64),
            _ => None,
        };
        let event_type = (*self.dice.pick(&EVENT_TYPES).unwrap_or(&"ping")).to_owned();
        Event { subject, id: format!("e{number}"), event_type, tokens, time_ms }
    }

    fn limit(&mut self) -> Value {
        match self.dice.below(12) {
            0 => Value::Null,
            1 => json!("0"),
            _ => json!((self.dice.between(1, 40) * 10).to_string()),
        }
    }

    fn entitlement(&mut self, feature: &str) -> Value {
        let interval = *self.dice.pick(&["hour", "day", "month", "month"]).unwrap_or(&"month");
        json!({"feature": feature, "type": "metered", "limit": self.limit(),
            "usage_period": {"interval": interval}})
    }

    fn lines(&mut self) -> Value {
        let mut lines: Vec<Value> = Vec::new();
        for _ in 0..self.dice.between(1, 4) {
            let line = match self.dice.below(5) {
                0 => ("usage_value", self.dice.between(1, 30) * 10),
                1 => ("balance_value", self.dice.between(0, 8) * 10),
                _ => ("usage_percentage", self.dice.between(1, 12) * 10),
            };
            let line = json!({"kind": line.0, "value": line.1.to_string()});
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines.into()
    }

    fn rule(&mut self) -> Value {
        let mut rule = json!({"name": format!("rule {}", self.number()),
            "channels": self.rule_channels()});
        match self.dice.below(6) {
            0 => rule["type"] = json!("entitlement.limit.reached"),
            1 => {
                rule["type"] = json!("entitlement.limit.warning");
                rule["warning_percentage"] = json!(self.dice.between(1, 99).to_string());
            }
            _ => {
                rule["type"] = json!("entitlements.balance.threshold");
                rule["lines"] = self.lines();
            }
        }
        for _ in 0..self.dice.below(4) {
            self.vary(&mut rule);
        }
        rule
    }

    fn rule_channels(&mut self) -> Value {
        let count = if self.dice.percent(40) { 2 } else { 1 };
        self.channels.iter().take(count).cloned().collect()
    }

    fn rule_change(&mut self) -> Value {
        let mut change = json!({});
        for _ in 0..self.dice.between(1, 3) {
            if self.dice.percent(25) {
                change["lines"] = self.lines();
            } else {
                self.vary(&mut change);
            }
        }
        change
    }

    fn vary(&mut self, rule: &mut Value) {
        let customer = self.customer().map(|(key, _)| key);
        let feature = self.dice.pick(&FEATURES).copied();
        let is = self.dice.percent(50);
        match self.dice.below(8) {
            0 => rule["disabled"] = json!(is),
            1 => rule["disabled"] = json!(false),
            2 => rule["evaluate_on_create"] = json!(is),
            3 => {
                rule["notify_on"] =
                    if is { json!(["crossed", "resolved"]) } else { json!(["crossed"]) }
            }
            4 => rule["when_several"] = if is { json!("highest") } else { json!("each") },
            5 => rule["hysteresis"] = json!((self.dice.below(3) * 5).to_string()),
            6 => rule["customers"] = customer.filter(|_| is).into_iter().collect(),
            _ => rule["features"] = feature.filter(|_| is).into_iter().collect(),
        }
    }
}

/// What came of a request, in words for the trace; or what must not come of any.
pub type Outcome = Result<String, String>;

/// Makes a request that is not usage.
pub async fn perform(engine: &Engine, context: &Context, request: &Request) -> Outcome {
    let ops = &engine.ops;
    let made = match request {
        Request::Send(_) => return Err("usage is sent by the run".to_owned()),
        Request::MakeCustomer(json) => {
            ops.create_customer(context, parse(json)?).await.map(|it| it.id.to_string())
        }
        Request::DeleteCustomer(key, _) => done(ops.delete_customer(context, key).await),
        Request::Entitle(key, json) => {
            let made = ops.create_entitlement(context, key, parse(json)?).await;
            made.map(|it| it.id.to_string())
        }
        Request::ChangeLimit(key, feature, limit) => {
            let change = parse(&json!({"limit": limit}))?;
            let changed = ops.update_entitlement(context, key, feature, change).await;
            changed.map(|it| format!("{:?}", it.limit))
        }
        Request::Unentitle(key, feature) => {
            done(ops.delete_entitlement(context, key, feature).await)
        }
        Request::MakeRule(json) => {
            ops.create_rule(context, parse(json)?).await.map(|it| it.id.to_string())
        }
        Request::ChangeRule(id, json) => {
            let changed = ops.update_rule(context, id, parse(json)?).await;
            changed.map(|it| format!("{} lines", it.lines.len()))
        }
        Request::DeleteRule(id) => done(ops.delete_rule(context, id).await),
        Request::Read(key, feature) => {
            let value = ops.entitlement_value(context, key, feature).await;
            value.map(|it| format!("{it:?}"))
        }
    };
    match made {
        Ok(text) => Ok(text),
        Err(problem) if problem.code == ProblemCode::Internal => Err(problem.to_string()),
        Err(problem) => Ok(format!("refused: {problem}")),
    }
}

fn done(result: Result<(), Problem>) -> Result<String, Problem> {
    result.map(|()| "done".to_owned())
}

fn parse<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, String> {
    parse_request(json.to_string().as_bytes()).map_err(|it| format!("{it} in {json}"))
}

/// Sends usage; `None` if nothing is known about its outcome.
pub async fn send(
    engine: &Engine,
    context: &Context,
    body: &Value,
) -> Result<Option<plimsoll_engine::ingest::Answer>, String> {
    let body = bytes::Bytes::from(body.to_string());
    match engine.ingest.accept(context.environment(), body, Mode::Batch).await {
        Ok(answer) => Ok(Some(answer)),
        Err(IngestError::RetrySameIds | IngestError::Busy) => Ok(None),
        Err(error) => Err(format!("usage was refused: {error}")),
    }
}
