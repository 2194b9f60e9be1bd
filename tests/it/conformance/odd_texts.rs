//! Texts that mean something else to a layer below kv: SQL, JSON, the notations of parameters, blobs and dates.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use kv::store::{
    Code, ConsumerGet, Delete, Filter, Guarded, List, Mutation, MutationResult, Patch, Put, Record, Selector,
    Store as _, Stream,
};

use crate::support::{World, json};

cases! {
    any_text_is_a_key_a_type_and_a_value,
    any_text_is_the_name_and_the_owner_of_a_lock,
    any_text_is_the_name_of_a_consumer,
    any_text_is_the_id_of_a_write,
    three_hundred_odd_keys_are_written_read_and_deleted_at_once,
    numbers_of_any_size_stay_as_they_were_written,
}

/// In the order of their bytes.
fn texts() -> Vec<&'static str> {
    let mut texts = vec![
        "x'6162'",
        " X'00' ",
        "X''",
        "x'616'",
        "YWJj",
        "YWI=",
        ":p",
        "@p",
        "$1",
        "?",
        "?1",
        "$",
        "$.a",
        "%",
        "a_b",
        "[1,2]",
        r#"{"a":1}"#,
        r#"["sql",{"name":1}]"#,
        "\"quoted\"",
        "'",
        "''",
        "\"",
        "\\",
        "\\u0041",
        "it's; drop table kv_meta;--",
        "/* comment */",
        "null",
        "true",
        "1",
        "-0",
        "1e400",
        "9007199254740993",
        "99999999999999999999",
        "2023-11-14T22:13:20Z",
        "random()",
        "<a href=\"x\">&amp;</a>",
        "\u{2028}\u{2029}",
        "\u{feff}bom",
        "\u{1}\u{8}\t\r\n\u{1f}\u{7f}",
        " ",
        "ä",
        "a\u{308}",
        "\u{fffd}\u{10ffff}",
        "👩‍👩‍👧",
    ];
    texts.sort_unstable();
    texts
}

/// A value in which a text stands, as JSON writes it.
fn value_of(text: &str) -> String {
    serde_json::json!({ text: [text] }).to_string()
}

fn put(text: &str) -> Put {
    Put::new(text, json(&value_of(text))).of_type(text)
}

#[track_caller]
fn assert_is_of(text: &str, record: &Record) {
    assert_eq!(record.key, text);
    assert_eq!(record.record_type.as_deref(), Some(text));
    assert_eq!(record.value.get(), value_of(text));
}

async fn any_text_is_a_key_a_type_and_a_value(world: &World) {
    let texts = texts();
    try_join_all(texts.iter().map(|text| world.store.put(put(text)))).await.unwrap();
    let records = world.store.list(0, None).await.unwrap();
    assert_eq!(records.len(), texts.len());
    for (text, record) in texts.iter().zip(&records) {
        assert_is_of(text, record);
        assert_eq!(world.store.get(text).await.unwrap().as_ref(), Some(record), "{text}");
        let typed = world.store.get_type(text, 0, None).await.unwrap();
        assert_eq!(typed, std::slice::from_ref(record), "{text}");
        let prefixed = List { selector: Selector::Prefix((*text).to_owned()), ..List::default() };
        let keys = world.store.keys(prefixed).await.unwrap().items;
        let expected: Vec<&str> = texts.iter().copied().filter(|key| key.starts_with(text)).collect();
        assert_eq!(keys, expected, "{text}");
        let filter = Stream { filter: Filter::default().of_type(*text), ..Stream::default() };
        let changes = world.store.changes(filter).await.unwrap().changes;
        assert_eq!(changes.len(), 1, "{text}");
        assert_is_of(text, &changes[0].record);
    }
    let patch = |text: &str| Patch::merge(text, json(&serde_json::json!({ "more": text }).to_string()));
    try_join_all(texts.iter().map(|text| world.store.patch(patch(text)))).await.unwrap();
    let patched = world.store.get_batch(&texts).await.unwrap();
    for (text, record) in texts.iter().zip(&patched) {
        let expected = serde_json::json!({ *text: [text], "more": text });
        assert_eq!(serde_json::from_str::<serde_json::Value>(record.value.get()).unwrap(), expected);
        assert_eq!((record.version, record.record_type.as_deref()), (2, Some(*text)));
    }
    let deletes = texts.iter().map(|text| world.store.delete(Delete::keys([*text])));
    let deleted = try_join_all(deletes).await.unwrap();
    assert!(deleted.iter().all(|deleted| deleted.deleted == 1), "{deleted:?}");
    assert_eq!(world.store.count().await, Ok(0));
}

