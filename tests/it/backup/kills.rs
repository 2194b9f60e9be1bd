//! A restore that is killed: `RESTORE_ROUNDS=200 cargo test --locked --release --test it kills` runs for long.

use crate::support::{Kv, number_from_environment, wait_until};

/// What a restore does to files. Between any two of these calls it is killed.
const CALLS: &str = "openat,rename,renameat2,link,unlink,unlinkat,pwrite64,write,fsync,fdatasync,ftruncate,fchmod,fchown,flock,fcntl";

struct Rounds {
    kv: Kv,
    /// What each store had that was the present one, the last one last.
    markers: Vec<String>,
    restored: u32,
}

impl Rounds {
    fn new() -> Rounds {
        let kv = Kv::new();
        kv.ok("kv init; kv put backed-up --value 1; kv backup b.db");
        Rounds { kv, markers: Vec::new(), restored: 0 }
    }

    /// Writes into the present store what no backup has.
    fn mark(&mut self, daemon: &str) {
        let marker = format!("marker-{}", self.markers.len());
        self.kv.ok(&format!("kv --daemon={daemon} put {marker} --value 1"));
        self.markers.push(marker);
    }

    /// Asserts that the store is exactly the one of before, or exactly the backup, and then that the one of before is
    /// kept.
    fn check(&mut self, round: u32) {
        let kv = &self.kv;
        kv.ok("kv --daemon=never check");
        let keys = |connection: &str| {
            kv.ok(&format!("kv --daemon=never --connection '{connection}' list 0 -1 --keys-only --output ndjson | jq -r ."))
        };
        let marker = self.markers.last().unwrap();
        let present = keys("data.db");
        if present.lines().any(|key| key == marker) {
            return;
        }
        assert_eq!(present, "backed-up\n", "round {round}: neither the store of before nor the backup");
        self.restored += 1;
        let beside = kv.ok("ls -tr | grep -e before-restore- -e unfinished-restore- -e kv-restore$ | grep -v -e -shm$ -e -wal$ -e -journal$ -e kv-lock$");
        let is_kept = |name: &str| keys(&format!("file:{name}?mode=ro")).lines().any(|key| key == marker);
        assert!(beside.lines().rev().any(is_kept), "round {round}: {marker} is in none of {beside}");
        // A leftover that was checked is not checked again in each later round.
        kv.ok("mkdir -p done; mv -f data.db.before-restore-* data.db.unfinished-restore-* done 2>/dev/null || true");
    }
}

#[test]
fn a_restore_that_is_killed_at_any_call_leaves_the_one_store_or_the_other() {
    let count = number_from_environment("RESTORE_ROUNDS", 10);
    let mut rounds = Rounds::new();
    rounds.kv.ok("kv daemon stop");
    let restore = "kv --daemon=never restore b.db";
    rounds.kv.ok(&format!("strace -f -qq -o calls -e trace={CALLS} {restore}"));
    let calls: u32 = rounds.kv.ok("wc -l < calls").trim().parse().unwrap();
    for round in 0..count {
        rounds.mark("never");
        // Spread over all of them, the last ones included: there is the swap.
        let call = calls - (calls * round / count);
        rounds.kv.shell(&format!(
            "strace -f -qq -o calls -e trace={CALLS} -e inject={CALLS}:signal=KILL:when={call} {restore}"
        ));
        rounds.check(round);
    }
    rounds.mark("never");
    rounds.kv.ok(restore);
    rounds.check(count);
    assert!(rounds.restored > 0);
}

/// The command finds the next daemon, and the restore is done or done again.
#[test]
fn a_restore_whose_daemon_is_killed_is_done_all_the_same() {
    let count = number_from_environment("RESTORE_ROUNDS", 10);
    let mut rounds = Rounds::new();
    let (mut calls, mut killed) = (150, 0);
    for round in 0..count {
        rounds.mark("auto");
        let pid = rounds.kv.daemon_pid();
        let call = 1 + calls * (count - 1 - round) / count;
        let trace = format!(
            "exec strace -f -qq -o calls -p {pid} -e trace={CALLS} -e inject={CALLS}:signal=KILL:when={call}"
        );
        let mut tracer = rounds.kv.command("bash").args(["-c", &trace]).spawn().unwrap();
        wait_until("the tracer, or what it does", || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        });
        let before = rounds.restored;
        rounds.kv.ok("kv restore b.db");
        rounds.kv.ok(&format!("kill {} 2>/dev/null || true", tracer.id()));
        tracer.wait().unwrap();
        if rounds.kv.daemons().contains(&pid) {
            calls = rounds.kv.ok("wc -l < calls").trim().parse().unwrap();
        } else {
            killed += 1;
        }
        rounds.kv.ok("kv daemon stop");
        rounds.check(round);
        assert_eq!(rounds.restored, before + 1, "the command said that it was restored");
    }
    assert!(killed > 0);
}
