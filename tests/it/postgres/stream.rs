//! Many processes write to one database while its sessions are ended, and many follow: the stream is what was committed,
//! in the order in which it was.
//!
//! `STREAM_TRANSACTIONS=500000 cargo test --locked --release --test it postgres::stream -- --nocapture` is the long form.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kv::store::{Address, Clock, Code, EngineKind, LocalStore, Reply, Request, Store};
use kv::store::{MutationResult, Result};
use tokio::sync::watch;

use super::copy::{Copy, Transaction};
use super::{OwnDaemon, follow};
use crate::support::{Site, assert_sound, number_from_environment, runtime, skipped};

pub(super) const NAME: &str =
    "postgres::stream::what_many_processes_write_is_one_stream_while_sessions_are_ended";

/// Set in a process of the test that writes: the number of the writer.
const WRITER: &str = "KV_TEST_WRITER";
const URL: &str = "KV_TEST_WRITER_URL";
const OUTCOMES: &str = "KV_TEST_WRITER_OUTCOMES";
const TRANSACTIONS: &str = "STREAM_TRANSACTIONS";

const WRITERS: u64 = 8;

/// How many transactions a writer has under way.
const LANES: u64 = 16;

/// How often sessions are ended.
const TERMINATION_INTERVAL: Duration = Duration::from_millis(200);

#[test]
fn what_many_processes_write_is_one_stream_while_sessions_are_ended() {
    if let Ok(writer) = std::env::var(WRITER) {
        return write(writer.parse().unwrap());
    }
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(NAME) };
    runtime().block_on(async {
        let store = LocalStore::open(&site.address, Clock::System);
        store.init().await.unwrap();
        store.close().await;
    });
    let url = site.database().url();
    let daemons = [OwnDaemon::start(&url), OwnDaemon::start(&url)];
    // Without optimization it takes three times as long.
    let default = if cfg!(debug_assertions) { 8_000 } else { 20_000 };
    let transactions = number_from_environment(TRANSACTIONS, default);
    let begun = Instant::now();
    let (told_end, end) = watch::channel(None);
    let is_over = AtomicBool::new(false);
    let (copies, outcomes, ended) = std::thread::scope(|scope| {
        let ending = scope.spawn(|| end_sessions(&site, &is_over));
        let mut followers = Vec::new();
        for _ in 0..2 {
            let (address, end) = (&site.address, end.clone());
            followers.push(scope.spawn(move || {
                runtime().block_on(async {
                    let store = LocalStore::open(address, Clock::System);
                    let copy = copied(&store, end).await;
                    store.close().await;
                    copy
                })
            }));
        }
        for daemon in &daemons {
            let end = end.clone();
            followers.push(
                scope.spawn(move || runtime().block_on(async { copied(&daemon.client().await, end).await })),
            );
        }
        let file = |writer: u64| site.directory.path().join(format!("outcomes-{writer}"));
        let writers: Vec<Child> = (0..WRITERS)
            .map(|writer| spawn_writer(writer, &url, &file(writer), transactions / WRITERS as u32))
            .collect();
        let ended: Vec<_> = writers.into_iter().map(|mut writer| writer.wait().unwrap()).collect();
        let failed = ended.iter().filter(|ended| !ended.success()).count();
        is_over.store(true, Ordering::SeqCst);
        if failed > 0 {
            // The followers need not wait for an end.
            drop(told_end);
            panic!("{failed} writers have failed");
        }
        let ended = ending.join().unwrap();
        let head = runtime().block_on(async {
            let store = LocalStore::open(&site.address, Clock::System);
            let head = store.stream_seq().await.unwrap();
            store.close().await;
            head
        });
        told_end.send(Some(head)).unwrap();
        let copies: Vec<Copy> = followers.into_iter().map(|follower| follower.join().unwrap()).collect();
        let outcomes: Vec<_> = (0..WRITERS).map(|writer| Outcomes::read(&file(writer))).collect();
        (copies, outcomes, ended)
    });
    check(&site, &copies, &outcomes);
    let sum = |count: fn(&Outcomes) -> usize| outcomes.iter().map(count).sum::<usize>();
    let acknowledged = sum(|outcomes| outcomes.acknowledged.len());
    eprintln!(
        "{acknowledged} acknowledged, {} rejected, {} refused, {} unknown, {} changes, {ended} sessions ended, {:.1} s",
        sum(|outcomes| outcomes.rejected.len()),
        sum(|outcomes| outcomes.refused.len()),
        sum(|outcomes| outcomes.unknown.len()),
        copies[0].seq,
        begun.elapsed().as_secs_f64(),
    );
    assert!(acknowledged > transactions as usize / 2, "most transactions were refused");
    assert!(ended > 0, "no session was ended");
}

/// Ends sessions of kv, any of them, again and again; answers how many.
fn end_sessions(site: &Site, is_over: &AtomicBool) -> usize {
    let text = "select count(pg_terminate_backend(pid)) from (
        select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
        and backend_type = 'client backend' order by random() limit 3) sessions";
    let mut ended = 0;
    while !is_over.load(Ordering::SeqCst) {
        ended += site.database().sql(text).parse::<usize>().unwrap();
        std::thread::sleep(TERMINATION_INTERVAL);
    }
    ended
}

