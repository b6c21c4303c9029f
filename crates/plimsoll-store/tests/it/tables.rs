//! Behaviours of the typed modules that are not about notifications.

use bytes::Bytes;
use plimsoll_store::{
    CommitError,
    checkpoint::{self, CheckpointRow},
    control,
    idempotency::{self, IdempotencyRow},
    log, meta,
    resource::{self, Order, ResourceList, ResourceRow},
    subject::{self, SubjectRow},
};

use crate::{
    sample::{
        at, audit, audit_row, commit, customer, environment, log_row, refused_as_unique, resource,
        try_commit,
    },
    world::World,
};

pub(crate) async fn meta_is_said_once_or_replaced(world: &World) {
    let store = world.open().await;
    meta::ping(&*store).await.unwrap();
    commit(&*store, [meta::insert(meta::STORE_ID, "a")]).await;
    let again = try_commit(&*store, [meta::insert(meta::STORE_ID, "b")]).await;
    assert_eq!(refused_as_unique(again), meta::INSERT);
    assert_eq!(meta::get(&*store, meta::STORE_ID).await, Ok(Some("a".to_owned())));
    commit(&*store, [meta::put(meta::STORE_ID, "c")]).await;
    assert_eq!(meta::get(&*store, meta::STORE_ID).await, Ok(Some("c".to_owned())));
    commit(&*store, [meta::delete(meta::STORE_ID)]).await;
    assert_eq!(meta::get(&*store, meta::STORE_ID).await, Ok(None));
    store.close().await;
}

pub(crate) async fn the_log_is_fenced_and_read_in_pages(world: &World) {
    let store = world.open().await;
    assert_eq!(log::last_position(&*store, 1).await, Ok(0));
    let rows: Vec<_> = (1..=5).map(|it| log_row(1, it, vec![it as u8; 100])).collect();
    commit(&*store, log::append(rows.clone())).await;
    commit(&*store, log::append(vec![log_row(2, 9, "other partition")])).await;
    let again = try_commit(&*store, log::append(vec![log_row(1, 5, "late")])).await;
    assert_eq!(refused_as_unique(again), log::APPEND);

    assert_eq!(log::last_position(&*store, 1).await, Ok(5));
    assert_eq!(log::read(&*store, 1, 0, 10_000).await, Ok(rows.clone()));
    assert_eq!(log::read(&*store, 1, 0, 250).await, Ok(rows[..2].to_vec()));
    assert_eq!(log::read(&*store, 1, 2, 1).await, Ok(rows[2..3].to_vec()));
    assert_eq!(log::read(&*store, 1, 5, 1).await, Ok(Vec::new()));
    commit(&*store, [log::delete_through(1, 3)]).await;
    assert_eq!(log::read(&*store, 1, 0, 10_000).await, Ok(rows[3..].to_vec()));
    assert_eq!(log::last_position(&*store, 2).await, Ok(9));
    store.close().await;
}

pub(crate) async fn checkpoints_replace_slices(world: &World) {
    let store = world.open().await;
    let row = |slice, position| CheckpointRow {
        partition: 1,
        slice,
        position,
        core_version: 1,
        payload: Bytes::from(vec![slice as u8; 100]),
    };
    commit(&*store, checkpoint::put((0..4).map(|it| row(it, 10)).collect())).await;
    commit(&*store, checkpoint::put(vec![row(2, 20), row(0, 20)])).await;
    let all = vec![row(0, 20), row(1, 10), row(2, 20), row(3, 10)];
    assert_eq!(checkpoint::read(&*store, 1, None, 10_000).await, Ok(all.clone()));
    assert_eq!(checkpoint::read(&*store, 1, None, 200).await, Ok(all[..2].to_vec()));
    assert_eq!(checkpoint::read(&*store, 1, Some(1), 1).await, Ok(all[2..3].to_vec()));
    assert_eq!(checkpoint::read(&*store, 2, None, 10_000).await, Ok(Vec::new()));
    commit(&*store, [checkpoint::delete(1, 1), checkpoint::delete_from(1, 3)]).await;
    let left = vec![row(0, 20), row(2, 20)];
    assert_eq!(checkpoint::read(&*store, 1, None, 10_000).await, Ok(left));
    store.close().await;
}

