//! `kv compact`

use std::time::Instant;

use kv::Client;
use kv::store::{Code, Put, Store as _};

use crate::support::{Kv, json, runtime, wait_until};

/// A store most of whose pages are free, and whose log is long.
fn store() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put small --value 1");
    kv.ok("for i in $(seq 30); do printf '\"%0200000d\"' $i | kv put large; done; kv stream trim --all");
    kv
}

fn bytes(kv: &Kv) -> u64 {
    kv.ok("cat data.db data.db-wal 2>/dev/null | wc -c").trim().parse().unwrap()
}

#[test]
fn a_compact_gives_back_what_a_trim_freed_and_changes_nothing() {
    for mode in ["auto", "never"] {
        let kv = store();
        if mode == "never" {
            kv.ok("kv daemon stop");
        }
        let before = bytes(&kv);
        assert!(before > 3_000_000, "{before}");
        let told = kv.ok(&format!("kv --daemon={mode} compact 2>&1 > stdout; cat stdout"));
        let after = bytes(&kv);
        assert_eq!(told, format!("the store had {before} bytes and has {after}\n"), "{mode}");
        assert!(after < 400_000, "{after}");
        kv.ok("kv check");
        assert_eq!(
            kv.ok(
                "kv get small; kv get large | wc -c; kv stream seq; kv put small --value 2 --print-version"
            ),
            "1\n200003\n31\n2\n"
        );
        assert_eq!(kv.ok("kv compact 2>/dev/null; kv --connection data.db compact 2>/dev/null"), "");
    }
}

#[test]
fn what_has_no_file_to_compact_is_refused() {
    let kv = Kv::new();
    let refused = |text: &str, code: i32, told: &str| {
        let (found, stderr) = kv.fails(text);
        assert!(found == code && stderr.contains(told), "{text}: {found} {stderr}");
    };
    refused("kv compact", 6, "not_initialized");
    refused("kv --connection :memory: compact", 1, "memory store");
    kv.ok("kv init");
    refused("kv --connection 'file:data.db?mode=ro' compact", 6, "read_only");
    kv.ok("kv --connection 'file:data.db?mode=ro' daemon stop");
}

#[test]
fn without_room_for_a_copy_a_compact_is_refused_and_changes_nothing() {
    let kv = store();
    let pid = kv.daemon_pid();
    kv.ok(&format!("prlimit --pid {pid} --fsize=100000:"));
    let (code, stderr) = kv.fails("kv compact");
    assert!(
        code == 6 && stderr.contains("(store_full)") && stderr.contains("nothing was changed"),
        "{code} {stderr}"
    );
    kv.ok(&format!("prlimit --pid {pid} --fsize=unlimited:"));
    kv.ok("kv check; kv put after --value 1; kv compact; kv check");
    assert_eq!((kv.ok("kv get small").as_str(), kv.daemon_pid()), ("1\n", pid));
}

/// Other writers hold the lock of the database; the compact waits for a while, as any write.
#[test]
fn a_compact_while_another_process_writes_is_busy() {
    let kv = store();
    kv.ok("(echo 'begin immediate;'; echo '.shell touch locked'; sleep 8) | sqlite3 data.db > /dev/null 2>&1 & until test -e locked; do sleep 0.05; done; kv compact; test $? = 6; kv get small > got; wait; cat got");
    kv.ok("kv compact");
}

/// Reads go on, and a write waits, or is certainly not applied; there is no other outcome.
#[test]
fn requests_during_a_compact_are_answered_rightly() {
    let kv = store();
    // A compact cuts a file off; with a log that is short nothing else does.
    kv.ok("kv daemon stop");
    kv.ok("kv daemon start");
    let pid = kv.daemon_pid();
    let slow = format!(
        "exec strace -f -qq -p {pid} -o trace -e trace=ftruncate -e inject=ftruncate:delay_enter=7000000:when=1"
    );
    let mut tracer = kv.command("bash").args(["-c", &slow]).spawn().unwrap();
    wait_until("the tracer", || {
        kv.ok(&format!("grep TracerPid /proc/{pid}/status")).trim() != "TracerPid:\t0"
    });
    let compact = kv.command("kv").arg("compact").spawn().unwrap();
    runtime().block_on(async {
        let store = Client::connect(kv.ok("kv socket").trim().as_ref()).await.unwrap();
        let (mut busy, begun) = (0, Instant::now());
        for number in 0.. {
            assert!(store.get("small").await.unwrap().is_some());
            match store.put(Put::new(format!("during/{number}"), json("1"))).await {
                Ok(_) if busy > 0 => break,
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => {
                    assert!(error.code == Code::Busy && !error.maybe && error.retry, "{error:?}");
                    assert!(store.get(&format!("during/{number}")).await.unwrap().is_none());
                    busy += 1;
                }
            }
            assert!(begun.elapsed().as_secs() < 60);
        }
    });
    assert!(compact.wait_with_output().unwrap().status.success());
    kv.ok(&format!("kill {}", tracer.id()));
    tracer.wait().unwrap();
    kv.ok("kv check");
}
