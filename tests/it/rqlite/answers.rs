//! What a write is told whose answer is lost, cut, wrong or a refusal, and how often it is sent.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::limits;
use kv::store::{Clock, Code, Guarded, LocalStore, Put, Store};

use super::address;
use super::front::{
    failed, html, lost_leadership, no_leader, of_version, rqlite, with_front, with_fronts, words,
};
use crate::support::scripted_http::{Answer, Step};
use crate::support::{json, wait_until};

/// An answer that says nothing of a write, in place of the one that it got or would have got.
fn silences() -> Vec<(&'static str, Answer)> {
    vec![
        ("lost leadership", lost_leadership()),
        ("500", words(500, "json: unsupported value: +Inf\n")),
        ("503 of a proxy", html(503)),
        ("502 of a proxy", html(502)),
        ("504 of a proxy", html(504)),
        ("fewer results", rqlite(r#"{"results":[{"last_insert_id":1,"rows_affected":1}]}"#)),
        ("no results", rqlite(r#"{"results":[]}"#)),
        ("an empty object", rqlite("{}")),
        ("half an answer", rqlite(r#"{"results":[{"last_insert_id":1"#)),
        ("nothing", rqlite("")),
        ("a page", html(200)),
    ]
}

/// The least that can be answered for the five statements of a put that were run.
fn all_done() -> Answer {
    rqlite(r#"{"results":[{},{},{},{},{}]}"#)
}

#[test]
fn a_write_whose_answer_is_lost_is_applied_once_and_told() {
    let name = "a_write_whose_answer_is_lost_is_applied_once_and_told";
    let mut cases = vec![
        ("sound", vec![], 1),
        ("no leader", vec![Step::Answer(no_leader())], 2),
        ("no leader, twice", vec![Step::Answer(no_leader()), Step::Answer(no_leader())], 3),
        ("cut behind the body", vec![Step::Cut], 2),
        ("cut before it was forwarded", vec![Step::Refuse], 2),
        ("truncated at once", vec![Step::Truncate(0)], 2),
        ("truncated later", vec![Step::Truncate(20)], 2),
        // As a follower may that had lost the leader's answer: the node tells that the batch is there already.
        ("forwarded twice", vec![Step::ForwardTwice], 1),
        ("lost, and the next one twice", vec![Step::Cut, Step::ForwardTwice], 2),
        ("lost, no leader, lost", vec![Step::Refuse, Step::Answer(no_leader()), Step::Cut], 4),
        ("zeros left out", vec![Step::ForwardThenAnswer(all_done())], 1),
        // Among several nodes one may be older than the one that was read from.
        ("an old node", vec![Step::ForwardThenAnswer(of_version(all_done(), "v8.0.0"))], 1),
    ];
    for (what, answer) in silences() {
        cases.push((what, vec![Step::ForwardThenAnswer(answer.clone())], 2));
        cases.push((what, vec![Step::Answer(answer.clone())], 2));
        cases.push((what, vec![Step::ForwardThenAnswer(answer.clone()), Step::Answer(answer)], 3));
    }
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        let count = cases.len() as u64;
        for (number, (what, steps, writes)) in (1..).zip(cases) {
            let (told, asked) = front.put("a", steps).await;
            let written = told.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!((written.version, written.revision), (number, number), "{what}");
            assert_eq!(asked, [1, writes], "{what}: reads and writes");
        }
        assert_eq!(front.store.stream_seq().await.unwrap(), count);
        // A batch forgets the one before it, also where that was told late.
        assert_eq!(front.node.sql("select count(*) from kv_batch"), "1");
    });
}

/// The store is there, and told to be new, also when the answer was lost.
#[test]
fn a_store_whose_making_is_not_answered_is_new() {
    let name = "a_store_whose_making_is_not_answered_is_new";
    for step in [Step::Cut, Step::Refuse, Step::ForwardTwice, Step::Answer(no_leader())] {
        with_front(name, async |front| {
            front.fail_writes([step]);
            assert_eq!(front.store.init().await, Ok(true));
            assert_eq!(front.store.init().await, Ok(false));
        });
    }
}

/// What a refusal is told as: the code, whether the same may succeed later, and a word of the message or the hint.
fn refusals() -> Vec<(Answer, Code, bool, &'static str)> {
    let moved = |status| {
        let mut answer = html(status);
        answer.headers.0.push(("Location".to_owned(), "http://127.0.0.1:1/db/execute".to_owned()));
        answer
    };
    vec![
        (moved(301), Code::Unsupported, false, "redirects"),
        (moved(307), Code::Unsupported, false, "redirects"),
        (words(401, ""), Code::ReadOnly, false, "execute"),
        (html(407), Code::Unavailable, false, "proxy"),
        (html(413), Code::TooLarge, false, "proxy"),
        (html(404), Code::Unavailable, false, "another server"),
        (words(400, "EOF\n"), Code::Unavailable, false, "EOF"),
        (failed("database or disk is full"), Code::StoreFull, true, "space"),
        (failed("string or blob too big"), Code::TooLarge, false, "too big"),
        (failed("database is locked"), Code::Busy, true, "busy"),
        (failed("no such table: kv_record"), Code::NotInitialized, false, "kv init"),
        (failed("table kv_record has no column named x"), Code::NotInitialized, false, "kv init"),
        (failed("UNIQUE constraint failed: kv_stream.seq"), Code::Unavailable, false, "damaged"),
        (failed("database disk image is malformed"), Code::Unavailable, false, "damaged"),
    ]
}

#[test]
fn a_write_that_is_refused_is_sent_once_and_told_why() {
    let name = "a_write_that_is_refused_is_sent_once_and_told_why";
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        for (answer, code, retry, word) in refusals() {
            let what = format!("{answer:?}");
            let (told, asked) = front.put("a", vec![Step::Answer(answer)]).await;
            let error = told.expect_err(&what);
            assert_eq!((error.code, error.retry, error.maybe), (code, retry, false), "{what}: {error:?}");
            let said = format!("{} {:?}", error.message, error.hint);
            assert!(said.contains(word), "{what}: {said}");
            assert_eq!(asked, [1, 1], "{what}: reads and writes");
        }
        assert_eq!(front.store.stream_seq().await, Ok(0));
        // Of several writes those are done that can be.
        front.fail_writes([Step::Answer(failed("database or disk is full"))]);
        let puts = ["a", "b", "c"].map(|key| front.store.put(Put::new(key, json("1"))));
        let told = join_all(puts).await;
        assert!(told.iter().all(Result::is_ok), "{told:?}");
    });
}

/// Whoever is refused when a lost answer is asked for again knows nothing of the write that was lost.
#[test]
fn what_cannot_be_resolved_is_unknown_and_a_repeat_with_an_id_is_applied_once() {
    let name = "what_cannot_be_resolved_is_unknown_and_a_repeat_with_an_id_is_applied_once";
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        let mut head = 0;
        for (lost, is_applied) in [(Step::Cut, true), (Step::Refuse, false)] {
            for (answer, ..) in refusals() {
                let what = format!("{answer:?}");
                let lost = if is_applied { Step::Cut } else { Step::Refuse };
                let (told, asked) = front.put("a", vec![lost, Step::Answer(answer)]).await;
                let error = told.expect_err(&what);
                assert_eq!((error.code, error.retry), (Code::Unavailable, true), "{what}: {error:?}");
                assert!(error.maybe, "{what}");
                assert_eq!(asked, [1, 2], "{what}: reads and writes");
                head += u64::from(is_applied);
                assert_eq!(front.store.stream_seq().await, Ok(head), "{what}");
            }
            front.fail_writes([lost, Step::Answer(words(401, ""))]);
            let key = format!("once/{is_applied}");
            let once = Guarded::new(&front.store).once(&key);
            let error = once.put(Put::new(&key, json("1"))).await.unwrap_err();
            assert!(error.maybe, "{error:?}");
            let written = once.put(Put::new(&key, json("1"))).await.unwrap();
            assert_eq!(written.version, 1);
            head += 1;
            assert_eq!((written.revision, front.store.stream_seq().await), (head, Ok(head)));
        }
    });
}

/// Between the two the count of batches has changed, which alone says nothing of the first one.
#[test]
fn what_is_lost_while_others_write_is_told_apart() {
    let name = "what_is_lost_while_others_write_is_told_apart";
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        let other = LocalStore::open(&address(front.node.url()), Clock::System);
        for (lost, revisions, asked_for) in [(Step::Cut, [1, 2], [1, 2]), (Step::Refuse, [4, 3], [2, 3])] {
            let others = async {
                while front.http.held() == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let written = other.put(Put::new("other", json("1"))).await;
                front.http.release();
                written.unwrap()
            };
            let again = Step::Hold(Box::new(Step::Forward));
            let ((told, asked), others) = tokio::join!(front.put("a", vec![lost, again]), others);
            assert_eq!(([told.unwrap().revision, others.revision], asked), (revisions, asked_for));
        }
        other.close().await;
    });
}

