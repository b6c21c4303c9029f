//! Customers and their subjects: who has one, who takes one over, and what becomes of it.

use plimsoll_core::{command::CustomerCommand, ids::CustomerId};
use plimsoll_engine::{
    catalogue::subjects::Resolution,
    ops::{
        customer::{Customer, provisional_rows},
        port::{CustomerChange, PartitionPort},
        problem::ProblemCode,
    },
};
use serde_json::json;

use super::{
    partitions::Fault,
    world::{World, code, id},
};

/// What ingest does with usage of a subject that nobody knows.
async fn usage_of_unknown(world: &World, subject: &str) -> CustomerId {
    let environment = world.live.environment();
    let subjects = world.ops.catalogue().subjects();
    let new = || CustomerId::from_parts(1, world.deps.random.bits());
    let customer = match subjects.resolve_or_reserve(environment, subject, new) {
        Resolution::Reserved { customer } => customer,
        known => panic!("{subject} is {known:?}"),
    };
    let now = world.deps.clock.now();
    let made = Customer::provisional(customer, subject, now);
    let change = CustomerChange {
        environment,
        customer,
        commands: vec![CustomerCommand::Create { customer }],
        statements: provisional_rows(environment, &[made]),
        documents: Vec::new(),
        opening: None,
    };
    world.partitions.change(change).await.unwrap();
    subjects.confirm(environment, subject, customer);
    world.partitions.used.lock().unwrap().insert(customer);
    customer
}

fn resolution(world: &World, subject: &str) -> Option<Resolution> {
    world.ops.catalogue().subjects().resolve(world.live.environment(), subject)
}

#[tokio::test]
async fn a_customer_has_its_subjects_and_they_survive_a_restart() {
    let world = World::new().await;
    let body = json!({"key": "acme", "subjects": ["a", "b"]});
    let acme: CustomerId = id(&world.live.post("/customers", body).await.unwrap()).parse().unwrap();
    let patch = json!({"subjects": ["b", "c"]});
    let after = world.live.patch("/customers/acme", patch).await.unwrap();
    assert_eq!(after["subjects"], json!(["b", "c"]));
    let gone: CustomerId =
        id(&world.live.post("/customers", json!({"key": "x", "subjects": ["x"]})).await.unwrap())
            .parse()
            .unwrap();
    world.live.delete("/customers/x").await.unwrap();
    let check = |world: &World| {
        assert_eq!(resolution(world, "a"), None);
        assert_eq!(resolution(world, "b"), Some(Resolution::Known { customer: acme }));
        assert_eq!(resolution(world, "c"), Some(Resolution::Known { customer: acme }));
        assert_eq!(resolution(world, "x"), Some(Resolution::Deleted { customer: gone }));
        let other = world.sandbox.environment();
        assert_eq!(world.ops.catalogue().subjects().resolve(other, "b"), None);
    };
    check(&world);
    check(&world.reopen().await);
}

#[tokio::test]
async fn making_a_customer_takes_over_the_provisional_one() {
    let world = World::new().await;
    let provisional = usage_of_unknown(&world, "acme-prod").await;
    let before = world.live.get("/customers/acme-prod").await.unwrap();
    assert_eq!(before["provisional"], true);
    assert_eq!(id(&before), provisional.to_string());

    let body = json!({"key": "acme", "name": "Acme", "subjects": ["acme-prod", "acme-dev"]});
    let taken = world.live.post("/customers", body).await.unwrap();
    assert_eq!(id(&taken), provisional.to_string(), "same id, so usage is kept");
    assert_eq!(taken["provisional"], false);
    assert_eq!(taken["key"], "acme");
    assert_eq!(taken["subjects"], json!(["acme-prod", "acme-dev"]));
    for subject in ["acme-prod", "acme-dev"] {
        let known = Some(Resolution::Known { customer: provisional });
        assert_eq!(resolution(&world, subject), known, "{subject}");
    }
    assert_eq!(code(world.live.get("/customers/acme-prod").await), Some(ProblemCode::NotFound));
    let commands = world.partitions.customers.lock().unwrap();
    assert_eq!(*commands, [CustomerCommand::Create { customer: provisional }], "made once");
}

#[tokio::test]
async fn the_longest_subject_that_an_event_can_have_is_taken_over() {
    let world = World::new().await;
    let subject = "s".repeat(plimsoll_core::limits::EVENT_ATTRIBUTE_BYTES);
    let provisional = usage_of_unknown(&world, &subject).await;
    let body = json!({"key": "acme", "subjects": [subject]});
    let taken = world.live.post("/customers", body).await.unwrap();
    assert_eq!(id(&taken), provisional.to_string());
}

