//! A daemon that has nothing to do leaves the server alone.

use kv::limits;
use kv::store::{EngineKind, Put, Store, Subscribe};

use super::OwnDaemon;
use crate::support::{Site, json, runtime, skipped, wait_until};

/// The connections of kv, with what each has done last and when.
const SESSIONS: &str = "select pid, query_start, state_change, query from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' order by pid";

#[test]
fn a_daemon_that_nobody_follows_asks_the_server_nothing() {
    let name = "a_daemon_that_nobody_follows_asks_the_server_nothing";
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(name) };
    let daemon = OwnDaemon::start(&site.database().url());
    runtime().block_on(async {
        let client = daemon.client().await;
        client.init().await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        client.get("a").await.unwrap();
        client.list(0, None).await.unwrap();
        let mut sessions = site.database().sql(SESSIONS);
        for is_followed in [false, true] {
            if is_followed {
                // Who has followed, and has gone, leaves a connection that listens.
                let subscription = client.subscribe(Subscribe::default()).await.unwrap();
                wait_until("listening", || site.database().sql(SESSIONS).contains("listen"));
                drop(subscription);
                while client.status().await.unwrap().hello.attached > 0 {}
                tokio::time::sleep(limits::POSTGRES_LOOK_INTERVAL).await;
                sessions = site.database().sql(SESSIONS);
            }
            // Nothing can be waited for: it is to see that nothing happens.
            tokio::time::sleep(3 * limits::POSTGRES_LOOK_INTERVAL).await;
            assert_eq!(site.database().sql(SESSIONS), sessions);
            let count = sessions.lines().count();
            // One that writes, one that reads, and one that listens.
            assert!(count <= 2 + usize::from(is_followed), "{sessions}");
        }
    });
}
