//! Requests that make an engine run every statement it has, so that the plans of its database can be looked at.

use std::time::Duration;

use crate::limits;
use crate::store::request::*;
use crate::store::{Filter, JsonText, LocalStore, Start, Store as _};

fn json(text: &str) -> JsonText {
    JsonText::parse(text).unwrap()
}

/// One request of each kind, and of each way in which its statements can look.
fn requests() -> Vec<Request> {
    let (name, owner) = ("n".to_owned(), "o".to_owned());
    let selectors = || {
        let range = Selector::Range { from: "a".to_owned(), to: "z".to_owned() };
        [Selector::All, Selector::Prefix("a".to_owned()), range, Selector::Type("T".to_owned())]
    };
    let once = |operation: WriteOperation| Write {
        operation,
        once: Some("i".to_owned()),
        fence: Some(Fence { lock: "n".to_owned(), token: 1 }),
    };
    let delete_part = Delete { offset: 1, limit: Some(2), ..Delete::prefix("a") };
    let mut writes: Vec<Write> = vec![
        WriteOperation::LockAcquire(LockAcquire {
            name: name.clone(),
            owner: owner.clone(),
            duration: Duration::from_secs(1),
            fence: None,
        })
        .into(),
        once(WriteOperation::Apply(Mutation::Put(Put::new("a", json("{}")).of_type("T")))),
        Mutation::Put(Put::new("b", json("{}"))).into(),
        Mutation::Patch(Patch::merge("a", json("{}"))).into(),
        Mutation::Delete(Delete::keys(["b", "c"])).into(),
        Mutation::Expire(Expire::after("a", Duration::from_millis(1))).into(),
        WriteOperation::RemoveExpired.into(),
        WriteOperation::Mutate(vec![
            Mutation::Put(Put::new("m", json("1"))),
            Mutation::Delete(Delete::prefix("m")),
            Mutation::Delete(Delete::all()),
        ])
        .into(),
        Mutation::Put(Put::new("a", json("{}"))).into(),
        Mutation::Put(Put::new("ab", json("{}"))).into(),
        Mutation::Delete(delete_part).into(),
        Mutation::Delete(Delete::all()).into(),
        WriteOperation::Trim(Trim::UpTo(2)).into(),
        WriteOperation::Retain(Retention { count: Some(1_000), ..Retention::default() }).into(),
        WriteOperation::ConsumerCommit(ConsumerCommit {
            name: name.clone(),
            seq: 3,
            ..ConsumerCommit::default()
        })
        .into(),
        WriteOperation::ConsumerDelete { name: name.clone() }.into(),
        WriteOperation::LockRelease(LockRelease { name: name.clone(), owner, fence: None, refreshes: None })
            .into(),
    ];
    let mut requests: Vec<Request> = writes.drain(..).map(Request::Write).collect();
    let mut reads = vec![
        Read::Get { key: "a".to_owned() },
        Read::GetBatch { keys: vec!["a".to_owned(), "b".to_owned()] },
        Read::StreamSeq,
        Read::Identity,
        Read::Retention,
        Read::LockStatus { name: name.clone() },
        Read::ConsumerStatus { name: name.clone() },
        Read::ConsumerGet(ConsumerGet { name, start: Some(Start::Now), ..ConsumerGet::default() }),
    ];
    for selector in selectors() {
        for (reverse, keys_only) in [(false, false), (true, false), (false, true), (true, true)] {
            let list = List { selector: selector.clone(), reverse, keys_only, ..List::default() };
            reads.push(Read::List(List { after: Some("b".to_owned()), ..list.clone() }));
            reads.push(Read::List(List { offset: 3, limit: Some(2), ..list }));
        }
        reads.push(Read::Count(selector));
    }
    for prefix in ["", "a"] {
        let prefix = prefix.to_owned();
        for after in [None, Some("b".to_owned())] {
            reads.push(Read::LockList(NameList { prefix: prefix.clone(), after: after.clone() }));
            reads.push(Read::ConsumerList(NameList { prefix: prefix.clone(), after }));
        }
        for record_type in [None, Some("T".to_owned())] {
            let prefix = Some(prefix.clone()).filter(|prefix| !prefix.is_empty());
            let filter = Filter { prefix, record_type, ..Filter::default() };
            for (filter, reverse) in [(filter.clone(), false), (filter, true), (Filter::key("a"), false)] {
                reads.push(Read::Stream(Stream { filter, reverse, ..Stream::default() }));
            }
        }
    }
    requests.extend(reads.into_iter().map(Request::Read));
    requests
}

/// Makes a store in which every statement of its engine was run.
pub(crate) async fn run_every_statement(store: &LocalStore) {
    store.init().await.unwrap();
    // More than a delete removes in one slice.
    let keys: Vec<String> =
        (0..2 * limits::DELETE_SLICE_RECORDS).map(|number| format!("a{number}")).collect();
    for keys in keys.chunks(limits::MUTATIONS_PER_REQUEST) {
        let puts = keys.iter().map(|key| Mutation::Put(Put::new(key, json("1")))).collect();
        store.mutate_all(puts).await.unwrap();
    }
    for request in requests() {
        // Some are refused, after their statements were run.
        let _ = store.call(request).await;
    }
    let acquire = |owner: &str| LockAcquire {
        name: "n".to_owned(),
        owner: owner.to_owned(),
        duration: Duration::from_secs(60),
        fence: None,
    };
    store.lock_acquire_within(acquire("a"), Duration::ZERO).await.unwrap();
    store.lock_acquire_within(acquire("b"), Duration::from_millis(100)).await.unwrap_err();
}
