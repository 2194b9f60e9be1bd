//! Two consumers of one name, stopped and killed: nothing is skipped, and the position never goes back.

use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kv::store::{Clock, ConsumerLeave, Event, LocalStore, Request, Store as _, Subscribe, WriteOperation};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::{Wire, seqs, socket};
use crate::support::{Kv, runtime, wait_until};

/// A consumer whose output is kept.
struct Session {
    child: Child,
    printed: PathBuf,
}

impl Session {
    fn start(kv: &Kv, name: &str, flags: &str) -> Session {
        let printed = kv.directory.path().join(name);
        let mut command = kv.command("bash");
        command.args([
            "-c",
            &format!("exec kv {flags} consumer stream jobs --wait 1h >> {name} 2>> {name}.err"),
        ]);
        Session { child: command.spawn().unwrap(), printed }
    }

    /// What it printed; a line that is being written is left out.
    fn seqs(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.printed).unwrap_or_default();
        seqs(text.rsplit_once('\n').map_or("", |(whole, _)| whole))
    }

    fn signal(&self, kv: &Kv, signal: &str) {
        kv.ok(&format!("kill -{signal} {}", self.child.id()));
    }

    fn until_printed(&self, seq: u64) {
        wait_until(&format!("{seq} by {}", self.printed.display()), || self.seqs().last() >= Some(&seq));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn position(kv: &Kv) -> u64 {
    kv.ok("kv consumer status jobs | jq .position").trim().parse().unwrap()
}

fn put(kv: &Kv, count: u64) {
    kv.ok(&format!("for i in $(seq {count}); do kv put jobs/$i --value $i; done"));
}

#[test]
fn consumers_that_are_stopped_and_killed_skip_nothing_and_go_on_one_after_the_other() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, 5);
    // The first one holds the lease by itself, so that stopping it stops the renewal.
    let mut first = Session::start(&kv, "first", "--daemon=never");
    first.until_printed(5);
    wait_until("the commit", || position(&kv) == 5);
    let second = Session::start(&kv, "second", "");
    let stopped = Instant::now();
    first.signal(&kv, "STOP");
    put(&kv, 5);
    std::thread::sleep(Duration::from_secs(5).saturating_sub(stopped.elapsed()));
    let early = second.seqs();
    // Renewed every three seconds, the lease of ten seconds stands for six more at least.
    assert!(
        early.is_empty() || stopped.elapsed() > Duration::from_secs(6),
        "both followed at once: {early:?}"
    );
    second.until_printed(10);
    wait_until("the commit", || position(&kv) == 10);
    first.signal(&kv, "CONT");
    // It finds out that it lost the lease, at its next commit or renewal at the latest.
    wait_until("the end of the first", || first.child.try_wait().unwrap().is_some());
    assert_eq!(first.child.wait().unwrap().code(), Some(5));
    assert!(kv.ok("cat first.err").contains("consumer_busy"));
    assert_eq!(position(&kv), 10);

    // A session through the daemon that is killed frees the name at once.
    let third = Session::start(&kv, "third", "");
    second.signal(&kv, "KILL");
    put(&kv, 5);
    third.until_printed(15);
    wait_until("the commit", || position(&kv) == 15);
    for session in [&first, &second, &third] {
        let seqs = session.seqs();
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {seqs:?}");
    }
    let mut all: Vec<u64> = [&first, &second, &third].iter().flat_map(|session| session.seqs()).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (1..=15).collect::<Vec<u64>>());
}

#[test]
fn a_consumer_goes_on_with_the_next_daemon_and_repeats_only_what_it_did_not_commit() {
    let kv = Kv::new();
    kv.ok("kv init");
    let session = Session::start(&kv, "session", "");
    for round in 1..=4 {
        put(&kv, 3);
        session.until_printed(round * 3);
        wait_until("the commit", || position(&kv) == round * 3);
        kv.ok("kv daemon stop");
    }
    assert_eq!(session.seqs(), (1..=12).collect::<Vec<u64>>());
}

#[test]
fn scripts_get_and_commit_without_a_session() {
    let kv = Kv::new();
    kv.ok("kv init; for i in 1 2 3 4 5; do kv put jobs/$i --value $i; done");
    let script = "kv consumer get jobs 2 --output ndjson 2>/dev/null | while read -r change; do \
                      echo \"$change\" | jq -r .record.key; kv consumer commit jobs $(echo \"$change\" | jq .seq) > /dev/null; \
                  done";
    assert_eq!(kv.ok(script), "jobs/1\njobs/2\n");
    assert_eq!(kv.ok(script), "jobs/3\njobs/4\n");
    assert_eq!(kv.ok("kv consumer get jobs | jq -c 'map(.seq)'"), "[5]\n");
    assert_eq!(kv.ok("kv consumer get new --from 3 2>/dev/null | jq -c 'map(.seq)'"), "[4,5]\n");
    assert_eq!(kv.ok("kv consumer get new --from now"), "[]\n");
    assert_eq!(
        kv.ok("kv consumer commit jobs 1; kv consumer status jobs | jq -c '[.position, .head, .lag]'"),
        "4\n[4,5,1]\n"
    );
    assert_eq!(kv.fails("kv consumer commit jobs 6").0, 7);
    assert_eq!(kv.ok("kv consumer list --output ndjson | jq -c '[.name, .lag]'"), "[\"jobs\",1]\n");
    assert_eq!(kv.fails("kv consumer status nobody").0, 3);
    kv.ok("kv consumer delete jobs; kv consumer delete jobs");
    assert_eq!(kv.fails("kv consumer status jobs").0, 3);
}

