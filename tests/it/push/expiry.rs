//! Records that expire while several processes have the store, and while none has.

use std::time::Duration;

use std::collections::BTreeMap;

use kv::Client;
use kv::store::{
    Action, Clock, EngineKind, Event, LocalStore, Mutation, Put, Store, Subscribe, Subscription,
};

use crate::support::{Daemon, Kv, Site, assert_sound, json, runtime, skipped, wait_until};

const RECORDS: usize = 300;

/// How often each key has expired, as a subscription tells until every one has.
async fn expired(mut subscription: Subscription) -> BTreeMap<String, usize> {
    let mut expired = BTreeMap::new();
    while expired.len() < RECORDS {
        let Event::Change(change) = subscription.next().await.unwrap() else { continue };
        if change.action == Action::Expire {
            *expired.entry(change.record.key).or_insert(0) += 1;
        }
    }
    expired
}

fn of_two_processes_one_removes_each_record(engine: EngineKind, name: &str) {
    let Some(site) = Site::on(engine) else { return skipped(name) };
    let daemon = Daemon::at(site.address.clone(), site.directory.path(), Clock::System);
    runtime().block_on(async {
        let client = Client::connect(&daemon.socket).await.unwrap();
        client.init().await.unwrap();
        let store = LocalStore::open(&site.address, Clock::System);
        let ones = [
            client.subscribe(Subscribe::default()).await.unwrap(),
            store.subscribe(Subscribe::default()).await.unwrap(),
        ];
        for part in 0..10 {
            let puts = (0..RECORDS / 10).map(|number| {
                let key = format!("{}", part * RECORDS / 10 + number);
                Mutation::Put(Put::new(key, json("1")).ttl(Duration::from_millis(50 + number as u64)))
            });
            let writer: &dyn Store = if part % 2 == 0 { &client } else { &store };
            writer.mutate_all(puts.collect()).await.unwrap();
        }
        let [one, other] = ones.map(expired);
        let (one, other) = tokio::join!(one, other);
        assert!(one.values().all(|times| *times == 1) && one == other, "{one:?}");
        assert_eq!(client.count().await.unwrap(), 0);
        // Nothing is left for a later one, and none was told twice.
        client.put(Put::new("last", json("1"))).await.unwrap();
        assert_eq!(client.stream_seq().await.unwrap() as usize, 2 * RECORDS + 1);
        store.close().await;
    });
    drop(daemon);
    assert_sound(&site.address);
}

#[test]
fn of_two_processes_one_removes_each_record_on_sqlite() {
    of_two_processes_one_removes_each_record(EngineKind::Sqlite, "two processes with records that expire");
}

#[test]
fn of_two_processes_one_removes_each_record_on_postgres() {
    of_two_processes_one_removes_each_record(EngineKind::Postgres, "two processes with records that expire");
}

#[test]
fn of_two_processes_one_removes_each_record_on_rqlite() {
    of_two_processes_one_removes_each_record(EngineKind::Rqlite, "two processes with records that expire");
}

#[test]
fn a_daemon_that_is_killed_before_an_expiry_leaves_the_record_to_the_next_one() {
    let kv = Kv::new();
    kv.ok("kv init; kv put b --value 1 --ttl 1h; kv put a --value 1 --ttl 2s");
    kv.kill_daemon(kv.daemon_pid());
    // Without a daemon nobody removes it, and nobody sees it.
    let gone = "kv --daemon=never --connection 'file:data.db?mode=ro' get a";
    wait_until("the expiry", || kv.shell(gone).status.code() == Some(3));
    assert_eq!(kv.ok("kv --daemon=never count all; kv --daemon=never stream seq"), "1\n2\n");
    kv.ok("kv daemon start");
    let actions = "kv stream get | jq -c 'map([.action, .record.key])'";
    wait_until("the removal", || kv.ok("kv stream seq") == "3\n");
    assert_eq!(kv.ok(actions), "[[\"create\",\"b\"],[\"create\",\"a\"],[\"expire\",\"a\"]]\n");
    kv.ok("kv check");
}

/// Of a daemon that has nothing else to do, by what was written while it waited for something later.
#[test]
fn an_idle_daemon_removes_what_expires_first() {
    let kv = Kv::new();
    kv.ok("kv init; kv put later --value 1 --ttl 1h");
    let told = kv.ok(
        "kv watch --after 1 --limit 2 > seen & kv put sooner --value 1 --ttl 100ms; wait; jq -c '[.action, .record.key]' seen",
    );
    assert_eq!(told, "[\"create\",\"sooner\"]\n[\"expire\",\"sooner\"]\n");
}
