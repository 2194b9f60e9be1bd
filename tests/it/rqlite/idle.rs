//! A daemon that has nothing to do leaves the nodes alone, and looks for what others commit only while somebody follows.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kv::limits;
use kv::store::{Clock, Event, LocalStore, Put, Store, Subscribe};

use super::{OwnDaemon, address};
use crate::support::rqlite::Database;
use crate::support::scripted_http::{ScriptedHttp, Step};
use crate::support::{json, runtime, skipped};

/// The times between looks, since a moment.
fn gaps(looks: &Mutex<Vec<Instant>>, since: Instant) -> Vec<Duration> {
    let looks = looks.lock().unwrap();
    let looks: Vec<Instant> = looks.iter().copied().filter(|look| *look >= since).collect();
    looks.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_daemon_looks_for_changes_only_while_somebody_follows_and_ever_less_often() {
    let name = "a_daemon_looks_for_changes_only_while_somebody_follows_and_ever_less_often";
    let Some(node) = Database::lease() else { return skipped(name) };
    let looks: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let http = ScriptedHttp::in_front_of(node.node().address(), {
        let looks = Arc::clone(&looks);
        move |request| {
            if request.target.contains("level=weak") {
                looks.lock().unwrap().push(Instant::now());
            }
            Step::Forward
        }
    });
    let daemon = OwnDaemon::start(&format!("http://{}", http.address()));
    runtime().block_on(async {
        let client = daemon.client().await;
        client.init().await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        client.get("a").await.unwrap();
        assert_nothing_is_asked(&http).await;

        let begun = Instant::now();
        let mut subscription = client.subscribe(Subscribe::default()).await.unwrap();
        let slow = limits::RQLITE_LOOK_MAX * 9 / 10;
        while gaps(&looks, begun).last().is_none_or(|gap| *gap < slow) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", gaps(&looks, begun));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let all = gaps(&looks, begun);
        let busy = &all[..limits::RQLITE_LOOKS_BUSY as usize];
        eprintln!(
            "looks while somebody follows: every {:?} at first, then {:?}",
            busy.iter().sum::<Duration>() / limits::RQLITE_LOOKS_BUSY,
            &all[busy.len()..]
        );
        // A look may be held up on its way, and the next one not: so for them all, the least is not what one of them took.
        assert!(
            busy.iter().sum::<Duration>() >= limits::RQLITE_LOOK_MIN * 9 / 10 * limits::RQLITE_LOOKS_BUSY
        );
        assert!(all.len() < busy.len() + 20, "{all:?}");

        // What another process commits is seen with the next look, and those behind it come fast again.
        let other = LocalStore::open(&address(node.url()), Clock::System);
        other.put(Put::new("b", json("1"))).await.unwrap();
        let committed = Instant::now();
        let change = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await;
        let Ok(Ok(Event::Change(change))) = change else { panic!("{change:?}") };
        let seen = Instant::now();
        assert_eq!(change.record.key, "b");
        assert!(
            seen - committed < limits::RQLITE_LOOK_MAX + Duration::from_secs(1),
            "{:?}",
            seen - committed
        );
        while gaps(&looks, seen).len() < 10 {
            assert!(seen.elapsed() < Duration::from_secs(5), "{:?}", gaps(&looks, seen));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        other.close().await;

        drop(subscription);
        while client.status().await.unwrap().hello.attached > 0 {}
        // The one that was on its way.
        tokio::time::sleep(limits::RQLITE_LOOK_MIN * 2).await;
        assert_nothing_is_asked(&http).await;
    });
}

/// Nothing can be waited for: it is to see that nothing happens.
async fn assert_nothing_is_asked(http: &ScriptedHttp) {
    let before = http.requests().len();
    tokio::time::sleep(3 * limits::RQLITE_LOOK_MAX).await;
    assert_eq!(http.requests().len(), before);
}