#[test]
fn a_command_deals_with_each_change_and_what_it_failed_at_comes_again() {
    let kv = Kv::new();
    kv.ok("kv init; for i in 1 2 3; do kv put jobs/$i --value $i; done");
    let stream =
        "kv consumer stream jobs -- sh -c 'echo $KV_CHANGE_KEY; [ -e mended ] || [ $KV_CHANGE_SEQ -lt 2 ]'";
    let output = kv.shell(stream);
    assert_eq!(
        (String::from_utf8_lossy(&output.stdout).as_ref(), output.status.code()),
        ("jobs/1\njobs/2\n", Some(1))
    );
    assert_eq!(position(&kv), 1);
    let output = kv.shell(&format!("touch mended; timeout -s INT 2 {stream}"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "jobs/2\njobs/3\n");
    assert_eq!(position(&kv), 3);
}

/// Stands between a client and the daemon, and ends the first connections that commit: one before the daemon has the
/// commit, the next one behind the daemon's answer.
async fn cut_at_commits(listener: UnixListener, daemon: &str, cuts: u32) {
    let cuts = Arc::new(AtomicU32::new(cuts));
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let daemon = UnixStream::connect(daemon).await.unwrap();
        tokio::spawn(pass_on(client, daemon, Arc::clone(&cuts)));
    }
}

async fn pass_on(client: UnixStream, daemon: UnixStream, cuts: Arc<AtomicU32>) {
    let (client, mut to_client) = client.into_split();
    let (daemon, mut to_daemon) = daemon.into_split();
    let (mut requests, mut replies) = (BufReader::new(client), BufReader::new(daemon));
    let mut first = String::new();
    requests.read_line(&mut first).await.unwrap();
    let left = cuts.load(Ordering::SeqCst);
    if first.contains("consumer.commit") && left > 0 {
        cuts.store(left - 1, Ordering::SeqCst);
        if left.is_multiple_of(2) {
            to_daemon.write_all(first.as_bytes()).await.unwrap();
            let mut reply = String::new();
            replies.read_line(&mut reply).await.unwrap();
            assert!(reply.contains("position"), "{reply}");
        }
        return;
    }
    to_daemon.write_all(first.as_bytes()).await.unwrap();
    // Whichever side ends first ends both.
    tokio::select! {
        _ = tokio::io::copy_buf(&mut requests, &mut to_daemon) => {}
        _ = tokio::io::copy_buf(&mut replies, &mut to_client) => {}
    }
}

#[test]
fn a_commit_is_repeated_until_it_is_answered() {
    let kv = Kv::new();
    kv.ok("kv init; mkdir -m 700 between");
    put(&kv, 5);
    let between = kv.directory.path().join("between/socket");
    let daemon = socket(&kv);
    // What is printed is committed at the end, what a command deals with in between too.
    let slowly = "exec kv --daemon=require --socket between/socket consumer stream $NAME --limit 5 \
                  -- sh -c 'sleep 0.12; echo \"{\\\"seq\\\":$KV_CHANGE_SEQ}\"'";
    let at_once = "exec kv --daemon=require --socket between/socket consumer stream $NAME --limit 5";
    for (text, kind) in [(at_once, "at-once"), (slowly, "slowly")] {
        for cuts in [0, 1, 2, 5] {
            let name = format!("{kind}-{cuts}");
            let mut command = kv.command("bash");
            command.args(["-c", text]).env("NAME", &name);
            let output = runtime().block_on(async {
                let listener = UnixListener::bind(&between).unwrap();
                let streaming = tokio::task::spawn_blocking(move || command.output().unwrap());
                tokio::select! {
                    () = cut_at_commits(listener, &daemon, cuts) => unreachable!(),
                    output = streaming => output.unwrap(),
                }
            });
            assert!(output.status.success(), "{name}: {output:?}");
            assert_eq!(seqs(&String::from_utf8_lossy(&output.stdout)), [1, 2, 3, 4, 5], "{name}: {output:?}");
            assert_eq!(kv.ok(&format!("kv consumer status {name} | jq .position")), "5\n", "{name}");
            std::fs::remove_file(&between).unwrap();
        }
    }
}

