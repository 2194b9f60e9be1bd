//! Two daemons on one database are one store.

use std::time::{Duration, Instant};

use kv::limits;
use kv::store::{
    Address, Clock, Code, EngineKind, Event, LocalStore, LockAcquire, Put, Store, Subscribe, Subscription,
};

use super::OwnDaemon;
use crate::support::slow_link::SlowLink;
use crate::support::{Site, json, postgres, runtime, skipped};

/// Within this something has come by itself, and not because somebody looked for it.
const PROMPT: Duration = limits::POSTGRES_LOOK_INTERVAL.checked_div(4).unwrap();

/// Both daemons, on a store that is there. Each has connected to the database before the store was made, and has to be told
/// of what the other one commits all the same.
fn both(site: &Site) -> [OwnDaemon; 2] {
    let url = site.database().url();
    let daemons = [OwnDaemon::start(&url), OwnDaemon::start(&url)];
    runtime().block_on(async {
        for daemon in &daemons {
            let refused = daemon.client().await.put(Put::new("early", json("1"))).await.unwrap_err();
            assert_eq!(refused.code, Code::NotInitialized);
        }
        daemons[0].client().await.init().await.unwrap();
    });
    daemons
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn next_change(subscription: &mut Subscription) -> String {
    let change = async {
        loop {
            if let Event::Change(change) = subscription.next().await.unwrap() {
                return change.record.key;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), change).await.expect("no change came")
}

#[test]
fn each_is_told_promptly_of_what_the_other_commits() {
    let Some(site) = Site::on(EngineKind::Postgres) else {
        return skipped("each_is_told_promptly_of_what_the_other_commits");
    };
    let daemons = both(&site);
    runtime().block_on(async {
        let clients = [daemons[0].client().await, daemons[1].client().await];
        let mut subscriptions = Vec::new();
        for client in &clients {
            subscriptions.push(client.subscribe(Subscribe::default()).await.unwrap());
        }
        let mut times = Vec::new();
        for number in 0..200 {
            let (writer, other) = (number % 2, 1 - number % 2);
            let key = number.to_string();
            clients[writer].put(Put::new(&key, json("1"))).await.unwrap();
            let begun = Instant::now();
            assert_eq!(next_change(&mut subscriptions[other]).await, key);
            times.push(begun.elapsed());
            assert_eq!(next_change(&mut subscriptions[writer]).await, key);
        }
        let median = median(&mut times);
        eprintln!("told of a change through the other daemon: median {median:?}, at most {:?}", times[199]);
        assert!(median < PROMPT, "{median:?}");
    });
}

#[test]
fn a_lock_that_is_released_through_one_is_granted_at_once_through_the_other() {
    let Some(site) = Site::on(EngineKind::Postgres) else {
        return skipped("a_lock_that_is_released_through_one_is_granted_at_once_through_the_other");
    };
    let daemons = both(&site);
    runtime().block_on(async {
        let clients = [daemons[0].client().await, daemons[1].client().await];
        let (mut times, mut fences) = (Vec::new(), Vec::new());
        for round in 0..9 {
            let (holder, waiter) = (round % 2, 1 - round % 2);
            let grant =
                clients[holder].lock_acquire("deploy", "holder", Duration::from_secs(60)).await.unwrap();
            fences.push(grant.fence);
            let wanted = LockAcquire {
                name: "deploy".to_owned(),
                owner: "waiter".to_owned(),
                duration: Duration::from_secs(60),
                fence: None,
            };
            let waiting = clients[waiter].lock_acquire_within(wanted, Duration::from_secs(30));
            let releasing = async {
                while clients[waiter].status().await.unwrap().hello.attached == 0 {}
                assert!(clients[holder].lock_release("deploy", "holder").await.unwrap());
                Instant::now()
            };
            let (grant, released) = tokio::join!(waiting, releasing);
            times.push(released.elapsed());
            fences.push(grant.unwrap().fence);
            assert!(clients[waiter].lock_release("deploy", "waiter").await.unwrap());
        }
        assert!(fences.is_sorted_by(|before, after| before < after), "{fences:?}");
        let median = median(&mut times);
        eprintln!("granted through the other daemon: median {median:?}, at most {:?}", times[8]);
        assert!(median < PROMPT, "{median:?}");
    });
}

#[test]
fn a_consumer_that_is_held_through_one_is_busy_through_the_other() {
    let Some(site) = Site::on(EngineKind::Postgres) else {
        return skipped("a_consumer_that_is_held_through_one_is_busy_through_the_other");
    };
    let daemons = both(&site);
    runtime().block_on(async {
        let clients = [daemons[0].client().await, daemons[1].client().await];
        for number in 1..=3 {
            clients[0].put(Put::new(number.to_string(), json("1"))).await.unwrap();
        }
        let mut first = clients[0].subscribe(Subscribe::consumer("mail")).await.unwrap();
        assert_eq!(next_change(&mut first).await, "1");
        assert_eq!(first.commit(1).await, Ok(1));
        let refused = clients[1].subscribe(Subscribe::consumer("mail")).await.unwrap_err();
        assert!(refused.code == Code::ConsumerBusy && refused.details.holder.is_some(), "{refused:?}");
        let waits = Subscribe { wait: Duration::from_secs(30), ..Subscribe::consumer("mail") };
        let waiting = clients[1].subscribe(waits);
        let ending = async {
            while clients[1].status().await.unwrap().hello.attached == 0 {}
            drop(first);
            Instant::now()
        };
        let (second, ended) = tokio::join!(waiting, ending);
        // The hold is given up by then, and not over by itself.
        assert!(ended.elapsed() < limits::CONSUMER_LEASE / 2, "{:?}", ended.elapsed());
        let mut second = second.unwrap();
        assert_eq!(next_change(&mut second).await, "2");
        assert_eq!(second.commit(2).await, Ok(2));
    });
}

pub(super) const WINDOW: &str =
    "postgres::two_daemons::what_is_committed_while_somebody_begins_to_listen_is_told";

/// A change of another process, at every moment while a store begins to listen over a link that makes each of its steps long.
#[test]
fn what_is_committed_while_somebody_begins_to_listen_is_told() {
    const DELAY: Duration = Duration::from_millis(20);
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(WINDOW) };
    let link = SlowLink::to(postgres::Cluster::shared().unwrap().address(), DELAY);
    let far = site.database().url_by_way_of(link.address());
    let far = Address::parse(EngineKind::Postgres, &far).unwrap();
    runtime().block_on(async {
        let near = LocalStore::open(&site.address, Clock::System);
        near.init().await.unwrap();
        let mut times = Vec::new();
        for step in 0..24 {
            let store = LocalStore::open(&far, Clock::System);
            let mut subscription = store.subscribe(Subscribe::default()).await.unwrap();
            tokio::time::sleep(DELAY * step).await;
            let key = step.to_string();
            near.put(Put::new(&key, json("1"))).await.unwrap();
            let begun = Instant::now();
            assert_eq!(next_change(&mut subscription).await, key);
            times.push(begun.elapsed());
            store.close().await;
        }
        near.close().await;
        times.sort_unstable();
        eprintln!("told while beginning to listen: {times:?}");
        // Whoever misses a notification looks after this time; one round may be late because the machine is busy.
        assert!(
            times[22] < limits::POSTGRES_LOOK_INTERVAL,
            "changes came with the next look only: {times:?}"
        );
    });
}
