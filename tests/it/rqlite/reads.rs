//! What a read is told whose answer is lost, cut, wrong or a refusal, and which requests there are at all.

use std::time::Duration;

use kv::store::{Code, Delete, Put, Store, Subscribe, Trim};

use super::front::{html, lost_leadership, no_leader, of_version, rqlite, with_front, words};
use crate::support::json;
use crate::support::scripted_http::{Answer, Request, Step};

fn a_number() -> Answer {
    rqlite(r#"{"results":[{"columns":["a"],"types":["integer"],"values":[[1]]}]}"#)
}

#[test]
fn a_read_whose_answer_is_lost_is_read_again() {
    let name = "a_read_whose_answer_is_lost_is_read_again";
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        front.put("a", vec![]).await.0.unwrap();
        let steps = [
            Step::Answer(no_leader()),
            Step::Answer(lost_leadership()),
            Step::Answer(rqlite(r#"{"error":"stale read"}"#)),
            Step::Answer(words(500, "")),
            Step::Answer(html(503)),
            Step::Answer(rqlite("{}")),
            Step::Answer(rqlite(r#"{"results":[{}]}"#)),
            Step::Answer(rqlite(r#"{"results":[{"columns":["#)),
            Step::Truncate(0),
            Step::Truncate(30),
            Step::Cut,
            Step::Refuse,
        ];
        for (number, step) in steps.into_iter().enumerate() {
            let [before, _] = front.asked();
            front.fail_reads([step]);
            let record = front.store.get("a").await.unwrap_or_else(|error| panic!("{number}: {error:?}"));
            assert_eq!(record.unwrap().version, 1, "{number}");
            assert_eq!(front.asked()[0] - before, 2, "{number}");
        }
        assert_eq!(front.asked()[1], 2, "no read writes");
    });
}

#[test]
fn a_read_that_is_refused_is_sent_once_and_told_why() {
    let name = "a_read_that_is_refused_is_sent_once_and_told_why";
    let refusals = [
        (html(200), Code::Unavailable, "does not answer as rqlite"),
        (html(404), Code::Unavailable, "does not answer as rqlite"),
        (rqlite("[]"), Code::Unavailable, "does not answer as rqlite"),
        (html(301), Code::Unsupported, "redirects"),
        (words(401, ""), Code::Unavailable, "password"),
        (of_version(a_number(), "v8.32.4"), Code::Unsupported, "8.32.5"),
        (of_version(a_number(), "7.21.4"), Code::Unsupported, "v7.21.4"),
        (rqlite(r#"{"results":[{"error":"no such table: kv_meta"}]}"#), Code::NotInitialized, "kv init"),
    ];
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        for (answer, code, word) in refusals {
            let what = format!("{answer:?}");
            for is_write in [false, true] {
                let before = front.asked();
                front.fail_reads([Step::Answer(answer.clone())]);
                let told = if is_write {
                    front.store.put(Put::new("a", json("1"))).await.map(drop)
                } else {
                    front.store.get("a").await.map(drop)
                };
                let error = told.expect_err(&what);
                assert_eq!((error.code, error.retry, error.maybe), (code, false, false), "{what}: {error:?}");
                let said = format!("{} {:?}", error.message, error.hint);
                assert!(said.contains(word.trim_start_matches('v')), "{what}: {said}");
                let after = front.asked();
                assert_eq!([after[0] - before[0], after[1] - before[1]], [1, 0], "{what}: reads and writes");
            }
        }
        assert_eq!(front.store.stream_seq().await, Ok(0));
    });
}

/// A flag is true because it is there: `queue=false` queues.
#[test]
fn requests_have_nothing_in_them_that_makes_rqlite_less_safe() {
    let name = "requests_have_nothing_in_them_that_makes_rqlite_less_safe";
    with_front(name, async |front| {
        let store = &front.store;
        store.init().await.unwrap();
        let mut subscription = store.subscribe(Subscribe::consumer("c")).await.unwrap();
        for key in ["a", "b", "c"] {
            store.put(Put::new(key, json("1"))).await.unwrap();
        }
        subscription.next().await.unwrap();
        subscription.commit(1).await.unwrap();
        store.get("a").await.unwrap();
        store.list(0, None).await.unwrap();
        store.delete(Delete::keys(["a"])).await.unwrap();
        store.delete_range("a", "c", 0, None).await.unwrap();
        store.lock_acquire("l", "o", Duration::from_secs(60)).await.unwrap();
        store.stream_trim(Trim::UpTo(2)).await.unwrap();
        store.identity().await.unwrap();
        // Somebody looks for what others commit by then.
        store.stream(0, None).await.unwrap();
        while !front.http.requests().iter().any(|request| request.target.contains("level=weak")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        front.http.requests().iter().for_each(check_request);
    });
}

fn check_request(request: &Request) {
    let (path, query) = request.target.split_once('?').unwrap();
    let flags: Vec<&str> = query.split('&').collect();
    let level = flags.iter().find_map(|flag| flag.strip_prefix("level="));
    let text = request.text();
    match (path, level) {
        ("/db/execute", None) => {
            assert!(flags.contains(&"transaction"), "{query}");
            for word in ["random", "'now'", "unixepoch", "datetime", "returning", "strftime"] {
                assert!(!text.to_lowercase().contains(word), "each node would know another {word}: {text}");
            }
        }
        ("/db/query", Some("linearizable")) => assert!(flags.contains(&"transaction"), "{query}"),
        // What others have committed is then read again.
        ("/db/query", Some("weak")) => assert_eq!(text, r#"[["select batches from kv_meta"]]"#),
        _ => panic!("{}", request.target),
    }
    let known = ["transaction", "noparse", "level", "timeout", "linearizable_timeout"];
    let name = |flag: &&str| flag.split('=').next().unwrap().to_owned();
    assert!(flags.iter().all(|flag| known.contains(&name(flag).as_str())), "{query}");
    assert_eq!(request.method, "POST");
}