/// Before the commit, by the command that runs, or while it waits for a daemon that does not come.
#[test]
fn a_commit_that_cannot_be_made_keeps_nobody_from_ending() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, 3);
    for pause in ["sleep 1", "exit 0"] {
        let begun = Instant::now();
        let printed = kv.ok(&format!(
            "rm -f stopped; kv --daemon=require consumer stream jobs --limit 3 -- \
                 sh -c 'trap \"\" TERM; kv daemon stop; : > stopped; {pause}' 2> said & stream=$!; \
             until [ -e stopped ]; do sleep 0.01; done; sleep 0.3; kill -TERM $stream; wait $stream; echo $?; tail -1 said"
        ));
        assert_eq!(
            printed,
            "143\nwhat was dealt with last is not known to be committed: it may come again\n"
        );
        assert!(begun.elapsed() < Duration::from_secs(15), "{pause}: {:?}", begun.elapsed());
        assert_eq!(kv.ok("kv consumer status jobs | jq .position"), "0\n");
    }
}

#[test]
fn who_waits_for_a_consumer_goes_on_with_the_next_daemon() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, 3);
    let first = Session::start(&kv, "first", "");
    first.until_printed(3);
    wait_until("the commit", || position(&kv) == 3);
    let second = Session::start(&kv, "second", "");
    let until_attached = || wait_until("both", || kv.ok("kv daemon status | jq .attached").trim() == "2");
    until_attached();
    kv.ok("kv daemon restart");
    until_attached();
    // Which of them follows now is open; the other one does when that one ends.
    put(&kv, 1);
    wait_until("the change", || [&first, &second].iter().any(|one| one.seqs().contains(&4)));
    let (ended, other) = if first.seqs().contains(&4) { (first, second) } else { (second, first) };
    wait_until("the commit", || position(&kv) == 4);
    drop(ended);
    put(&kv, 1);
    other.until_printed(5);
}

/// What it has not come to waits in the daemon, however often it commits.
#[test]
fn a_slow_command_with_much_before_it_gets_each_change_once() {
    let kv = Kv::new();
    kv.ok("kv init; head -c 100000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' > large; \
           for i in $(seq 120); do kv put large/$i < large; done");
    let seqs = kv.ok("kv consumer stream jobs --limit 40 -- sh -c 'sleep 0.11; echo $KV_CHANGE_SEQ'");
    assert_eq!(seqs, (1..=40).map(|seq| format!("{seq}\n")).collect::<String>());
    assert_eq!(position(&kv), 40);
}

/// As when its command runs for so long that the daemon takes it for stalled.
#[test]
fn a_session_that_lost_the_name_to_nobody_goes_on() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, 3);
    let socket = socket(&kv);
    runtime().block_on(async {
        let store = kv::Client::connect(socket.as_ref()).await.unwrap();
        let wanted = Subscribe { consumer: Some("jobs".to_owned()), ..Subscribe::default() };
        let mut subscription = store.subscribe(wanted).await.unwrap();
        assert!(matches!(subscription.next().await.unwrap(), Event::Change(change) if change.seq == 1));
        // What the daemon does for a session that it ends, done past it.
        let address = crate::support::address(kv.directory.path());
        let beside = LocalStore::open(&address, Clock::System);
        let holder = beside.consumer_status("jobs").await.unwrap().1.unwrap().holder.unwrap();
        let leave = ConsumerLeave { name: "jobs".to_owned(), holder };
        beside.call(Request::Write(WriteOperation::ConsumerLeave(leave).into())).await.unwrap();
        assert_eq!(subscription.commit(1).await, Ok(1));
        assert!(matches!(subscription.next().await.unwrap(), Event::Change(change) if change.seq == 2));
        beside.close().await;
    });
    assert_eq!(position(&kv), 1);
}

#[test]
fn a_session_commits_on_any_connection_by_its_name() {
    let kv = Kv::new();
    kv.ok("kv init");
    put(&kv, 3);
    let socket = socket(&kv);
    runtime().block_on(async {
        let mut events = Wire::connect(&socket).await;
        let subscribed = events.ask(r#"{"op":"subscribe","consumer":"jobs"}"#).await;
        let mut commits = Wire::connect(&socket).await;
        let commit = r#"{"op":"consumer.commit","name":"jobs","seq":2}"#;
        assert_eq!(commits.ask(commit).await["error"]["code"], "consumer_busy");
        let named = commit.replace('}', &format!(",\"holder\":{}}}", subscribed["holder"]));
        assert_eq!(commits.ask(&named).await["position"], 2);
        drop(events);
        let status = r#"{"op":"consumer.status","name":"jobs"}"#;
        while !commits.ask(status).await["holder"].is_null() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let late = commits.ask(&named.replace("\"seq\":2", "\"seq\":3")).await;
        assert_eq!(late["error"]["code"], "consumer_busy", "its session has ended: {late}");
    });
    assert_eq!(position(&kv), 2);
}