/// Nobody waits for ever: what is lost, and stays so, is unknown after a bounded time.
#[test]
fn what_is_lost_for_long_is_unknown() {
    let name = "what_is_lost_for_long_is_unknown";
    with_front(name, async |front| {
        front.store.init().await.unwrap();
        let begun = Instant::now();
        let (told, [reads, writes]) =
            front.put("a", (0..1_000).map(|_| Step::Answer(lost_leadership())).collect()).await;
        let elapsed = begun.elapsed();
        let error = told.unwrap_err();
        assert!(error.maybe && error.retry && error.code == Code::Unavailable, "{error:?}");
        assert!(error.message.contains("leadership lost"), "{error:?}");
        assert!(elapsed <= limits::RQLITE_LOOK_UP_TIMEOUT + limits::RQLITE_PAUSE_MAX, "{elapsed:?}");
        // Not as fast as it can.
        let most = 10 + elapsed.as_millis() / limits::RQLITE_PAUSE_MAX.as_millis();
        assert!(reads == 1 && (10..=most).contains(&(writes as u128)), "{reads} reads, {writes} writes");
        let (told, asked) = front.put("a", vec![]).await;
        assert_eq!((told.unwrap().version, asked), (1, [1, 1]));
    });
}

/// A node, or what is in front of it, may carry out a request long after its client has given it up.
#[test]
fn a_request_that_arrives_late_has_no_effect() {
    const MINUTE: Duration = Duration::from_secs(60);
    let name = "a_request_that_arrives_late_has_no_effect";
    with_fronts(name, 3, async |fronts| {
        let [early, late, locks] = fronts else { unreachable!() };
        for front in fronts {
            front.store.init().await.unwrap();
        }
        let begun = Instant::now();
        // The first is applied and its answer comes late; the others come late themselves.
        locks.fail_writes([Step::Hold(Box::new(Step::Forward))]);
        let (first, second, grant) = tokio::join!(
            early.put("a", vec![Step::ForwardThenHold]),
            late.put("a", vec![Step::Hold(Box::new(Step::Forward))]),
            locks.store.lock_acquire("l", "a", MINUTE)
        );
        assert!(begun.elapsed() >= limits::RQLITE_ANSWER_TIMEOUT);
        for (front, (told, asked)) in fronts.iter().zip([first, second]) {
            assert_eq!((told.unwrap().version, asked), (1, [1, 2]));
            assert_eq!(front.put("a", vec![]).await.0.unwrap().version, 2);
        }
        // No row of a lock is refused for being there already.
        assert_eq!(grant.unwrap().fence, 1);
        locks.store.lock_release("l", "a").await.unwrap();
        assert_eq!(locks.store.lock_acquire("l", "b", MINUTE).await.unwrap().fence, 2);
        for front in fronts {
            let forwarded = front.http.forwarded();
            front.http.release();
            wait_until("the end of a held request", || front.http.held() == 0);
            if !std::ptr::eq(front, early) {
                wait_until("the late request", || front.http.forwarded() > forwarded);
            }
        }
        for front in [early, late] {
            assert_eq!(front.put("a", vec![]).await.0.unwrap().version, 3);
            assert_eq!(front.store.stream_seq().await, Ok(3));
        }
        let lock = locks.store.lock_status("l").await.unwrap().unwrap();
        assert_eq!((lock.owner.as_str(), lock.fence), ("b", 2));
    });
}
