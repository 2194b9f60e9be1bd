//! A disk that fails to sync: strace answers EIO in its place.

use kv::Client;
use kv::store::{Code, Put, Store};

use crate::support::{Kv, json, runtime, wait_until};

/// Which sync fails decides what it belongs to: the header of the log, a commit, or the checkpoint that comes when the
/// log has 4 MiB.
#[test]
fn a_write_whose_sync_failed_is_unknown_and_the_next_daemon_has_every_other_one() {
    let mut failed = 0;
    for failing in [1, 2, 3, 4, 6, 8, 10, 12, 14, 16] {
        let kv = Kv::new();
        kv.ok("kv init; kv daemon stop");
        let mut daemon = kv
            .command("strace")
            .args(["-f", "-qq", "-o", "trace", "-e", "trace=fsync,fdatasync", "-e"])
            .arg(format!("inject=fsync,fdatasync:error=EIO:when={failing}"))
            .args(["kv", "daemon", "run"])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the daemon", || kv.shell("kv --daemon=require stream seq").status.success());
        let value = json(&format!("\"{}\"", "x".repeat(300_000)));
        let mut acknowledged = 0;
        let unknown = runtime().block_on(async {
            let store = Client::connect(kv.ok("kv socket").trim().as_ref()).await.unwrap();
            for number in 0..12 {
                match store.put(Put::new(format!("{number:02}"), value.clone())).await {
                    Ok(_) => acknowledged += 1,
                    Err(error) => {
                        assert!(error.maybe && error.code == Code::Unavailable, "{error:?}");
                        return true;
                    }
                }
            }
            false
        });
        if unknown {
            failed += 1;
            wait_until("the end of the daemon", || daemon.try_wait().unwrap().is_some());
        } else {
            kv.ok("kv daemon stop");
            daemon.wait().unwrap();
        }
        let trace = std::fs::read_to_string(kv.directory.path().join("trace")).unwrap();
        assert!(trace.contains("(INJECTED)"), "sync {failing} never came");
        let keys: Vec<String> = serde_json::from_str(&kv.ok("kv list --keys-only")).unwrap();
        let there = keys.len();
        assert_eq!(keys, (0..there).map(|number| format!("{number:02}")).collect::<Vec<_>>());
        assert!(there == acknowledged || (unknown && there == acknowledged + 1), "{there} of {acknowledged}");
        assert_eq!(kv.ok("kv put more --value 1; kv stream seq"), format!("{}\n", there + 1));
    }
    assert!(
        (4..10).contains(&failed),
        "{failed} failed syncs belonged to a commit, the others to a checkpoint"
    );
}
