//! A lock whose time was over while its holder was asleep.

use crate::support::Kv;

/// Runs a program under a lock of half a second, in the background: it waits for the file `go`.
const RUN: &str = "rm -f begun go; kv MODE lock run j --duration 500ms -- \
     sh -c 'echo > begun; until [ -e go ]; do sleep 0.01; done; echo went on with $KV_LOCK_FENCE' > said 2>&1 & run=$!; \
     until [ -e begun ]; do sleep 0.01; done; program=$(pgrep -P $run -x sh); ";

/// No process needs to be awake for that.
const UNTIL_EXPIRED: &str =
    "until [ $(kv --daemon=never lock status j | jq .held) = false ]; do sleep 0.02; done; ";

const END: &str = "until [ $(kv lock status j | jq .held) = true ]; do sleep 0.02; done; \
     kv lock status j | jq .fence; touch go; wait $run; echo $?; cat said; kv lock status j | jq .held";

fn printed(kv: &Kv, mode: &str, asleep: &str) -> String {
    kv.ok(&format!("{}{asleep}{END}", RUN.replace("MODE", mode)))
}

#[test]
fn a_lock_that_nobody_else_got_is_taken_back_and_the_command_goes_on() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut fence = 0;
    for (mode, asleep, awake) in [
        // All of the machine, in whatever order it wakes.
        ("", "$run $program $daemon", "kill -CONT $daemon; kill -CONT $run; kill -CONT $program; "),
        ("", "$run $program $daemon", "kill -CONT $program; kill -CONT $run; kill -CONT $daemon; "),
        ("", "$run $program", "kill -CONT $run $program; "),
        ("--daemon=never", "$run $program", "kill -CONT $run $program; "),
        // Its daemon is another one by then.
        ("", "$run $program", "kv daemon stop; kill -CONT $run $program; "),
        ("", "$run $program $daemon", "kill -9 $daemon; kill -CONT $run $program; "),
        // Only the daemon did not answer.
        ("", "$daemon", "kill -CONT $daemon; "),
    ] {
        fence += 1;
        let asleep =
            format!("daemon=$(kv daemon status | jq .pid); kill -STOP {asleep}; {UNTIL_EXPIRED}{awake}");
        assert_eq!(
            printed(&kv, mode, &asleep),
            format!("{fence}\n0\nwent on with {fence}\nfalse\n"),
            "{mode} {awake}"
        );
    }
}

/// An owner in between may have changed what the lock protects.
#[test]
fn a_lock_that_somebody_else_got_meanwhile_ends_the_command() {
    let kv = Kv::new();
    kv.ok("kv init");
    for between in [
        "kv lock acquire j thief --duration 1h",
        "kv lock acquire j thief --duration 1ms",
        "kv lock acquire j thief; kv lock release j thief",
        "kv lock acquire j \"$(sqlite3 data.db 'select owner from kv_lock')\"",
    ] {
        let printed = kv.ok(&format!(
            "{}kill -STOP $run $program; {UNTIL_EXPIRED}{{ {between}; }} > /dev/null; kill -CONT $run $program; \
             wait $run; echo $?; grep -c 'the lock j was lost' said; kv lock release j thief > /dev/null 2>&1; \
             sqlite3 data.db 'delete from kv_lock'",
            RUN.replace("MODE", "")
        ));
        assert_eq!(printed, "5\n1\n", "{between}");
    }
}

#[test]
fn kv_lock_acquire_refreshes_one_grant_by_its_fence() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy me --duration 1ms");
    wait_until_free(&kv);
    assert_eq!(kv.ok("kv lock acquire deploy me --fence 1 --duration 1ms | jq .fence"), "1\n");
    wait_until_free(&kv);
    assert_eq!(kv.ok("kv lock acquire deploy me --duration 1ms | jq .fence"), "2\n");
    let (code, stderr) = kv.fails("kv lock acquire deploy me --fence 1");
    assert!(code == 5 && stderr.contains("not_owner"), "{code} {stderr}");
    assert_eq!(kv.fails("kv lock acquire deploy me --fence 2 --wait 1s").0, 2);
}

fn wait_until_free(kv: &Kv) {
    crate::support::wait_until("the expiry", || kv.ok("kv lock status deploy | jq .held") == "false\n");
}