pub(crate) async fn control_changes_are_read_in_order(world: &World) {
    let store = world.open().await;
    assert_eq!(control::head(&*store).await, Ok(0));
    for n in 1..=3 {
        let rows = commit(&*store, control::append(at(n), Bytes::from(vec![n as u8]))).await;
        assert_eq!(rows[0][0].get_int(0), Ok(n));
    }
    let changes = control::since(&*store, 1, 10).await.unwrap();
    let found: Vec<_> = changes.iter().map(|it| (it.seq, it.at, &it.command[..])).collect();
    assert_eq!(found, [(2, at(2), &[2_u8][..]), (3, at(3), &[3][..])]);
    assert_eq!(control::since(&*store, 0, 1).await.unwrap().len(), 1);
    assert_eq!(control::since(&*store, 3, 10).await, Ok(Vec::new()));
    store.close().await;
}

pub(crate) async fn an_append_behind_the_control_head_is_refused(world: &World) {
    let store = world.open().await;
    commit(&*store, control::append(at(1), Bytes::new())).await;
    let append = |seq| {
        let mut statements = vec![control::guard(seq)];
        statements.extend(log::append(vec![log_row(1, 1, "usage")]));
        statements
    };
    let behind = try_commit(&*store, append(0)).await;
    let Err(CommitError::Refused { statement, .. }) = behind else { panic!("{behind:?}") };
    assert_eq!(statement, control::GUARD);
    assert_eq!(log::last_position(&*store, 1).await, Ok(0));
    commit(&*store, append(1)).await;
    assert_eq!(log::last_position(&*store, 1).await, Ok(1));
    store.close().await;
}

pub(crate) async fn resources_live_by_version_and_key(world: &World) {
    let store = world.open().await;
    let tokens = resource("mtr_1", "meter", Some("tokens"));
    let keyless = resource("mtr_2", "meter", None);
    commit(&*store, resource::insert(vec![tokens.clone(), keyless.clone()])).await;

    let taken = resource("mtr_3", "meter", Some("tokens"));
    let refused = try_commit(&*store, resource::insert(vec![taken.clone()])).await;
    assert_eq!(refused_as_unique(refused), resource::INSERT);
    // The same key is free for another kind, another parent, another environment.
    let part = ResourceRow { parent: Some("cus_1".to_owned()), ..taken.clone() };
    let other_kind =
        ResourceRow { id: "fea_1".to_owned(), kind: "feature".to_owned(), ..taken.clone() };
    let elsewhere =
        ResourceRow { id: "mtr_4".to_owned(), environment: environment(2), ..taken.clone() };
    commit(&*store, resource::insert(vec![part.clone(), other_kind, elsewhere])).await;

    let by_key = async |parent| {
        resource::get_by_key(&*store, environment(1), "meter", parent, "tokens").await.unwrap()
    };
    assert_eq!(by_key(None).await, Some(tokens.clone()));
    assert_eq!(by_key(Some("cus_1")).await, Some(part));
    assert_eq!(resource::get(&*store, "mtr_2").await, Ok(Some(keyless)));

    let update = |version| resource::update("mtr_1", version, Some("t"), "{}".to_owned(), at(9));
    commit(&*store, [update(1)]).await;
    let stale = try_commit(&*store, [update(1)]).await;
    let Err(CommitError::Refused { statement, .. }) = stale else { panic!("{stale:?}") };
    assert_eq!(statement, resource::UPDATE);
    let updated = resource::get(&*store, "mtr_1").await.unwrap().unwrap();
    assert_eq!((updated.version, updated.doc.as_str(), updated.updated_at), (2, "{}", at(9)));
    assert_eq!(by_key(None).await, None);

    commit(&*store, [resource::delete("mtr_1", 2, at(10))]).await;
    let gone = try_commit(&*store, [resource::delete("mtr_1", 3, at(11))]).await;
    let Err(CommitError::Refused { statement, .. }) = gone else { panic!("{gone:?}") };
    assert_eq!(statement, resource::DELETE);
    let deleted = resource::get(&*store, "mtr_1").await.unwrap().unwrap();
    assert_eq!(deleted.deleted_at, Some(at(10)));
    let again = resource("mtr_5", "meter", Some("t"));
    commit(&*store, resource::insert(vec![again])).await;
    store.close().await;
}

