//! Random sequences of every operation, cut at random into batches and spread over two stores on one place, against a
//! plain model.
//!
//! `MODEL_CASES=20000 MODEL_STEPS=60 cargo test --locked --release --test it model -- --skip rqlite` runs for long, and so do 2000
//! of `rqlite_equals`, where a write takes longer.

mod consumers;
mod imports;
mod plain;
mod steps;
mod stream;

use kv::Client;
use kv::store::{
    Clock, EngineKind, ExpiryChange, Grant, LocalStore, ManualClock, Mutation, Reply, Request, Store,
    Timestamp, Write, WriteOperation,
};
use proptest::prelude::*;

use self::plain::{Failure, Model};
use self::steps::Step;
use crate::support::{Daemon, START_MS, Site, assert_sound, number_from_environment, runtime, skipped};

/// The calls of one step, which are made at one instant: writes become one batch, in their order; a read sees committed
/// changes only, so it runs alone.
struct Batch {
    requests: Vec<Request>,
    store: usize,
}

fn first_batch(steps: &[Step], earlier: &mut Vec<Write>) -> (Batch, usize) {
    let mut requests: Vec<Request> = Vec::new();
    let mut length = 0;
    let mut store = 0;
    for step in steps {
        let (request, joins, through) = match step {
            Step::Clock(_) | Step::Reopen | Step::Compact(_) => break,
            Step::Call { request, joins, store } => (request.clone(), *joins, *store),
            Step::Again { which, joins, store } => {
                let Some(again) = earlier.get(*which % earlier.len().max(1)) else {
                    length += 1;
                    continue;
                };
                (Request::Write(again.clone()), *joins, *store)
            }
        };
        let is_write = matches!(request, Request::Write(_));
        if !(requests.is_empty() || joins && is_write) {
            break;
        }
        if requests.is_empty() {
            store = through;
        }
        if let Request::Write(write) = &request {
            earlier.push(write.clone());
        }
        requests.push(request);
        length += 1;
        if !is_write {
            break;
        }
    }
    (Batch { requests, store }, length)
}

/// The way to a store.
#[derive(Debug, Clone, Copy)]
enum Way {
    InProcess,
    ThroughDaemon,
}

/// One of the stores on a place.
enum Opened {
    Local(LocalStore),
    /// Its daemon ends behind the client.
    Remote(Box<Client>, #[expect(dead_code, reason = "it lives as long as this")] Daemon),
}

impl Opened {
    async fn open(site: &Site, name: &str, clock: &ManualClock, way: Way) -> Opened {
        let clock = Clock::Manual(clock.clone());
        match way {
            Way::InProcess => Opened::Local(LocalStore::open(&site.address, clock)),
            Way::ThroughDaemon => {
                let directory = site.directory.path().join(name);
                std::fs::create_dir_all(&directory).unwrap();
                let daemon = Daemon::at(site.address.clone(), &directory, clock);
                Opened::Remote(Box::new(Client::connect(&daemon.socket).await.unwrap()), daemon)
            }
        }
    }

    fn store(&self) -> &dyn Store {
        match self {
            Opened::Local(store) => store,
            Opened::Remote(client, _) => &**client,
        }
    }

    async fn close(self) {
        if let Opened::Local(store) = self {
            store.close().await;
        }
    }
}

/// Whether a client can ask for it, and the model knows when it happens: some of what a store does stands behind other operations
/// of the daemon, which removes what has expired, and what is not to be kept of the stream, when it sees fit.
fn can_be_sent(step: &Step) -> bool {
    let Step::Call { request: Request::Write(write), .. } = step else { return true };
    match &write.operation {
        WriteOperation::Apply(mutation) => !expires(mutation),
        WriteOperation::Mutate(mutations) => !mutations.iter().any(expires),
        WriteOperation::ConsumerHold(_) | WriteOperation::ConsumerLeave(_) | WriteOperation::Retain(_) => {
            false
        }
        WriteOperation::LockRelease(release) => release.refreshes.is_none(),
        _ => true,
    }
}

fn expires(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::Put(put) => matches!(put.expiry, ExpiryChange::After(_)),
        Mutation::Patch(patch) => matches!(patch.expiry, ExpiryChange::After(_)),
        Mutation::Expire(expire) => expire.ttl.is_some(),
        Mutation::Increment(increment) => matches!(increment.expiry, ExpiryChange::After(_)),
        Mutation::Import(import) => import.expires.is_some(),
        _ => false,
    }
}

