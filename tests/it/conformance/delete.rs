use kv::store::{Code, Condition, Delete, Deleted, Put};

use crate::support::{World, json};

cases! {
    delete_answers_how_many_were_there,
    an_empty_list_of_keys_deletes_nothing,
    a_key_that_stands_twice_counts_once,
    offset_and_limit_count_the_present_keys,
    a_condition_guards_the_delete_of_one_key,
    a_condition_with_several_keys_is_refused,
    delete_then_put_in_one_batch_starts_at_version_1,
}

async fn delete_answers_how_many_were_there(world: &World) {
    world.put_all(&["a", "b"]).await;
    let deleted = world.store.delete(Delete::keys(["b", "x", "a"])).await.unwrap();
    assert_eq!(deleted, Deleted { deleted: 2, revision: Some(4) });
    assert_eq!(
        world.store.delete(Delete::keys(["a"])).await.unwrap(),
        Deleted { deleted: 0, revision: None }
    );
    assert_eq!(world.store.list(0, None).await.unwrap(), []);
}

async fn an_empty_list_of_keys_deletes_nothing(world: &World) {
    world.put_all(&["a"]).await;
    let none: [&str; 0] = [];
    assert_eq!(world.store.delete(Delete::keys(none)).await.unwrap().deleted, 0);
    assert!(world.store.get("a").await.unwrap().is_some());
}

async fn a_key_that_stands_twice_counts_once(world: &World) {
    world.put_all(&["a", "b"]).await;
    assert_eq!(world.store.delete(Delete::keys(["a", "a"])).await.unwrap().deleted, 1);
    assert_eq!(world.store.stream_seq().await.unwrap(), 3);
}

async fn offset_and_limit_count_the_present_keys(world: &World) {
    world.put_all(&["a", "b", "c", "d"]).await;
    let delete = Delete { offset: 1, limit: Some(2), ..Delete::keys(["x", "a", "b", "c", "d"]) };
    assert_eq!(world.store.delete(delete).await.unwrap().deleted, 2);
    let left: Vec<String> =
        world.store.list(0, None).await.unwrap().into_iter().map(|record| record.key).collect();
    assert_eq!(left, ["a", "d"]);
}

async fn a_condition_guards_the_delete_of_one_key(world: &World) {
    world.put_all(&["a", "a"]).await;
    let at = |version| Delete {
        condition: Condition { version: Some(version), ..Condition::default() },
        ..Delete::keys(["a"])
    };
    let error = world.store.delete(at(1)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(2)));
    assert_eq!(world.store.delete(at(2)).await.unwrap().deleted, 1);
    let error = world.store.delete(at(2)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(0)));
}

async fn a_condition_with_several_keys_is_refused(world: &World) {
    let condition = Condition { version: Some(1), ..Condition::default() };
    let delete = Delete { condition, ..Delete::keys(["a", "b"]) };
    assert_eq!(world.store.delete(delete).await.unwrap_err().code, Code::BadRequest);
}

async fn delete_then_put_in_one_batch_starts_at_version_1(world: &World) {
    world.put_all(&["a", "a"]).await;
    let (deleted, put) =
        tokio::join!(world.store.delete(Delete::keys(["a"])), world.store.put(Put::new("a", json("2"))));
    assert_eq!(deleted.unwrap().deleted, 1);
    assert_eq!(put.unwrap().version, 1);
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json("2"));
    let changes = world.store.stream(3, None).await.unwrap();
    assert_eq!((changes[0].record.version, changes[1].record.version), (2, 1));
}
