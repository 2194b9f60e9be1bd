//! A request that waits for a lock is woken by everything that frees it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Wire, socket};

use crate::support::{Kv, Load, runtime, wait_until};

/// Asks for a lock that ends with its connection, or refreshes it.
const ACQUIRE: &str =
    r#"{"op":"lock.acquire","name":"deploy","owner":"me","duration_ms":600000,"session":true}"#;

/// Waits in the background until a lock is had, and prints by whom.
fn waiting(kv: &Kv, owner: &str) -> std::process::Child {
    let mut command = kv.command("kv");
    command.args(["lock", "acquire", "deploy", owner, "--wait", "30s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn until_waiting(kv: &Kv, count: usize) {
    wait_until("those who wait", || kv.ok("kv daemon status | jq .attached").trim() == count.to_string());
}

fn assert_granted(waiting: std::process::Child) {
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"held\":true"), "{output:?}");
}

#[test]
fn the_lock_of_a_connection_is_freed_when_it_ends_however_it_ends() {
    let kv = Kv::new();
    kv.ok("kv init");
    let line =
        r#"{"op":"lock.acquire","name":"deploy","owner":"holder","duration_ms":3600000,"session":true}"#;
    for end in ["kill -9 $holder", "kill $holder", "exec 3>&-"] {
        let printed = kv.ok(&format!(
            "rm -f replies; mkfifo lines; kv rpc < lines > replies & holder=$!; exec 3> lines; echo '{line}' >&3; \
             until grep -q fence replies; do sleep 0.01; done; kv lock status deploy | jq -r .owner; \
             kv lock acquire deploy next --wait 30s > granted 3>&- & waiter=$!; sleep 0.1; \
             {end}; wait $waiter; kv lock status deploy | jq -r .owner; kv lock release deploy next; \
             exec 3>&-; wait; rm lines"
        ));
        assert_eq!(printed, "holder\nnext\n", "{end}");
    }
}

#[test]
fn a_holder_that_is_killed_frees_its_lock_by_the_expiry() {
    let kv = Kv::new();
    kv.ok("kv init");
    let begun = Instant::now();
    let printed = kv.ok("kv lock run deploy --duration 1s -- sleep 60 & run=$!; \
         until pgrep -P $run sleep > child; do sleep 0.01; done; sleep 1.5; \
         kv lock status deploy | jq .held; kill -9 $run $(cat child); \
         kv lock acquire deploy next --wait 30s | jq .owner");
    assert_eq!(printed, "true\n\"next\"\n", "it was renewed, and then it was not");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_release_through_another_process_wakes_who_waits() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    let next = waiting(&kv, "next");
    until_waiting(&kv, 1);
    kv.ok("kv --daemon=never lock release deploy holder");
    assert_granted(next);
}

#[test]
fn who_waits_goes_on_with_the_next_daemon() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    for end in ["kv daemon stop", "kill -9 $(kv daemon status | jq .pid)"] {
        let next = waiting(&kv, "next");
        until_waiting(&kv, 1);
        kv.ok(end);
        until_waiting(&kv, 1);
        kv.ok("kv lock release deploy holder");
        assert_granted(next);
        kv.ok("kv lock release deploy next; kv lock acquire deploy holder");
    }
}

#[test]
fn a_command_that_waits_and_is_killed_leaves_nothing_behind() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    let mut next = waiting(&kv, "next");
    until_waiting(&kv, 1);
    next.kill().unwrap();
    next.wait().unwrap();
    until_waiting(&kv, 0);
    kv.ok("kv lock release deploy holder");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(kv.ok("kv lock status deploy | jq .held"), "false\n");
}

