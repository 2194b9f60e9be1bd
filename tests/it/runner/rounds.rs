//! kill -9 of `kv lock run`, at any moment.
//!
//! `RUN_ROUNDS=200 cargo test --locked --release --test it runner::rounds` runs for long.

use std::process::Stdio;
use std::time::Duration;

use crate::support::{Kv, Random, number_from_environment, wait_until};

/// The programs that run under the lock.
fn programs(kv: &Kv) -> usize {
    let here = format!("HOME={}", kv.directory.path().display());
    let processes = std::fs::read_dir("/proc").unwrap();
    let environments =
        processes.filter_map(|entry| std::fs::read(entry.unwrap().path().join("environ")).ok());
    let is_program = |environment: &Vec<u8>| {
        let text = String::from_utf8_lossy(environment);
        let has = |wanted: &str| text.split('\0').any(|variable| variable.starts_with(wanted));
        has(&here) && has("KV_LOCK_FENCE=")
    };
    environments.filter(is_program).count()
}

/// The program ends, the lock expires, and no grant has the fence of an earlier one.
#[test]
fn a_run_that_is_killed_at_any_moment_leaves_nothing_behind() {
    let kv = Kv::new();
    kv.ok("kv init; kv put rounds --value 0");
    let mut random = Random(7);
    let mut last_fence = 0;
    for round in 0..number_from_environment("RUN_ROUNDS", 6) {
        let mut run = kv
            .command("kv")
            .args(["lock", "run", "deploy", "--duration", "200ms", "--"])
            .args(["sh", "-c", "echo $KV_LOCK_FENCE >> fences; exec sleep 60"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if round % 2 == 0 {
            wait_until("the program", || programs(&kv) > 0);
        }
        std::thread::sleep(Duration::from_millis(random.below(30) as u64));
        run.kill().unwrap();
        run.wait().unwrap();
        wait_until("the end of the program", || programs(&kv) == 0);
        let granted =
            kv.ok("kv lock acquire deploy next --wait 10s | jq .fence; kv lock release deploy next");
        let fence: u64 = granted.trim().parse().unwrap();
        assert!(fence > last_fence, "round {round}: {fence} after {last_fence}");
        last_fence = fence;
    }
    let fences: Vec<u64> =
        kv.ok("touch fences; cat fences").lines().map(|line| line.parse().unwrap()).collect();
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    assert!(fences.iter().all(|fence| *fence < last_fence), "{fences:?}");
    assert_eq!(kv.ok("kv get rounds; kv lock list"), "0\n[]\n");
}
