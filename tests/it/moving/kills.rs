//! Imports and copies that are killed, and go on: `MOVING_ROUNDS=50 cargo test --locked --release --test it moving::kills`
//! runs for long.

use std::time::Duration;

use super::records;
use crate::support::{Kv, Random, number_from_environment};

/// Starts a command, kills it after a random while, and answers whether it was killed.
fn is_killed(kv: &Kv, command: &str, random: &mut Random) -> bool {
    let mut process = kv.command("bash").args(["-c", &format!("exec {command} 2>>told")]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(random.below(400) as u64));
    let _ = process.kill();
    process.wait().unwrap().code().is_none()
}

#[test]
fn an_import_that_is_killed_goes_on() {
    let kv = Kv::new();
    records(&kv, "many.ndjson", "k", 20_000, 50);
    // Each line has its time, so the same line is the same record.
    kv.ok("sed -i 's/\"value\"/\"created\":\"2020-01-01T00:00:00Z\",\"value\"/' many.ndjson; kv --connection whole.db init; kv --connection whole.db import many.ndjson");
    let (mut random, mut killed) = (Random(1), 0);
    for round in 0..number_from_environment("MOVING_ROUNDS", 4) {
        kv.ok(&format!("kv --connection {round}.db init"));
        let import = format!("kv --connection {round}.db import many.ndjson");
        for _ in 0..3 {
            killed += u32::from(is_killed(&kv, &import, &mut random));
        }
        kv.ok(&format!("{import} && kv diff whole.db {round}.db && kv --connection {round}.db check"));
    }
    assert!(killed > 0);
}

/// Others write to the store that is copied, and what they write between a copy that was killed and the next one is no
/// conflict.
#[test]
fn a_copy_that_is_killed_goes_on_while_others_write() {
    let kv = Kv::new();
    records(&kv, "many.ndjson", "k", 10_000, 50);
    kv.ok("kv init; kv import many.ndjson");
    let write = "until [ -e end ]; do n=$((RANDOM % 10000)); kv put k0000$(printf %04d $n) --value $n; \
        kv delete k0000$(printf %04d $((RANDOM % 10000))); kv put new$RANDOM --value 1; done";
    let mut random = Random(2);
    let mut killed = 0;
    for round in 0..number_from_environment("MOVING_ROUNDS", 2) {
        kv.ok("rm -f end");
        let mut writer = kv
            .command("bash")
            .args(["-c", write])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let copy = format!("kv copy --from data.db --to {round}.db");
        for _ in 0..3 {
            killed += u32::from(is_killed(&kv, &copy, &mut random));
        }
        kv.ok(&copy);
        kv.ok("touch end");
        writer.wait().unwrap();
        kv.ok(&format!("{copy} && kv diff data.db {round}.db && kv --connection {round}.db check"));
    }
    assert!(killed > 0);
}

/// What the target has of its own is not lost.
#[test]
fn a_record_of_the_target_is_a_conflict_and_an_older_copy_is_none() {
    let kv = Kv::new();
    kv.ok("kv init; for key in a b c; do kv put $key --value 1; done; kv copy --from data.db --to new.db");
    let told = kv.ok("kv put a --value 2; kv delete b >deleted; kv copy --from data.db --to new.db 2>&1");
    assert!(
        told.starts_with("copied: 0 created, 1 updated, 1 unchanged, 0 skipped, 0 expired, 1 removed\n"),
        "{told}"
    );
    kv.ok("kv diff data.db new.db");
    // A record that was removed and made again has the same version in both.
    for mode in ["fail", "overwrite"] {
        kv.ok("kv delete a >deleted; kv put a --value 3");
        kv.ok(&format!("kv copy --from data.db --to new.db --on-conflict {mode} && kv diff data.db new.db"));
    }
    kv.ok("kv --connection new.db put c --text own; kv --connection new.db put extra --text own");
    let (code, told) = kv.fails("kv copy --from data.db --to new.db");
    assert_eq!((code, told.contains("c is there already")), (4, true), "{told}");
    assert!(told.starts_with("ended: ") && !told.contains("the same command"), "{told}");
    let (code, told) = kv.fails("kv copy --from data.db --to new.db --on-conflict skip");
    assert_eq!((code, told.contains("~ c: ") && told.contains("+ extra")), (1, true), "{told}");
    assert_eq!(kv.ok("kv --connection new.db get c --text"), "own\n");
    let (code, told) = kv.fails("kv copy --from data.db --to new.db --on-conflict overwrite");
    assert_eq!((code, told.contains("+ extra")), (1, true), "{told}");
    assert_eq!(
        kv.ok("kv --connection new.db get c --raw; kv --connection new.db get extra --text"),
        "1\nown\n"
    );
}

/// More than one request can name, and more than a copy looks for in the stream at once.
#[test]
fn a_copy_brings_any_number_of_changes() {
    let kv = Kv::new();
    let write = |value: u32| {
        kv.ok(&format!(
            "seq 25000 | jq -c '{{key: \"k/\\(.)\", value: {value}}}' | kv import --on-conflict overwrite 2>/dev/null"
        ));
    };
    kv.ok("kv init");
    write(1);
    kv.ok("kv copy --from data.db --to new.db");
    write(2);
    let told = kv.ok("kv copy --from data.db --to new.db 2>&1");
    assert!(told.starts_with("copied: 0 created, 25000 updated, 0 unchanged, "), "{told}");
    kv.ok("kv diff data.db new.db");
}