/// Only what has an id answers late; what has none keeps its turn.
#[test]
fn a_connection_goes_on_while_a_request_of_it_waits() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    let socket = socket(&kv);
    runtime().block_on(async {
        let mut wire = Wire::connect(&socket).await;
        let acquire = |id: &str, wait_ms: u32| {
            format!(
                r#"{{{id}"op":"lock.acquire","name":"deploy","owner":"me","duration_ms":1000,"wait_ms":{wait_ms}}}"#
            )
        };
        wire.send(&acquire(r#""id":"w","#, 60_000)).await;
        assert_eq!(wire.ask(r#"{"id":1,"op":"count"}"#).await["id"], 1);
        let refused = wire.ask(&acquire(r#""id":"w","#, 60_000)).await;
        assert_eq!(refused["error"]["code"], "bad_request", "two of one id: {refused}");
        wire.send(r#"{"id":2,"op":"cancel","target":"w"}"#).await;
        let mut codes = [wire.next().await.unwrap(), wire.next().await.unwrap()]
            .map(|reply| format!("{} {}", reply["id"], reply["error"]["code"]));
        codes.sort();
        assert_eq!(codes, ["\"w\" \"cancelled\"", "2 null"]);
        // In its turn: the count behind it comes later.
        wire.send(&acquire("", 300)).await;
        let begun = Instant::now();
        wire.send(r#"{"id":3,"op":"count"}"#).await;
        assert_eq!(wire.next().await.unwrap()["error"]["code"], "locked");
        assert!(begun.elapsed() >= Duration::from_millis(250));
        assert_eq!(wire.next().await.unwrap()["id"], 3);
        // A timeout of the request ends the wait early, and then the outcome is unknown.
        let timed = r#""id":"t","timeout_ms":50,"#;
        let late = wire.ask(&acquire(timed, 60_000)).await;
        assert_eq!((&late["error"]["code"], &late["error"]["maybe"]), (&"timeout".into(), &true.into()));
    });
    assert_eq!(kv.ok("kv lock status deploy | jq -r .owner"), "holder\n");
}

/// Requests that wait hold no memory that others need: here each line takes one of a few places for large lines.
#[test]
fn large_lines_that_wait_hold_up_nobody() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    let socket = socket(&kv);
    runtime().block_on(async {
        let mut wire = Wire::connect(&socket).await;
        for id in 0..20 {
            let pad = " ".repeat(70_000);
            wire.send(&format!(
                r#"{{"id":{id},{pad}"op":"lock.acquire","name":"deploy","owner":"o{id}","duration_ms":1000,"wait_ms":60000}}"#
            ))
            .await;
        }
        assert_eq!(wire.ask(r#"{"id":"c","op":"count"}"#).await["id"], "c");
        kv.ok("head -c 200000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | timeout 20 kv put large");
        wire.send(r#"{"id":"b","op":"bye"}"#).await;
        let mut codes = Vec::new();
        while let Some(reply) = wire.next().await {
            codes.push(reply["error"]["code"].as_str().unwrap_or("ok").to_owned());
        }
        codes.sort();
        assert_eq!(codes, [vec!["cancelled"; 20], vec!["ok"]].concat(), "each is answered before the daemon closes");
    });
    until_waiting(&kv, 0);
}

#[test]
fn a_lock_of_a_connection_is_that_grant_and_no_later_one() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    let release = r#"{"op":"lock.release","name":"deploy","owner":"me"}"#;
    runtime().block_on(async {
        let mut first = Wire::connect(&socket).await;
        assert_eq!(first.ask(ACQUIRE).await["fence"], 1);
        assert_eq!(first.ask(release).await["released"], true);
        let mut second = Wire::connect(&socket).await;
        assert_eq!(second.ask(ACQUIRE).await["fence"], 2);
        drop(first);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(second.ask(r#"{"op":"lock.status","name":"deploy"}"#).await["fence"], 2);
    });
    wait_until("the release", || kv.ok("kv lock status deploy | jq .held") == "false\n");
    assert_eq!(kv.ok("kv daemon status | jq .attached"), "0\n");
}

/// The same owner may use several connections, and reconnect before the end of the first one is noticed.
#[test]
fn a_lock_that_was_refreshed_elsewhere_outlives_the_connection() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    let status = r#"{"op":"lock.status","name":"deploy"}"#;
    runtime().block_on(async {
        let mut first = Wire::connect(&socket).await;
        assert_eq!(first.ask(ACQUIRE).await["fence"], 1);
        let mut second = Wire::connect(&socket).await;
        assert_eq!(second.ask(ACQUIRE).await["fence"], 1);
        drop(first);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(second.ask(status).await["fence"], 1, "the second one has it");
        let refused = second.ask(&ACQUIRE.replace("600000", "0")).await;
        assert_eq!(refused["error"]["code"], "bad_request");
        kv.ok("kv lock acquire deploy me");
        drop(second);
        let mut third = Wire::connect(&socket).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(third.ask(status).await["fence"], 1, "kv lock acquire has it");
        // On one connection it stays the connection's, however it is refreshed.
        assert_eq!(third.ask(ACQUIRE).await["fence"], 1);
        assert_eq!(third.ask(&ACQUIRE.replace(",\"session\":true", "")).await["fence"], 1);
    });
    wait_until("the release", || kv.ok("kv lock status deploy | jq .held") == "false\n");
    assert_eq!(kv.ok("kv daemon status | jq .attached"), "0\n");
}

/// What a refresh did that was not answered is not known, so the lock is released all the same.
#[test]
fn a_connection_that_ends_under_a_refresh_leaves_nothing_held() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    let late = ACQUIRE.replace("\"session\"", "\"timeout_ms\":1,\"session\"");
    let next = r#"{"op":"lock.acquire","name":"deploy","owner":"next","duration_ms":600000,"wait_ms":8000}"#;
    let release = r#"{"op":"lock.release","name":"deploy","owner":"next"}"#;
    // Others keep the store busy, so that a refresh takes its time.
    let load = Load::start(&kv);
    runtime().block_on(async {
        for round in 0..60 {
            let mut wire = Wire::connect(&socket).await;
            assert_eq!(wire.ask(ACQUIRE).await["ok"], true);
            if round % 2 == 0 {
                let reply = wire.ask(&late).await;
                assert!(reply["ok"] == true || reply["error"]["maybe"] == true, "{reply}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else {
                wire.send(ACQUIRE).await;
                tokio::time::sleep(Duration::from_millis(round % 4 / 2)).await;
            }
            drop(wire);
            let mut wire = Wire::connect(&socket).await;
            assert_eq!(wire.ask(next).await["ok"], true, "round {round}: it is still held");
            assert_eq!(wire.ask(release).await["released"], true);
        }
    });
    kv.kill_daemon(kv.daemon_pid());
    load.check(&kv);
}

#[test]
fn what_is_asked_of_one_lock_is_done_in_order() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    let acquire = ACQUIRE.replace(",\"session\":true", "");
    let release = r#"{"op":"lock.release","name":"deploy","owner":"me"}"#;
    runtime().block_on(async {
        for round in 0..10 {
            let mut wire = Wire::connect(&socket).await;
            let fence = wire.ask(ACQUIRE).await["fence"].clone();
            wire.send(&format!("{acquire}\n{release}\n{acquire}")).await;
            assert_eq!(wire.next().await.unwrap()["fence"], fence, "round {round}: a refresh");
            assert_eq!(wire.next().await.unwrap()["released"], true);
            let next = wire.next().await.unwrap()["fence"].clone();
            assert_ne!(next, fence);
            drop(wire);
            // It was not asked for as a lock of that connection.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut other = Wire::connect(&socket).await;
            assert_eq!(other.ask(r#"{"op":"lock.status","name":"deploy"}"#).await["fence"], next);
            assert_eq!(other.ask(release).await["released"], true);
        }
    });
}

#[test]
fn a_release_of_another_grant_leaves_the_lock_with_its_connection() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    runtime().block_on(async {
        let mut wire = Wire::connect(&socket).await;
        assert_eq!(wire.ask(ACQUIRE).await["fence"], 1);
        let other = r#"{"op":"lock.release","name":"deploy","owner":"me","fence":99}"#;
        assert_eq!(wire.ask(other).await["released"], false);
        assert_eq!(kv.ok("kv lock status deploy | jq .held"), "true\n");
    });
    wait_until("the release", || kv.ok("kv lock status deploy | jq .held") == "false\n");
}

/// They are not read before their turn comes, so they take no memory, and a client that goes away is noticed.
#[test]
fn lines_behind_a_wait_hold_up_nobody() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    let socket = socket(&kv);
    runtime().block_on(async {
        let mut wires = Vec::new();
        // The first client is the one that will disconnect.
        for number in 0..20 {
            let mut wire = Wire::connect(&socket).await;
            let pad = " ".repeat(70_000);
            wire.send(&format!(
                "{{\"op\":\"lock.acquire\",\"name\":\"deploy\",\"owner\":\"o{number}\",\"duration_ms\":100,\"wait_ms\":60000}}\n\
                 {{\"id\":\"c\",{pad}\"op\":\"count\"}}"
            ))
            .await;
            wires.push(wire);
        }
        until_waiting(&kv, 20);
        kv.ok("head -c 200000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | timeout 20 kv put large");
        drop(wires.remove(0));
        until_waiting(&kv, 19);
        kv.ok("kv lock release deploy holder");
        // They get it one after the other, as it expires.
        assert_eq!(wires[0].next().await.unwrap()["ok"], true);
        assert_eq!(wires[0].next().await.unwrap()["id"], "c", "what was behind it comes then");
    });
    until_waiting(&kv, 0);
}

#[test]
fn the_locks_of_a_connection_have_a_limit() {
    let kv = Kv::new();
    kv.ok("kv init");
    let acquire = r#"{"op":"lock.acquire","name":"l&","owner":"me","duration_ms":600000,"session":true}"#;
    let codes = kv.ok(&format!(
        "(seq 0 1024; echo 0) | sed 's/.*/{}/' > lines; echo '{{\"op\":\"bye\"}}' >> lines; \
         kv rpc < lines | jq -r '.error.code' | uniq -c | awk '{{print $1, $2}}'",
        acquire
    ));
    assert_eq!(codes, "1024 null\n1 too_large\n2 null\n", "a refresh is always possible");
    wait_until("the release", || kv.ok("kv lock list") == "[]\n");
}

#[test]
fn what_is_cancelled_at_once_is_not_held() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    runtime().block_on(async {
        let mut wire = Wire::connect(&socket).await;
        for round in 0..50 {
            wire.send(&format!(
                "{{\"id\":\"w\",\"op\":\"lock.acquire\",\"name\":\"l{round}\",\"owner\":\"o\",\"duration_ms\":600000,\"wait_ms\":1000}}\n\
                 {{\"id\":\"c\",\"op\":\"cancel\",\"target\":\"w\"}}"
            ))
            .await;
            let replies = [wire.next().await.unwrap(), wire.next().await.unwrap()];
            let waited = replies.iter().find(|reply| reply["id"] == "w").unwrap();
            if waited["ok"] == true {
                continue;
            }
            assert_eq!(waited["error"]["code"], "cancelled");
            let status = format!("{{\"op\":\"lock.status\",\"name\":\"l{round}\"}}");
            let mut held = true;
            for _ in 0..100 {
                held = wire.ask(&status).await["held"] == true;
                if !held {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(!held, "l{round} was cancelled and is held");
        }
    });
}

#[test]
fn a_run_whose_terminal_is_closed_frees_its_lock() {
    let kv = Kv::new();
    kv.ok("kv init");
    for signal in ["HUP", "QUIT", "TERM"] {
        kv.ok(&format!(
            "kv lock run deploy -- sleep 30 & until kv lock status deploy | grep -q true; do sleep 0.01; done; \
             kill -{signal} $!; wait $!; [ \"$(kv lock status deploy | jq .held)\" = false ]"
        ));
    }
}

#[test]
fn a_run_that_was_asleep_when_it_got_the_lock_has_it_when_nobody_else_got_it() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy holder");
    let printed = kv.ok("kv lock run deploy --duration 300ms -- echo ran 2> said & run=$!; \
         until [ $(kv daemon status | jq .attached) = 1 ]; do sleep 0.01; done; \
         kill -STOP $run; kv lock release deploy holder; sleep 0.6; kill -CONT $run; wait $run; echo $?; \
         kv lock status deploy | jq .held");
    assert_eq!(printed, "ran\n0\nfalse\n");
}

#[test]
fn a_run_hears_of_signals_while_it_renews_the_lock() {
    let kv = Kv::new();
    kv.ok("kv init");
    let daemon = kv.daemon_pid();
    // A daemon that does not answer keeps the renewal, which begins after two seconds, under way for two more.
    let printed = kv.ok(&format!(
        "kv lock run deploy --duration 4s -- sleep 60 & run=$!; \
         until pgrep -P $run sleep > child; do sleep 0.01; done; kill -STOP {daemon}; sleep 2.3; \
         kill -TERM $run; for i in $(seq 50); do pgrep -P $run sleep > child || break; sleep 0.02; done; pgrep -P $run sleep || echo ended; kill -CONT {daemon}; wait $run; echo $?"
    ));
    assert_eq!(printed, "ended\n143\n");
    assert_eq!(kv.ok("kv lock status deploy | jq .held"), "false\n");
}

#[test]
fn two_runs_under_one_lock_run_one_after_the_other() {
    let kv = Kv::new();
    kv.ok("kv init");
    let printed = kv.ok("for i in 1 2 3; do \
             kv lock run deploy -- sh -c 'echo begin $KV_LOCK_NAME; sleep 0.1; echo end $KV_LOCK_NAME' & \
         done; wait; kv lock status deploy | jq .held");
    assert_eq!(printed, format!("{}false\n", "begin deploy\nend deploy\n".repeat(3)));
}

#[test]
fn a_run_returns_the_exit_code_of_its_command_and_frees_the_lock() {
    let kv = Kv::new();
    kv.ok("kv init");
    for (text, expected) in [
        ("kv lock run deploy -- true", 0),
        ("kv lock run deploy -- sh -c 'exit 7'", 7),
        ("kv lock run deploy -- sh -c 'kill -9 $$'", 137),
        ("kv lock run deploy -- /no/such/program", 127),
        ("kv lock run deploy -- /tmp", 126),
        ("kv lock run deploy", 2),
        ("kv lock run deploy --duration 0s -- true", 2),
        ("kv lock run deploy -- sleep 60 & sleep 0.3; kill -TERM $!; wait $!", 143),
    ] {
        assert_eq!(kv.shell(text).status.code(), Some(expected), "{text}");
        assert_eq!(kv.ok("kv lock status deploy | jq .held"), "false\n", "{text}");
    }
    kv.ok("kv lock acquire deploy other");
    let (code, stderr) = kv.fails("kv lock run deploy --wait 50ms -- echo never");
    assert!(code == 5 && stderr.contains("other holds deploy"), "{code} {stderr}");
}

#[test]
fn a_command_whose_lock_is_lost_is_ended_and_its_fenced_writes_are_refused() {
    let kv = Kv::new();
    kv.ok("kv init");
    // The run is stopped for longer than it holds the lock, and another owner acquires it in the meantime.
    let printed = kv.ok(
        "kv lock run deploy --duration 500ms -- \
             sh -c 'trap \"kv put told --text TERM; exit\" TERM; echo $KV_LOCK_FENCE > fence; while :; do sleep 0.05; done' \
             2> said & run=$!; \
         until [ -s fence ]; do sleep 0.01; done; kv put a --value 1 --fence deploy:$(cat fence); \
         kill -STOP $run; kv lock acquire deploy thief --duration 1h --wait 30s | jq -r .owner; kill -CONT $run; \
         kv put a --value 2 --fence deploy:$(cat fence) 2>&1 | grep -o '(fenced)'; \
         wait $run; echo $?; kv get told --text; grep -o 'deploy was lost' said",
    );
    assert_eq!(printed, "thief\n(fenced)\n5\nTERM\ndeploy was lost\n");
}

/// Exactly one of the two is answered ok, whatever answer the other was about to get.
#[test]
fn a_request_is_either_cancelled_or_answered() {
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    runtime().block_on(async {
        let (mut wire, mut holder) = (Wire::connect(&socket).await, Wire::connect(&socket).await);
        let mut counts = [0, 0];
        for round in 0..300 {
            let lock = format!(r#""name":"l{round}","duration_ms":600000"#);
            holder.ask(&format!(r#"{{"op":"lock.acquire","owner":"h",{lock}}}"#)).await;
            wire.send(&format!(r#"{{"id":"w","op":"lock.acquire","owner":"o",{lock},"wait_ms":10000}}"#))
                .await;
            // Each round the cancel comes a little later behind the release that lets the other have the lock.
            holder.send(&format!(r#"{{"op":"lock.release","owner":"h","name":"l{round}"}}"#)).await;
            tokio::time::sleep(Duration::from_micros(20 * (round % 100))).await;
            wire.send(r#"{"id":"c","op":"cancel","target":"w"}"#).await;
            holder.next().await.unwrap();
            let replies = [wire.next().await.unwrap(), wire.next().await.unwrap()];
            let reply = |id: &str| replies.iter().find(|reply| reply["id"] == id).unwrap();
            let (waited, cancel) = (reply("w"), reply("c"));
            if cancel["ok"] == true {
                assert_eq!(waited["error"]["code"], "cancelled", "round {round}: {waited}");
            } else {
                assert_eq!((&cancel["error"]["code"], &waited["ok"]), (&"not_found".into(), &true.into()));
            }
            counts[usize::from(waited["ok"] == true)] += 1;
        }
        // Nothing that was cancelled is held.
        let granted = counts[1];
        wait_until("the release of what was cancelled", || {
            kv.ok("kv lock list | jq length").trim() == granted.to_string()
        });
    });
}