/// A reply as a daemon tells it: not how often a grant was refreshed, nor where the stream stood when nothing was found.
fn as_sent(reply: Reply) -> Reply {
    match reply {
        Reply::Get { record: None, .. } => Reply::Get { seq: 0, record: None },
        Reply::Consumer { consumer: None, .. } => Reply::Consumer { seq: 0, consumer: None },
        Reply::Granted(grant) => Reply::Granted(Grant::new(grant.fence, grant.expires)),
        reply => reply,
    }
}

async fn open_both(site: &Site, clock: &ManualClock, way: Way) -> [Opened; 2] {
    [Opened::open(site, "a", clock, way).await, Opened::open(site, "b", clock, way).await]
}

async fn check(site: Site, way: Way, mut steps: Vec<Step>) {
    let is_sent = matches!(way, Way::ThroughDaemon);
    steps.retain(|step| !is_sent || can_be_sent(step));
    let clock = ManualClock::at(Timestamp::from_unix_ms(START_MS));
    let mut stores = open_both(&site, &clock, way).await;
    stores[0].store().init().await.unwrap();
    let mut model = Model::default();
    let (mut now_ms, mut earlier) = (START_MS, Vec::new());
    let mut rest = steps.as_slice();
    while let Some((first, later)) = rest.split_first() {
        match first {
            Step::Clock(by_ms) => {
                clock.advance_ms(*by_ms);
                now_ms += by_ms;
                rest = later;
                continue;
            }
            Step::Reopen => {
                for store in stores {
                    store.close().await;
                }
                stores = open_both(&site, &clock, way).await;
                rest = later;
                continue;
            }
            Step::Compact(store) => {
                if site.address.kind() == EngineKind::Sqlite {
                    stores[*store].store().compact().await.unwrap();
                }
                rest = later;
                continue;
            }
            Step::Call { .. } | Step::Again { .. } => {}
        }
        let (batch, length) = first_batch(rest, &mut earlier);
        rest = &rest[length..];
        let calls = batch.requests.iter().map(|request| stores[batch.store].store().call(request.clone()));
        let told = futures_util::future::join_all(calls).await;
        for (request, told) in batch.requests.iter().zip(told) {
            let told = told.map_err(|error| {
                assert!(!error.maybe, "{error:?}");
                Failure { code: error.code, details: *error.details }
            });
            let mut expected = model.call(request, now_ms);
            if is_sent {
                expected = expected.map(as_sent);
            }
            assert_eq!(told, expected, "{request:#?}");
        }
    }
    let [store, other] = stores;
    assert_eq!(store.store().list(0, None).await.unwrap(), model.at(now_ms).records());
    assert_eq!(other.store().stream(0, None).await.unwrap(), model.kept_changes());
    store.close().await;
    other.close().await;
    std::thread::spawn(move || assert_sound(&site.address)).join().unwrap();
}

fn run(engine: EngineKind, way: Way, cases: u32) {
    let cases = number_from_environment("MODEL_CASES", cases);
    let steps = number_from_environment("MODEL_STEPS", 40) as usize;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&prop::collection::vec(steps::step(), steps), |steps| {
            match Site::on(engine) {
                Some(site) => runtime().block_on(check(site, way, steps)),
                None => skipped(&format!("the model on {engine:?}, {way:?}")),
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_sequence_in_any_batches_through_two_stores_equals_the_plain_model() {
    run(EngineKind::Sqlite, Way::InProcess, 200);
}

#[test]
fn any_sequence_on_postgres_equals_the_plain_model() {
    run(EngineKind::Postgres, Way::InProcess, 50);
}

#[test]
fn any_sequence_through_two_daemons_on_postgres_equals_the_plain_model() {
    run(EngineKind::Postgres, Way::ThroughDaemon, 50);
}

#[test]
fn any_sequence_on_rqlite_equals_the_plain_model() {
    run(EngineKind::Rqlite, Way::InProcess, 12);
}

#[test]
fn any_sequence_through_two_daemons_on_rqlite_equals_the_plain_model() {
    run(EngineKind::Rqlite, Way::ThroughDaemon, 12);
}
