//! What happens: the requests of clients, drawn by the dice and sent to the engine.
//!
//! A few customers, features and rules that are made, changed and deleted all the time meet more
//! often than many would. What exists is asked of the engine in calm weather before each round, so
//! that what became of a request without an answer does not matter.
//!
//! Not here: which requests go together and when the process crashes (`run`). A new kind of request
//! is a case more in [`Request`].

use std::collections::BTreeSet;

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

mod documents;
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
    /// What a customer's entitlement to a feature allows changes, now or later.
    Change(String, &'static str, Value),
    /// A customer's entitlement to a feature is deleted.
    Unentitle(String, &'static str),
    /// Usage starts again, now or later.
    Reset(String, &'static str, Value),
    /// A grant is put into an entitlement.
    Grant(String, &'static str, Value),
    /// One of its grants is voided, now or later: the one in this place, counted around.
    Void(String, &'static str, u64, Value),
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
    /// Whether resets may move the anchors of periods.
    moves_anchors: bool,
    /// Subjects that were seen.
    seen: BTreeSet<String>,
    /// Those of them of which no event comes late any more.
    punctual: BTreeSet<String>,
    /// Those of them of which none is under way either: their customers' anchors may move.
    movable: BTreeSet<String>,
    next: u64,
}

impl World {
    /// Before anything exists.
    pub fn new(mut dice: Dice, is_sandbox: bool) -> Self {
        let (customers, rules, channels) = (vec![], vec![], vec![]);
        let moves_anchors = dice.percent(35);
        Self {
            dice,
            customers,
            rules,
            channels,
            is_sandbox,
            set_to_ms: None,
            moved_ms: None,
            moves_anchors,
            seen: BTreeSet::new(),
            punctual: BTreeSet::new(),
            movable: BTreeSet::new(),
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
        self.choose_whose_anchors_move();
        Ok(())
    }

    /// The next request.
    pub fn draw(&mut self, ledger: &mut Ledger, now_ms: i64) -> Request {
        let weights =
            [46, 6, 2, 9, 12, 3, 6, 12, 2, 6, 7, 10, 3, if self.is_sandbox { 6 } else { 0 }];
        let customer = self.customer();
        let feature = *self.dice.pick(&FEATURES).unwrap_or(&FEATURES[0]);
        match (self.dice.weighted(&weights), customer) {
            (1, _) if (self.customers.len() as u64) < CUSTOMERS => self.new_customer(),
            (2, Some((key, subjects))) => {
                ledger.doom(subjects.iter().cloned());
                Request::DeleteCustomer(key, subjects)
            }
            (3, Some((key, _))) => Request::Entitle(key, self.entitlement(feature)),
            (4, Some((key, _))) => Request::Change(key, feature, self.entitlement_change(now_ms)),
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
            (10, Some((key, subjects))) => {
                let may_move = self.may_move(&subjects);
                Request::Reset(key, feature, self.reset(now_ms, may_move))
            }
            (11, Some((key, _))) => Request::Grant(key, feature, self.grant(now_ms)),
            (12, Some((key, _))) => {
                Request::Void(key, feature, self.dice.below(8), self.void(now_ms))
            }
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
            data: json!({}),
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
                Some(event) if self.dice.percent(20) => {
                    Event { data: json!({"tokens": 1_000}), ..self.on_time(event) }
                }
                Some(event) => self.on_time(event),
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
        let mut data = json!({"tokens": tokens});
        for key in ["model", "region"] {
            match self.dice.below(6) {
                0 => {}
                1 => data[key] = json!(self.dice.pick(&[json!(1), json!("1"), json!(true)])),
                2 => data[key] = json!(self.dice.pick(&[Value::Null, json!([]), json!("")])),
                _ => data[key] = json!(self.dice.pick(&["a", "b"])),
            }
        }
        self.on_time(Event { subject, id: format!("e{number}"), event_type, data, time_ms })
    }

    /// The same event, or one without a time of its own if its customer's anchors may move.
    ///
    /// What late events find where an anchor has moved is open (ADR 12): a window that nobody used
    /// is made up by the new anchor, and may lie over one that is kept. Until that is another
    /// rule, nothing comes late there.
    pub fn on_time(&self, event: Event) -> Event {
        let time_ms = event.time_ms.filter(|_| !self.punctual.contains(&event.subject));
        Event { time_ms, ..event }
    }

    /// Half of those who are new send nothing late from now on; their anchors may move from the
    /// next look on.
    fn choose_whose_anchors_move(&mut self) {
        self.movable.clone_from(&self.punctual);
        if !self.moves_anchors {
            return;
        }
        let subjects: Vec<String> = self.customers.iter().flat_map(|it| it.1.clone()).collect();
        for subject in subjects {
            if self.seen.insert(subject.clone()) && self.dice.percent(50) {
                self.punctual.insert(subject);
            }
        }
    }

    /// Whether the anchors of the customer with these subjects may move.
    fn may_move(&self, subjects: &[String]) -> bool {
        !subjects.is_empty() && subjects.iter().all(|it| self.movable.contains(it))
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
        Request::Change(key, feature, json) => {
            let changed = ops.update_entitlement(context, key, feature, parse(json)?).await;
            changed.map(|it| format!("{:?} {:?}", it.limit, it.soft_limit))
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
        Request::Void(key, feature, place, json) => {
            void(engine, context, (key, feature), *place, parse(json)?).await
        }
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
    when: VoidGrant,
) -> Result<String, Problem> {
    let all = ListRequest { limit: Some(100), cursor: None };
    let grants = engine.ops.list_grants(context, key, feature, &all).await?.items;
    let Some(place) = place.checked_rem(grants.len() as u64) else { return Ok("none".to_owned()) };
    let id = grants[place as usize].grant.id.to_string();
    let voided = engine.ops.void_grant(context, key, feature, &id, when).await;
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