/// A copy of the store by its stream.
async fn copied(store: &dyn Store, end: watch::Receiver<Option<u64>>) -> Copy {
    let mut copy = Copy::default();
    follow(store, end, |change| copy.add(change)).await;
    copy.end();
    copy
}

/// What became of the transactions of a writer.
#[derive(Default)]
struct Outcomes {
    /// With the revision of their first change.
    acknowledged: Vec<(u64, u64)>,
    rejected: Vec<u64>,
    /// Those that failed and should not: by what is done to the server. None of them was applied.
    refused: Vec<u64>,
    unknown: Vec<u64>,
}

impl Outcomes {
    fn read(file: &Path) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let mut words = line.split(' ');
            let what = words.next().unwrap();
            let mut number = || words.next().unwrap().parse().unwrap();
            match what {
                "acknowledged" => outcomes.acknowledged.push((number(), number())),
                "rejected" => outcomes.rejected.push(number()),
                "refused" => outcomes.refused.push(number()),
                "unknown" => outcomes.unknown.push(number()),
                _ => panic!("{line}"),
            }
        }
        outcomes
    }
}

fn spawn_writer(writer: u64, url: &str, outcomes: &Path, transactions: u32) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(WRITER, writer.to_string())
        .env(URL, url)
        .env(OUTCOMES, outcomes)
        .env(TRANSACTIONS, transactions.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a process does that writes.
fn write(writer: u64) {
    let variable = |name| std::env::var(name).unwrap();
    let mut file = BufWriter::new(std::fs::File::create(variable(OUTCOMES)).unwrap());
    let transactions: u64 = variable(TRANSACTIONS).parse().unwrap();
    let address = Address::parse(EngineKind::Postgres, &variable(URL)).unwrap();
    runtime().block_on(async {
        let store = LocalStore::open(&address, Clock::System);
        let lanes = (0..LANES).map(|lane| {
            let store = &store;
            async move {
                let (mut lines, mut last) = (Vec::new(), 0);
                for number in (lane..transactions).step_by(LANES as usize) {
                    let transaction = Transaction::of((writer, number));
                    let is_rejected = transaction.is_rejected;
                    let told = store.call(Request::Write(transaction.write())).await;
                    let (what, revision) = outcome(told, is_rejected);
                    // What was told before it was written is before it in the stream.
                    assert!(revision == 0 || revision > last, "{revision} was committed behind {last}");
                    last = last.max(revision);
                    lines.push(format!("{what} {number} {revision}"));
                }
                lines
            }
        });
        for line in futures_util::future::join_all(lanes).await.into_iter().flatten() {
            writeln!(file, "{line}").unwrap();
        }
        store.close().await;
    });
    file.flush().unwrap();
}

/// What a transaction was told, and the revision of its first change.
fn outcome(told: Result<Reply>, is_rejected: bool) -> (&'static str, u64) {
    match told {
        Ok(reply) => {
            assert!(!is_rejected, "{reply:?}");
            let first = match &reply {
                Reply::Written(written) => written.revision,
                Reply::Mutated(results) => match &results[0] {
                    MutationResult::Written(written) => written.revision,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            };
            ("acknowledged", first)
        }
        Err(error) if error.maybe => ("unknown", 0),
        Err(error) if error.code == Code::VersionMismatch && is_rejected => ("rejected", 0),
        Err(error) => {
            let passes = matches!(error.code, Code::Busy | Code::Unavailable) && error.retry;
            assert!(passes, "{error:?}");
            ("refused", 0)
        }
    }
}

/// Asserts that all followers saw the same, that it is what the writers were told, and that it is what the store holds.
fn check(site: &Site, copies: &[Copy], outcomes: &[Outcomes]) {
    let found = &copies[0].found;
    let mut possible = BTreeSet::new();
    for (writer, outcomes) in (0..).zip(outcomes) {
        for &(number, revision) in &outcomes.acknowledged {
            assert_eq!(found.get(&(writer, number)), Some(&revision), "{writer}/{number} was acknowledged");
            possible.insert((writer, number));
        }
        for &number in outcomes.rejected.iter().chain(&outcomes.refused) {
            assert_eq!(found.get(&(writer, number)), None, "{writer}/{number} was told not to be applied");
        }
        possible.extend(outcomes.unknown.iter().map(|&number| (writer, number)));
    }
    assert!(
        found.keys().all(|name| possible.contains(name)),
        "something was applied that nobody was told of"
    );
    let records = runtime().block_on(async {
        let store = LocalStore::open(&site.address, Clock::System);
        let records = store.list(0, None).await.unwrap();
        store.close().await;
        records
    });
    for copy in copies {
        assert!(copy.found == *found, "followers saw different streams");
        assert!(copy.records.values().eq(&records), "a copy does not equal the store");
    }
    assert_sound(&site.address);
}
