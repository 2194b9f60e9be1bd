//! No space: the file-size limit of a process is a full disk that needs no disk.

use std::collections::HashSet;

use kv::Client;
use kv::store::{Code, Error, JsonText, List, Mutation, Put, Store};

use crate::support::{Kv, Random, json, runtime, wait_until};

/// What writes were answered with; each is a set of keys that are there together or not at all.
#[derive(Default)]
struct Told {
    applied: Vec<Vec<String>>,
    rejected: Vec<Vec<String>>,
}

impl Told {
    /// Runs one write and answers whether it was applied: without space it is refused, and that is certain.
    async fn write(&mut self, store: &impl Store, keys: Vec<String>, value_bytes: usize) -> bool {
        let value = text(value_bytes);
        let puts: Vec<_> = keys.iter().map(|key| Mutation::Put(Put::new(key, value.clone()))).collect();
        let error: Error = match store.mutate_all(puts).await {
            Ok(_) => {
                self.applied.push(keys);
                return true;
            }
            Err(error) => error,
        };
        assert_eq!(error.code, Code::StoreFull, "{error:?}");
        assert!(error.hint.is_some() && !error.maybe, "{error:?}");
        self.rejected.push(keys);
        false
    }

    /// Checks the records of the store against the answers, and answers how many there are.
    async fn check(&self, store: &impl Store) -> u64 {
        let page = store.keys(List::default()).await.unwrap();
        assert_eq!(page.next, None);
        let stored: HashSet<&str> = page.items.iter().map(String::as_str).collect();
        let there = |keys: &[String]| keys.iter().filter(|key| stored.contains(key.as_str())).count();
        for keys in &self.applied {
            assert_eq!(there(keys), keys.len(), "{keys:?} was acknowledged");
        }
        for keys in &self.rejected {
            assert_eq!(there(keys), 0, "{keys:?} was rejected");
        }
        stored.len() as u64
    }
}

fn text(bytes: usize) -> JsonText {
    json(&format!("\"{}\"", "x".repeat(bytes)))
}

/// The limits lie before, in and after the first checkpoint, which comes at a log of 4 MiB: so the write that fails
/// belongs to the log, to a commit or to the checkpoint.
#[test]
fn without_space_writes_are_whole_or_refused_reads_go_on_and_with_space_all_goes_on() {
    let mut random = Random(8);
    for limit_kib in [60, 300, 4_150, 4_600] {
        let limit = limit_kib * 1_024 + random.below(32 * 1_024);
        let kv = Kv::new();
        kv.ok("kv init");
        let pid = kv.daemon_pid();
        kv.ok(&format!("prlimit --pid {pid} --fsize={limit}:"));
        runtime().block_on(async {
            let store = Client::connect(kv.ok("kv socket").trim().as_ref()).await.unwrap();
            let mut told = Told::default();
            let mut bytes = 10 + limit / 100;
            for number in 0..200 {
                if !told.write(&store, vec![format!("rising/{number}")], bytes).await {
                    break;
                }
                bytes += random.below(limit / 50);
            }
            assert!(!told.rejected.is_empty(), "the limit was reached");
            for number in 0..12 {
                let keys = (0..=random.below(6)).map(|part| format!("mutate/{number}/{part}")).collect();
                let bytes = [10, 1_000, 20_000][random.below(3)];
                told.write(&store, keys, bytes).await;
                told.check(&store).await;
            }
            assert!(!told.write(&store, vec!["spilled".to_owned()], 4_000_000).await);
            assert!(told.rejected.iter().any(|keys| keys == &["spilled"]), "refused before its commit");
            // A recovery right after a refusal finds the records that were acknowledged.
            let (pid, store) = if limit_kib % 100 == 0 {
                drop(store);
                kv.kill_daemon(pid);
                kv.ok("kv daemon start");
                let store = Client::connect(kv.ok("kv socket").trim().as_ref()).await.unwrap();
                told.check(&store).await;
                (kv.daemon_pid(), store)
            } else {
                kv.ok(&format!("prlimit --pid {pid} --fsize=unlimited:"));
                (pid, store)
            };
            for number in 0..3 {
                let keys = vec![format!("after/{number}/a"), format!("after/{number}/b")];
                assert!(told.write(&store, keys, 50_000).await);
            }
            told.check(&store).await;
            assert_eq!(kv.daemon_pid(), pid);
            drop(store);
            // What the log holds is what counts, not what the daemon remembers.
            kv.kill_daemon(pid);
            kv.ok("kv daemon start");
            let store = Client::connect(kv.ok("kv socket").trim().as_ref()).await.unwrap();
            let records = told.check(&store).await;
            let changes = store.stream(0, None).await.unwrap();
            let seqs: Vec<u64> = changes.iter().map(|change| change.seq).collect();
            assert_eq!(
                seqs,
                (1..=records).collect::<Vec<_>>(),
                "the stream is dense and each key was put once"
            );
        });
        assert_eq!(kv.ok("sqlite3 data.db 'pragma integrity_check'"), "ok\n");
    }
}