pub(crate) async fn resources_are_listed_in_pages(world: &World) {
    let store = world.open().await;
    let part = |n: u32| ResourceRow {
        parent: Some(format!("cus_{}", n % 2)),
        ..resource(&format!("ent_{n:02}"), "entitlement", Some(&format!("fea_{n}")))
    };
    let mut rows: Vec<_> = (0..10).map(part).collect();
    rows.push(resource("cus_0", "customer", Some("acme")));
    let home =
        ResourceRow { environment: environment(2), ..resource("env_2", "environment", None) };
    rows.extend([resource("env_1", "environment", None), home]);
    commit(&*store, resource::insert(rows)).await;
    commit(&*store, [resource::delete("ent_04", 1, at(1))]).await;

    let page = |parent, order, after, limit| ResourceList {
        environment: environment(1),
        kind: "entitlement",
        parent,
        order,
        after,
        limit,
    };
    let (newest, oldest) = (Order::NewestFirst, Order::OldestFirst);
    let cases: [(ResourceList<'_>, &[&str]); 5] = [
        (page(None, newest, None, 3), &["ent_09", "ent_08", "ent_07"]),
        (page(None, newest, Some("ent_06"), 3), &["ent_05", "ent_03", "ent_02"]),
        (page(None, oldest, None, 2), &["ent_00", "ent_01"]),
        (page(Some("cus_0"), oldest, Some("ent_02"), 9), &["ent_06", "ent_08"]),
        (page(Some("cus_9"), oldest, None, 9), &[]),
    ];
    for (list, expected) in cases {
        let found = resource::list(&*store, &list).await.unwrap();
        let ids: Vec<_> = found.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, expected, "{list:?}");
    }
    assert_eq!(resource::count(&*store, environment(1), "entitlement").await, Ok(9));
    let ids: Vec<_> = ["ent_04", "ent_05", "ent_05", "nobody"].map(str::to_owned).into();
    assert_eq!(resource::get_many(&*store, &ids).await.unwrap().len(), 2);
    assert_eq!(resource::get_many(&*store, &[]).await, Ok(Vec::new()));
    let environments = resource::environments(&*store).await.unwrap();
    assert_eq!(
        environments.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
        ["env_1", "env_2"]
    );

    commit(&*store, [resource::delete_children("cus_0", "entitlement", at(2))]).await;
    assert_eq!(resource::count(&*store, environment(1), "entitlement").await, Ok(5));
    store.close().await;
}

pub(crate) async fn the_parts_of_parts_are_deleted_with_the_whole(world: &World) {
    let store = world.open().await;
    let part = |id: &str, kind: &str, parent: &str| ResourceRow {
        parent: Some(parent.to_owned()),
        ..resource(id, kind, None)
    };
    let rows = vec![
        part("ent_1", "entitlement", "cus_1"),
        part("ent_2", "entitlement", "cus_2"),
        part("grt_1", "grant", "ent_1"),
        part("grt_2", "grant", "ent_2"),
        part("oth_1", "other", "ent_1"),
    ];
    commit(&*store, resource::insert(rows)).await;
    let delete = |at| resource::delete_grandchildren("cus_1", "entitlement", "grant", at);
    commit(&*store, [delete(at(2))]).await;
    let deleted = resource::deleted_ids(&*store, "grant", None, 9).await;
    assert_eq!(deleted, Ok(vec!["grt_1".to_owned()]));
    for kind in ["entitlement", "other"] {
        assert_eq!(resource::deleted_ids(&*store, kind, None, 9).await, Ok(Vec::new()), "{kind}");
    }
    // Again it changes nothing: what is deleted keeps its time.
    commit(&*store, [delete(at(3))]).await;
    let grant = resource::get(&*store, "grt_1").await.unwrap().unwrap();
    assert_eq!((grant.deleted_at, grant.version), (Some(at(2)), 2));
    store.close().await;
}

