//! Somebody stands still in the middle of a transaction: a daemon, or the network in front of the server.

use std::time::{Duration, Instant};

use kv::limits;
use kv::store::{Code, EngineKind, Put, Store};

use super::OwnDaemon;
use crate::support::postgres::{Cluster, Database};
use crate::support::slow_link::SlowLink;
use crate::support::{Site, is_alive, json, runtime, skipped, wait_until};

/// So slow is the link that a transaction stays open for long enough to be caught.
const DELAY: Duration = Duration::from_millis(150);

/// Transactions that write and wait for what their client says next: who reads locks no row.
fn open_transactions(database: &Database) -> usize {
    let text = "select count(*) from pg_stat_activity a join pg_locks l on l.pid = a.pid
        join pg_class c on c.oid = l.relation where a.datname = current_database()
        and state = 'idle in transaction' and relname = 'kv_meta' and mode = 'RowShareLock'";
    database.sql(text).parse().unwrap()
}

/// Stops something while a transaction is open, and lets it go on when that one had its commit on the way already.
fn stop_in_a_transaction(database: &Database, stop: impl Fn(), go_on: impl Fn()) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "no transaction was caught");
        if open_transactions(database) == 0 {
            continue;
        }
        stop();
        // What was on its way has arrived by then.
        std::thread::sleep(3 * DELAY);
        if open_transactions(database) == 1 {
            return;
        }
        go_on();
    }
}

#[test]
fn a_daemon_that_is_stopped_in_a_transaction_holds_others_up_for_a_bounded_time() {
    let name = "a_daemon_that_is_stopped_in_a_transaction_holds_others_up_for_a_bounded_time";
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(name) };
    let link = SlowLink::to(Cluster::shared().unwrap().address(), DELAY);
    let far = OwnDaemon::start(&site.database().url_by_way_of(link.address()));
    let near = OwnDaemon::start(&site.database().url());
    runtime().block_on(async { near.client().await.init().await.unwrap() });
    std::thread::scope(|scope| {
        let (stopping, stopped) = std::sync::mpsc::channel();
        let writing = scope.spawn(|| {
            let stopped = stopped;
            runtime().block_on(async {
                let client = far.client().await;
                let mut outcomes = Vec::new();
                while stopped.try_recv().is_err() {
                    let key = format!("far/{}", outcomes.len());
                    let told = client.put(Put::new(&key, json("1"))).await;
                    outcomes.push((key, told));
                }
                outcomes
            })
        });
        stop_in_a_transaction(site.database(), || far.signal("STOP"), || far.signal("CONT"));
        let begun = Instant::now();
        runtime().block_on(async {
            let client = near.client().await;
            assert_eq!(client.get("near").await, Ok(None), "who reads is not held up");
            assert!(begun.elapsed() < limits::POSTGRES_LOCK_TIMEOUT, "{:?}", begun.elapsed());
            while let Err(error) = client.put(Put::new("near", json("1"))).await {
                assert!(error.code == Code::Busy && error.retry && !error.maybe, "{error:?}");
            }
        });
        let elapsed = begun.elapsed();
        eprintln!("the other daemon wrote {elapsed:?} after the first one was stopped");
        assert!(elapsed < limits::POSTGRES_IDLE_TRANSACTION_TIMEOUT + Duration::from_secs(3), "{elapsed:?}");
        stopping.send(()).unwrap();
        far.signal("CONT");
        let outcomes = writing.join().unwrap();
        runtime().block_on(async {
            let client = near.client().await;
            for (key, told) in outcomes {
                let record = client.get(&key).await.unwrap();
                match told {
                    Ok(written) => assert_eq!(record.unwrap().revision, written.revision),
                    Err(error) => assert!(error.maybe || record.is_none(), "{key}: {error:?}"),
                }
            }
        });
    });
}

#[test]
fn a_server_that_does_not_answer_keeps_nobody_for_ever() {
    let name = "a_server_that_does_not_answer_keeps_nobody_for_ever";
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(name) };
    let link = SlowLink::to(Cluster::shared().unwrap().address(), DELAY);
    let daemon = OwnDaemon::start(&site.database().url_by_way_of(link.address()));
    runtime().block_on(async { daemon.client().await.init().await.unwrap() });
    let told = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            runtime().block_on(async {
                let client = daemon.client().await;
                for number in 0.. {
                    if let Err(error) = client.put(Put::new(number.to_string(), json("1"))).await {
                        return (number, error);
                    }
                }
                unreachable!()
            })
        });
        stop_in_a_transaction(site.database(), || link.stall(), || link.go_on());
        let begun = Instant::now();
        let asked = |what: &'static str| {
            let daemon = &daemon;
            scope.spawn(move || {
                let told = runtime().block_on(async {
                    let client = daemon.client().await;
                    match what {
                        "put" => client.put(Put::new("second", json("1"))).await.map(drop),
                        "get" => client.get("second").await.map(drop),
                        _ => client.list(0, None).await.map(drop),
                    }
                });
                (what, told.unwrap_err(), begun.elapsed())
            })
        };
        for asking in ["put", "get", "list"].map(asked) {
            let (what, error, elapsed) = asking.join().unwrap();
            eprintln!("{what}: {} after {elapsed:?}, maybe {}", error.code, error.maybe);
            assert!(matches!(error.code, Code::Unavailable | Code::Timeout) && error.retry, "{error:?}");
            assert!(elapsed < limits::CALL_TIMEOUT + Duration::from_secs(2), "{what}: {elapsed:?}");
        }
        let told = writing.join().unwrap();
        eprintln!("the first put: {} after {:?}, maybe {}", told.1.code, begun.elapsed(), told.1.maybe);
        assert!(begun.elapsed() < limits::CALL_TIMEOUT + Duration::from_secs(2), "{:?}", begun.elapsed());
        told
    });
    let (number, error) = told;
    link.go_on();
    runtime().block_on(async {
        let client = daemon.client().await;
        let deadline = Instant::now() + limits::CALL_TIMEOUT;
        while let Err(error) = client.put(Put::new("third", json("1"))).await {
            assert!(error.retry && Instant::now() < deadline, "{error:?}");
        }
        let record = client.get(&number.to_string()).await.unwrap();
        assert!(error.maybe || record.is_none(), "{error:?}");
    });
}

#[test]
fn a_daemon_ends_in_time_while_its_server_does_not_answer() {
    let name = "a_daemon_ends_in_time_while_its_server_does_not_answer";
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(name) };
    let link = SlowLink::to(Cluster::shared().unwrap().address(), Duration::ZERO);
    let daemon = OwnDaemon::start(&site.database().url_by_way_of(link.address()));
    runtime().block_on(async {
        let client = daemon.client().await;
        client.init().await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        let pid = daemon.pid();
        link.stall();
        let writing = client.put(Put::new("a", json("2")));
        let ending = async {
            // It was sent at the first poll.
            tokio::task::yield_now().await;
            daemon.signal("TERM");
            let begun = Instant::now();
            wait_until("the end", || !is_alive(pid));
            begun.elapsed()
        };
        let (told, elapsed) = tokio::join!(writing, ending);
        let error = told.unwrap_err();
        assert!(error.maybe, "{error:?}");
        eprintln!("the daemon ended after {elapsed:?}");
        let bound = limits::DRAIN_TIMEOUT + limits::CLOSE_TIMEOUT + Duration::from_secs(1);
        assert!(elapsed < bound, "{elapsed:?}");
    });
}