#[test]
fn a_file_size_limit_is_an_error_to_a_command_and_to_the_daemon_that_it_starts() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop");
    kv.ok("printf '\"%03000000d\"' 0 > large");
    // A daemon keeps no soft limit of the process that starts it.
    for (mode, limit) in [("never", "ulimit -S -f 100"), ("auto", "ulimit -f 100")] {
        let limited = format!("{limit}; kv --daemon={mode}");
        let (code, stderr) = kv.fails(&format!("{limited} put large --file large"));
        assert!(code == 6 && stderr.contains("(store_full)"), "{mode}: {code} {stderr}");
        let (code, stderr) = kv.fails(&format!("{limited} mutate <<< '{}'", mutations()));
        assert!(code == 6 && stderr.contains("(store_full)"), "{mode}: {code} {stderr}");
        assert_eq!(kv.ok(&format!("{limited} list --keys-only --output ndjson")), "\"a\"\n");
    }
}

#[test]
fn a_log_of_the_daemon_that_is_full_harms_nobody() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    let full = kv.ok("wc -c < run/kv/*.log").trim().parse::<u64>().unwrap() + 100;
    kv.ok(&format!("prlimit --pid {pid} --fsize={full}:"));
    for _ in 0..3 {
        let (code, stderr) = kv.fails("kv put b --value 1");
        assert!(code == 6 && stderr.contains("(store_full)"), "{code} {stderr}");
    }
    // It changes no record, and so gets as far as its commit.
    let (code, stderr) = kv.fails("kv lock acquire l owner");
    assert!(code == 6 && stderr.contains("(store_full)"), "{code} {stderr}");
    assert_eq!(kv.ok("kv lock list"), "[]\n");
    assert_eq!(kv.ok("wc -c < run/kv/*.log"), format!("{full}\n"), "there was something to log");
    assert_eq!((kv.ok("kv get a").as_str(), kv.daemon_pid()), ("1\n", pid));
}

