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
        grant::VoidGrant,
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
/// The features that there are.
pub const FEATURES: [&str; 5] = ["tokens", "seats", "calls", "peak", "kinds"];
/// The meter of each.
pub const METERS: [&str; 5] = ["tokens", "tokens", "calls", "peak", "kinds"];
/// The event types of the meters, and one without a meter.
const EVENT_TYPES: [&str; 5] = ["llm.request", "llm.request", "llm.request", "llm.request", "ping"];
const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

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
    /// Usage starts again, now or later.
    Reset(String, &'static str, Value),
    /// A grant is put into an entitlement.
    Grant(String, &'static str, Value),
    /// One of its grants is voided: the one in this place, counted around.
    Void(String, &'static str, u64),
    /// The clock of the environment is moved forward.
    Advance(Value),
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
    /// Whether the environment has a clock of its own.
    is_sandbox: bool,
    /// Where its clock was set to, as of the last look.
    set_to_ms: Option<i64>,
    /// The least and the most that requests may have set it to, whatever became of them.
    moved_ms: Option<(i64, i64)>,
    next: u64,
}

impl World {
    /// Before anything exists.
    pub fn new(dice: Dice, is_sandbox: bool) -> Self {
        let (customers, rules, channels) = (vec![], vec![], vec![]);
        Self {
            dice,
            customers,
            rules,
            channels,
            is_sandbox,
            set_to_ms: None,
            moved_ms: None,
            next: 0,
        }
    }

    /// The least and the most that the environment's clock may show, where the machine's shows
    /// `now`.
    pub fn clock(&self, now_ms: i64) -> (i64, i64) {
        let shown = self.set_to_ms.unwrap_or(now_ms);
        let (least, most) = self.moved_ms.unwrap_or((shown, shown));
        // Once it was set it never goes back; as long as it is not known to be, it may be anywhere.
        if self.set_to_ms.is_some() {
            (shown, most.max(shown))
        } else {
            (least.min(shown), most.max(shown))
        }
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
        let clock = engine.ops.clock(context)?;
        let now_ms = clock.now.as_ms();
        self.set_to_ms = clock.is_set.then_some(now_ms);
        Ok(())
    }

    /// The next request.
    pub fn draw(&mut self, ledger: &mut Ledger, now_ms: i64) -> Request {
        let weights =
            [46, 6, 2, 9, 12, 3, 6, 12, 2, 6, 4, 7, 3, if self.is_sandbox { 6 } else { 0 }];
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
            (10, Some((key, _))) => Request::Reset(key, feature, self.reset(now_ms)),
            (11, Some((key, _))) => Request::Grant(key, feature, self.grant(now_ms)),
            (12, Some((key, _))) => Request::Void(key, feature, self.dice.below(8)),
            // Before there is any usage a clock may go back, and what was told is told again: seed
            // 2826 of a world without this condition. The identity is taken, the partition stops.
            (13, _) if ledger.has_acknowledged() => Request::Advance(self.advance()),
            _ => Request::Send(self.events(ledger, now_ms)),
        }
    }

    /// Takes note of how far these requests may move the clock, whatever becomes of them.
    pub fn expect_moves(&mut self, requests: &[Request], now_ms: i64) {
        // However the parts are put together, a month has at most 31 days.
        let number = |by: &Value, name: &str| by[name].as_i64().unwrap_or(0);
        let move_of = |by: &Value| {
            let days = 31 * number(by, "months") + number(by, "days");
            let minutes = 60 * number(by, "hours") + number(by, "minutes");
            days * DAY_MS + (60 * minutes + number(by, "seconds")) * 1_000
        };
        let moves = requests.iter().filter_map(|it| match it {
            Request::Advance(by) => Some(move_of(by)),
            _ => None,
        });
        let moves: Vec<i64> = moves.collect();
        if !moves.is_empty() {
            // It may follow the machine's clock, which goes on for some seconds, before it is set.
            let (least, most) = self.clock(now_ms);
            self.moved_ms = Some((least, most + moves.iter().sum::<i64>() + HOUR_MS));
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
            4 | 5 => Some(now_ms - self.dice.below(3 * HOUR_MS as u64) as i64),
            1 => Some(now_ms - self.dice.below(40 * DAY_MS as u64) as i64),
            2 => Some(now_ms + self.dice.below(2 * HOUR_MS as u64) as i64),
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
        let preserves = self.dice.percent(20);
        json!({"feature": feature, "type": "metered", "limit": self.limit(),
            "usage_period": {"interval": interval}, "preserve_overage_at_reset": preserves})
    }

    fn reset(&mut self, now_ms: i64) -> Value {
        let mut reset = json!({});
        if self.dice.percent(40) {
            reset["effective_at"] = self.later(now_ms);
        }
        if self.dice.percent(30) {
            reset["preserve_overage"] = json!(self.dice.percent(50));
        }
        reset
    }

    fn grant(&mut self, now_ms: i64) -> Value {
        let mut grant = json!({"amount": (self.dice.between(1, 20) * 10).to_string()});
        if self.dice.percent(30) {
            grant["priority"] = json!(self.dice.below(3));
        }
        if self.dice.percent(30) {
            grant["effective_at"] = self.later(now_ms);
        }
        if self.dice.percent(50) {
            let duration = *self.dice.pick(&["hour", "hour", "day"]).unwrap_or(&"hour");
            grant["expiration"] = json!({"duration": duration, "count": self.dice.between(1, 5)});
        }
        if self.dice.percent(40) {
            grant["max_rollover"] = json!((self.dice.below(10) * 10).to_string());
        }
        if self.dice.percent(20) {
            (grant["min_rollover"], grant["max_rollover"]) = (json!("20"), json!("60"));
        }
        grant
    }

    /// A moment within the next hours.
    fn later(&mut self, now_ms: i64) -> Value {
        let ms = now_ms + self.dice.below(5 * HOUR_MS as u64) as i64;
        json!(plimsoll_core::time::Timestamp::from_ms(ms).to_string())
    }

    fn advance(&mut self) -> Value {
        match self.dice.below(8) {
            0 => json!({"months": 1}),
            1 => json!({"days": self.dice.between(1, 3)}),
            2 | 3 => json!({"seconds": self.dice.between(0, 90)}),
            _ => json!({"hours": self.dice.between(1, 5), "minutes": self.dice.below(60)}),
        }
    }

    fn lines(&mut self) -> Value {
        let mut lines: Vec<Value> = Vec::new();
        for _ in 0..self.dice.between(1, 4) {
            let line = match self.dice.below(6) {
                0 => ("usage_value", self.dice.between(1, 30) * 10),
                1 => ("balance_value", self.dice.between(0, 8) * 10),
                2 => ("balance_percentage", self.dice.between(0, 10) * 10),
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
        match self.dice.below(7) {
            0 => rule["type"] = json!("entitlement.limit.reached"),
            6 => rule["type"] = json!("entitlements.reset"),
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
        Request::Reset(key, feature, json) => {
            let reset = ops.reset_entitlement(context, key, feature, parse(json)?).await;
            reset.map(|it| format!("{} resets to come", it.scheduled_resets.len()))
        }
        Request::Grant(key, feature, json) => {
            let granted = ops.create_grant(context, key, feature, parse(json)?).await;
            granted.map(|it| it.id.to_string())
        }
        Request::Void(key, feature, place) => void(engine, context, (key, feature), *place).await,
        Request::Advance(by) => {
            let moved = ops.advance_clock(context, parse(&json!({"by": by}))?).await;
            moved.map(|it| it.now.to_string())
        }
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

async fn void(
    engine: &Engine,
    context: &Context,
    (key, feature): (&str, &str),
    place: u64,
) -> Result<String, Problem> {
    let all = ListRequest { limit: Some(100), cursor: None };
    let grants = engine.ops.list_grants(context, key, feature, &all).await?.items;
    let Some(place) = place.checked_rem(grants.len() as u64) else { return Ok("none".to_owned()) };
    let id = grants[place as usize].grant.id.to_string();
    let voided = engine.ops.void_grant(context, key, feature, &id, VoidGrant::default()).await;
    voided.map(|()| id)
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