/// The pattern of references: who names holds, who deletes asks whether it is named.
pub(crate) async fn a_resource_that_is_named_is_not_deleted(world: &World) {
    let store = world.open().await;
    let feature = resource("fea_1", "feature", Some("tokens"));
    commit(&*store, resource::insert(vec![feature, resource("fea_2", "feature", None)])).await;
    let part = |id: &str| ResourceRow {
        parent: Some("cus_1".to_owned()),
        ..resource(id, "entitlement", Some("fea_1"))
    };
    let mut naming = vec![resource::hold("fea_1")];
    naming.extend(resource::insert(vec![part("ent_1")]));
    commit(&*store, naming).await;
    let held = resource::get(&*store, "fea_1").await.unwrap().unwrap();
    assert_eq!(held.version, 1, "holding changes nothing");

    let named = || resource::is_named(&*store, environment(1), "entitlement", "fea_1");
    let deleting = || {
        let unnamed = resource::unnamed(environment(1), "entitlement", "fea_1");
        try_commit(&*store, [resource::delete("fea_1", 1, at(5)), unnamed])
    };
    assert_eq!(named().await, Ok(true));
    let refused = deleting().await;
    let Err(CommitError::Refused { statement, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(statement, resource::UNNAMED);
    commit(&*store, [resource::delete("ent_1", 1, at(5))]).await;
    assert_eq!(named().await, Ok(false));
    deleting().await.unwrap();

    let refused = try_commit(&*store, [resource::hold("fea_1")]).await;
    let Err(CommitError::Refused { statement, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(statement, resource::HOLD);
    let deleted = async |kind, after| resource::deleted_ids(&*store, kind, after, 9).await.unwrap();
    assert_eq!(deleted("feature", None).await, ["fea_1"]);
    assert_eq!(deleted("feature", Some("fea_1")).await, [""; 0]);
    assert_eq!(deleted("entitlement", None).await, ["ent_1"]);
    store.close().await;
}

pub(crate) async fn subjects_belong_to_one_customer(world: &World) {
    let store = world.open().await;
    let row = |environment_n, subject: &str, customer_n| SubjectRow {
        environment: environment(environment_n),
        subject: subject.to_owned(),
        customer: customer(customer_n),
    };
    let rows = vec![row(1, "b", 1), row(1, "a", 1), row(1, "c", 2), row(2, "a", 3)];
    commit(&*store, subject::insert(rows)).await;
    let taken = try_commit(&*store, subject::insert(vec![row(1, "a", 2)])).await;
    assert_eq!(refused_as_unique(taken), subject::INSERT);
    assert_eq!(subject::get(&*store, environment(2), "a").await, Ok(Some(row(2, "a", 3))));
    let own = vec![row(1, "a", 1), row(1, "b", 1)];
    assert_eq!(subject::of_customer(&*store, customer(1)).await, Ok(own));

    let first = subject::scan(&*store, None, 3).await.unwrap();
    assert_eq!(first, [row(1, "a", 1), row(1, "b", 1), row(1, "c", 2)]);
    let rest = subject::scan(&*store, first.last(), 3).await.unwrap();
    assert_eq!(rest, [row(2, "a", 3)]);

    commit(&*store, [subject::delete(environment(1), "a", customer(2))]).await;
    assert!(subject::get(&*store, environment(1), "a").await.unwrap().is_some());
    commit(&*store, [subject::delete(environment(1), "a", customer(1))]).await;
    assert_eq!(subject::get(&*store, environment(1), "a").await, Ok(None));
    commit(&*store, [subject::delete_of_customer(customer(1))]).await;
    assert_eq!(subject::scan(&*store, None, 9).await, Ok(vec![row(1, "c", 2), row(2, "a", 3)]));
    store.close().await;
}

pub(crate) async fn answers_are_kept_by_idempotency_key(world: &World) {
    let store = world.open().await;
    let row = |key: &str, ms| IdempotencyRow {
        environment: environment(1),
        route: "POST /v1/meters".to_owned(),
        key: key.to_owned(),
        body_hash: Bytes::from_static(&[1; 32]),
        status: 201,
        response: Bytes::from_static(b"\0sealed"),
        created_at: at(ms),
    };
    commit(&*store, [row("a", 1), row("b", 2), row("c", 3)].map(idempotency::insert)).await;
    let again = try_commit(&*store, [idempotency::insert(row("a", 9))]).await;
    assert_eq!(refused_as_unique(again), idempotency::INSERT);
    let get = async |key| {
        idempotency::get(&*store, environment(1), "POST /v1/meters", key).await.unwrap()
    };
    assert_eq!(get("a").await, Some(row("a", 1)));
    for left in [1, 1, 0] {
        let rows = commit(&*store, [idempotency::delete_before(at(3), 1)]).await;
        assert_eq!(rows[0].len(), left);
    }
    assert_eq!((get("b").await, get("c").await), (None, Some(row("c", 3))));
    store.close().await;
}

pub(crate) async fn the_audit_trail_is_listed_newest_first(world: &World) {
    let store = world.open().await;
    let rows = (0..5).map(|n| audit_row(n, if n % 2 == 0 { "even" } else { "odd" })).collect();
    commit(&*store, plimsoll_store::audit::insert(rows)).await;
    let cases = [
        (None, None, 2, vec![4, 3]),
        (None, Some(3), 9, vec![2, 1, 0]),
        (Some("even"), None, 2, vec![4, 2]),
        (Some("even"), Some(2), 2, vec![0]),
    ];
    for (resource_id, after, limit, expected) in cases {
        let after = after.map(audit);
        let found =
            plimsoll_store::audit::list(&*store, environment(1), resource_id, after, limit).await;
        let ids: Vec<_> = found.unwrap().iter().map(|it| it.id).collect();
        assert_eq!(ids, expected.iter().map(|it| audit(*it)).collect::<Vec<_>>());
    }
    let elsewhere = plimsoll_store::audit::list(&*store, environment(2), None, None, 9).await;
    assert_eq!(elsewhere, Ok(Vec::new()));
    store.close().await;
}