#[tokio::test]
async fn two_provisional_customers_do_not_become_one() {
    let world = World::new().await;
    usage_of_unknown(&world, "a").await;
    usage_of_unknown(&world, "b").await;
    let both = json!({"key": "acme", "subjects": ["a", "b"]});
    let problem = world.live.post("/customers", both).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::SubjectInUse);
    assert_eq!(problem.field.as_deref(), Some("subjects[1]"));
    world.live.post("/customers", json!({"key": "acme", "subjects": ["a"]})).await.unwrap();
    let patch = json!({"subjects": ["a", "b"]});
    let problem = world.live.patch("/customers/acme", patch).await;
    assert_eq!(code(problem), Some(ProblemCode::SubjectInUse));
}

#[tokio::test]
async fn a_provisional_customer_yields_a_key_that_is_taken() {
    let world = World::new().await;
    world.live.post("/customers", json!({"key": "acme", "subjects": []})).await.unwrap();
    let provisional = usage_of_unknown(&world, "acme").await;
    let shown = world.live.get(&format!("/customers/{provisional}")).await.unwrap();
    assert_eq!(shown["key"], json!(null));
    assert_eq!(shown["name"], "acme");
}

#[tokio::test]
async fn without_subjects_the_key_is_the_subject() {
    let world = World::new().await;
    let acme = world.live.post("/customers", json!({"key": "acme"})).await.unwrap();
    assert_eq!(acme["subjects"], json!(["acme"]));
    let customer = id(&acme).parse().unwrap();
    assert_eq!(resolution(&world, "acme"), Some(Resolution::Known { customer }));
}

#[tokio::test]
async fn a_subject_that_sent_usage_stays_where_it_is() {
    let world = World::new().await;
    let used = json!({"key": "used", "subjects": ["u"]});
    let used = id(&world.live.post("/customers", used).await.unwrap());
    world.partitions.used.lock().unwrap().insert(used.parse().unwrap());
    world.live.post("/customers", json!({"key": "idle", "subjects": ["i"]})).await.unwrap();

    let patch = world.live.patch("/customers/used", json!({"subjects": []})).await;
    assert_eq!(code(patch), Some(ProblemCode::SubjectInUse));
    world.live.delete("/customers/used").await.unwrap();
    world.live.delete("/customers/idle").await.unwrap();

    let again = world.live.post("/customers", json!({"key": "n", "subjects": ["u"]})).await;
    assert_eq!(code(again), Some(ProblemCode::SubjectInUse), "its customer sent usage");
    let again = world.live.post("/customers", json!({"key": "n", "subjects": ["i"]})).await;
    let customer = id(&again.unwrap()).parse().unwrap();
    assert_eq!(resolution(&world, "i"), Some(Resolution::Known { customer }));
    let world = world.reopen().await;
    assert_eq!(resolution(&world, "i"), Some(Resolution::Known { customer }));
}

#[tokio::test]
async fn a_subject_whose_customer_may_have_been_made_is_looked_up() {
    // What became of the first commit; whether the same customer can then be made.
    let cases =
        [(Fault::Unavailable, true), (Fault::UnknownLost, true), (Fault::UnknownWritten, false)];
    for (fault, made_anew) in cases {
        let world = World::new().await;
        *world.partitions.fault.lock().unwrap() = Some(fault);
        let body = |key: &str| json!({"key": key, "subjects": ["a"]});
        let failed = world.live.post("/customers", body("acme")).await;
        assert_eq!(code(failed), Some(ProblemCode::Unavailable), "{fault:?}");
        let again = world.live.post("/customers", body("other")).await;
        let expected = if made_anew { None } else { Some(ProblemCode::SubjectInUse) };
        assert_eq!(code(again), expected, "{fault:?}");
        let name = if made_anew { "other" } else { "acme" };
        let customer = id(&world.live.get(&format!("/customers/{name}")).await.unwrap());
        let customer = customer.parse().unwrap();
        assert_eq!(resolution(&world, "a"), Some(Resolution::Known { customer }), "{fault:?}");
    }
}

#[tokio::test]
async fn deleting_a_customer_deletes_its_entitlements() {
    let world = World::new().await;
    super::world::tokens(&world.live).await;
    world.live.post("/customers", json!({"key": "acme"})).await.unwrap();
    let entitlement = json!({"feature": "tokens", "type": "metered",
        "usage_period": {"interval": "day"}});
    world.live.post("/customers/acme/entitlements", entitlement).await.unwrap();
    let refused = world.live.delete("/features/tokens").await;
    assert_eq!(code(refused), Some(ProblemCode::FeatureInUse));
    world.live.delete("/customers/acme").await.unwrap();
    world.live.delete("/features/tokens").await.unwrap();
}

#[tokio::test]
async fn of_two_that_want_a_subject_one_gets_it() {
    let world = World::new().await;
    let body = |key: &str| json!({"key": key, "subjects": ["s"]});
    let (one, two) = tokio::join!(
        world.live.post("/customers", body("one")),
        world.live.post("/customers", body("two")),
    );
    let refused = [code(one), code(two)];
    assert!(
        refused.contains(&None) && refused.contains(&Some(ProblemCode::SubjectInUse)),
        "{refused:?}"
    );
}