async fn any_text_is_the_name_and_the_owner_of_a_lock(world: &World) {
    const MINUTE: Duration = Duration::from_secs(60);
    let texts = texts();
    let acquire = |text| world.store.lock_acquire(text, text, MINUTE);
    let grants = try_join_all(texts.iter().map(|text| acquire(text))).await.unwrap();
    let locks = world.store.lock_list("").await.unwrap();
    let found: Vec<_> = locks.iter().map(|lock| (lock.name.as_str(), lock.owner.as_str())).collect();
    assert_eq!(found, texts.iter().map(|text| (*text, *text)).collect::<Vec<_>>());
    let others = join_all(texts.iter().map(|text| world.store.lock_acquire(text, "other", MINUTE))).await;
    for (text, told) in texts.iter().zip(others) {
        let error = told.unwrap_err();
        assert_eq!((error.code, error.details.holder.as_deref()), (Code::Locked, Some(*text)));
    }
    let fenced = texts.iter().zip(&grants).map(async |(text, grant)| {
        Guarded::new(&*world.store).fence(*text, grant.fence).put(Put::new("a", json("1"))).await
    });
    try_join_all(fenced).await.unwrap();
    let released = try_join_all(texts.iter().map(|text| world.store.lock_release(text, text))).await;
    assert_eq!(released.unwrap(), vec![true; texts.len()]);
    assert_eq!(world.store.lock_list("").await, Ok(vec![]));
}

async fn any_text_is_the_name_of_a_consumer(world: &World) {
    let texts = texts();
    world.put_all(&["a"]).await;
    try_join_all(texts.iter().map(|text| world.store.consumer_commit(text, 1))).await.unwrap();
    for text in &texts {
        let get = ConsumerGet { name: (*text).to_owned(), ..ConsumerGet::default() };
        let (changes, position) = world.store.consumer_get(get).await.unwrap();
        assert_eq!((changes.changes.len(), position), (0, 1), "{text}");
    }
    let deleted = try_join_all(texts.iter().map(|text| world.store.consumer_delete(text))).await.unwrap();
    assert_eq!(deleted, vec![true; texts.len()]);
}

async fn any_text_is_the_id_of_a_write(world: &World) {
    let texts = texts();
    let all = || {
        try_join_all(
            texts.iter().map(async |text| Guarded::new(&*world.store).once(*text).put(put(text)).await),
        )
    };
    let first = all().await.unwrap();
    assert_eq!(all().await.unwrap(), first);
    assert_eq!(world.store.stream_seq().await, Ok(texts.len() as u64));
}

async fn three_hundred_odd_keys_are_written_read_and_deleted_at_once(world: &World) {
    let texts = texts();
    let mut keys: Vec<String> = (0..300).map(|n| format!("{}{n}", texts[n % texts.len()])).collect();
    let puts = keys.iter().map(|key| Mutation::Put(put(key))).collect();
    let told = world.store.mutate_all(puts).await.unwrap();
    for (revision, result) in (1..).zip(&told) {
        let MutationResult::Written(written) = result else { panic!("{result:?}") };
        assert_eq!((written.version, written.revision), (1, revision));
    }
    let changes = world.store.stream(0, None).await.unwrap();
    for (key, change) in keys.iter().zip(&changes) {
        assert_is_of(key, &change.record);
    }
    let wanted: Vec<&str> = keys.iter().map(String::as_str).collect();
    let batch = world.store.get_batch(&wanted).await.unwrap();
    assert_eq!(batch.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), wanted);
    keys.sort_unstable();
    let records = world.store.list(0, None).await.unwrap();
    assert_eq!(records.len(), 300);
    for (key, record) in keys.iter().zip(&records) {
        assert_is_of(key, record);
    }
    assert_eq!(world.store.delete(Delete::keys(keys)).await.unwrap().deleted, 300);
    assert_eq!((world.store.count().await, world.store.stream_seq().await), (Ok(0), Ok(600)));
}

async fn numbers_of_any_size_stay_as_they_were_written(world: &World) {
    let numbers = [
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "1e400",
        "-1E-400",
        "0.1000000000000000055511151231257827",
        "1.0",
        "-0.0",
    ];
    for (version, number) in (1..).zip(numbers) {
        world.store.put(Put::new("a", json(number))).await.unwrap();
        let patch = json(&format!(r#"{{"n":[{number},{{"m":{number}}}]}}"#));
        let patch = Patch { return_value: true, ..Patch::merge("p", patch) };
        let once = Guarded::new(&*world.store).once(number);
        let told = [once.patch(patch.clone()).await.unwrap(), once.patch(patch).await.unwrap()];
        assert_eq!(told[0], told[1], "the reply is kept");
        let record = world.store.get("p").await.unwrap().unwrap();
        assert_eq!(record.value.get(), format!(r#"{{"n":[{number},{{"m":{number}}}]}}"#));
        assert_eq!((told[0].value.as_ref(), record.version), (Some(&record.value), version));
        assert_eq!(world.store.get("a").await.unwrap().unwrap().value.get(), number);
    }
}