/// Together too much for the log, and little enough to be written only by the commit.
fn mutations() -> String {
    let put = |key: &str| format!(r#"{{"op":"put","key":"{key}","value":"{}"}}"#, "x".repeat(40_000));
    format!("{}\n{}", put("b"), put("c"))
}

/// What the texts below have in common: a store on a small disk of its own, in a mount namespace.
const ON_A_SMALL_DISK: &str = r#"
    set -eEu
    trap 'echo "failed: $BASH_COMMAND" >&2; cat ../refusal >&2' ERR
    mkdir disk
    mount -t tmpfs -o size=$SIZE,mode=700 tmpfs disk
    printf '"%0*d"' $BYTES 0 > value
    cd disk
    trap 'kv daemon stop 2> ../stop || true' EXIT
    # Refused, and certainly not applied.
    refused() {
        local code=0
        "$@" > ../output 2> ../refusal || code=$?
        [ $code = 6 ] && grep -q '(store_full)' ../refusal && ! grep -q unknown ../refusal
    }
    # Puts until one is refused, and prints how many were not.
    fill() {
        local n=0
        while kv put k/$n --file ../value 2> ../refusal; do n=$((n + 1)); done
        refused kv put k/$n --file ../value
        echo $n
    }
    recover() { [ $KV_DAEMON = never ] || kill -9 $(kv daemon status | jq .pid); }
    kv init
"#;

#[track_caller]
fn on_a_small_disk(size: &str, value_bytes: u32, mode: &str, text: &str) {
    let kv = Kv::new();
    let is_root = kv.ok("id -u") == "0\n";
    let unshare = if is_root { "unshare --mount" } else { "unshare --mount --map-root-user" };
    let text = format!("{ON_A_SMALL_DISK}\n{text}\n[ \"$(sqlite3 data.db 'pragma integrity_check')\" = ok ]");
    std::fs::write(kv.directory.path().join("text"), text).unwrap();
    kv.ok(&format!("SIZE={size} BYTES={value_bytes} KV_DAEMON={mode} {unshare} bash text"));
}

/// A delete keeps the last value in the stream, so it needs room before it frees any.
#[test]
fn a_full_disk_has_room_for_the_writes_that_free_some() {
    let prefix = "[ $(kv delete prefix k/) = $n ]; [ $(kv count all) = 0 ]; kv stream trim --all";
    let trim_first = "kv stream trim --all; [ $(kv delete prefix k/) = $n ]; kv stream trim --all";
    let keys = "kv delete key $(seq -f k/%g 0 $((n - 1))); kv stream trim --all";
    let mutate =
        "for i in $(seq 0 $((n - 1))); do echo '{\"op\":\"delete\",\"key\":\"k/'$i'\"}'; done | kv mutate
        kv stream trim --all";
    for (size, value_bytes, mode, free) in [
        ("3m", 5_000, "auto", prefix),
        ("3m", 20_000, "auto", trim_first),
        ("4m", 60_000, "auto", keys),
        ("3m", 20_000, "auto", mutate),
        ("3m", 20_000, "never", prefix),
    ] {
        let text = format!(
            "n=$(fill); [ $n -gt 10 ]; recover; [ $(kv count all) = $n ]
            refused kv put x --file ../value
            {free}
            kv put after --file ../value; [ $(kv count all) = 1 ]; recover; [ $(kv count all) = 1 ]"
        );
        on_a_small_disk(size, value_bytes, mode, &text);
    }
}

/// Another file has taken all of the reserve, so the frames of a commit are cut off where the disk ends.
#[test]
fn a_write_that_a_full_disk_cut_off_was_certainly_not_applied() {
    on_a_small_disk(
        "3m",
        5_000,
        "auto",
        "for i in $(seq 0 99); do kv put k/$i --file ../value; done
        # The database has pages enough now, and only the log has to grow, in the commit.
        kv stream trim --all; kv daemon stop; kv put k/0 --file ../value
        take() { cat /dev/zero >> taken 2> /dev/null || true; }
        for round in 1 2 3; do
            take
            refused kv delete prefix k/
            refused kv delete key $(seq -f k/%g 0 40)
            refused kv put x --value 1
            refused kv patch k/99 --format merge <<< 1
            [ $(kv count all) = 100 ]; [ $(kv stream seq) = 101 ]
            recover
            [ $(kv count all) = 100 ]; [ $(kv stream seq) = 101 ]; kv get k/50 > /dev/null
        done
        rm taken
        kv put x --value 1; [ $(kv delete prefix k/) = 100 ]; [ $(kv count all) = 1 ]",
    );
}

#[test]
fn a_file_size_limit_leaves_room_for_the_writes_that_free_some_too() {
    let kv = Kv::new();
    kv.ok("kv init");
    kv.ok(&format!("prlimit --pid {} --fsize=1000000:", kv.daemon_pid()));
    kv.ok("printf '\"%020000d\"' 0 > value; n=0
        while kv put k/$n --file value 2> refusal; do n=$((n + 1)); done
        grep -q '(store_full)' refusal && [ $n -gt 10 ]
        kv delete prefix k/ && kv stream trim --all && kv put after --file value && [ $(kv count all) = 1 ]");
}

/// Trimmed changes take space until they are removed, and are not visible.
#[test]
fn what_was_trimmed_is_removed_step_by_step_also_after_a_crash() {
    let kv = Kv::new();
    kv.ok("kv init");
    let rows = || kv.ok("sqlite3 -cmd '.timeout 5000' data.db 'select count(*) from kv_stream'");
    let mutate = "seq -f '{\"op\":\"put\",\"key\":\"k\",\"value\":%g}' 1000 | kv mutate > mutated";
    kv.ok(&format!("for i in $(seq 14); do {mutate}; done"));
    assert_eq!(rows(), "14000\n");
    assert_eq!(kv.ok("kv stream trim 13000").trim(), "13000");
    assert_eq!(kv.ok("kv stream get 0 1 | jq .[0].seq"), "13001\n", "it is trimmed at once");
    kv.kill_daemon(kv.daemon_pid());
    assert_eq!(kv.ok("kv stream get 0 1 | jq .[0].seq; kv stream seq"), "13001\n14000\n");
    assert!(kv.fails("kv stream get 9000").1.contains("trimmed"));
    kv.ok("kv put k --value 1");
    wait_until("what was trimmed is removed", || rows() == "1001\n");
    kv.ok("kv stream trim --all; kv daemon stop");
    wait_until("so is the rest", || rows() == "0\n");
    kv.ok("kv put k --value 2");
    assert_eq!(kv.ok("kv stream get | jq -c '[.[].seq]'; kv stream seq"), "[14002]\n14002\n");
}

#[test]
fn outcomes_that_are_forgotten_are_removed_step_by_step() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1 --once new
        sqlite3 data.db \"insert into kv_once
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
            select 'old/' || i, 'x', '{}', 0 from n\"");
    for left in [1_502, 503, 4] {
        kv.ok(&format!("kv put a --value 1 --once {left}"));
        assert_eq!(kv.ok("sqlite3 data.db 'select count(*) from kv_once'"), format!("{left}\n"));
    }
    kv.ok("kv put a --value 1 --once new");
    assert_eq!(kv.ok("kv get a --output record | jq .version"), "4\n", "the repeat was not applied again");
}
