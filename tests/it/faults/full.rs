//! No space: the file-size limit of a process is a full disk that needs no disk.

use std::collections::HashSet;

use kv::Client;
use kv::store::{Code, Error, JsonText, List, Mutation, Put, Store};

use crate::support::{Kv, Random, json, runtime};

/// What writes were answered with; each is a set of keys that are there together or not at all.
#[derive(Default)]
struct Told {
    applied: Vec<Vec<String>>,
    rejected: Vec<Vec<String>>,
    unknown: Vec<Vec<String>>,
}

impl Told {
    /// Runs one write and answers whether it was applied: without space it is refused with that code or unknown.
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
        assert!(error.hint.is_some());
        if error.maybe {
            self.unknown.push(keys)
        } else {
            self.rejected.push(keys)
        }
        false
    }

    /// Checks the records of the store against what was told, and answers how many there are.
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
        for keys in &self.unknown {
            assert!([0, keys.len()].contains(&there(keys)), "{keys:?} is there by half");
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
            assert!(!told.unknown.is_empty() || !told.rejected.is_empty(), "the limit was reached");
            for number in 0..12 {
                let keys = (0..=random.below(6)).map(|part| format!("mutate/{number}/{part}")).collect();
                let bytes = [10, 1_000, 20_000][random.below(3)];
                told.write(&store, keys, bytes).await;
                told.check(&store).await;
            }
            assert!(!told.write(&store, vec!["spilled".to_owned()], 4_000_000).await);
            assert!(told.rejected.iter().any(|keys| keys == &["spilled"]), "refused before its commit");
            kv.ok(&format!("prlimit --pid {pid} --fsize=unlimited:"));
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
    // A daemon keeps no soft limit of whoever starts it.
    for (mode, limit) in [("never", "ulimit -S -f 100"), ("auto", "ulimit -f 100")] {
        let limited = format!("{limit}; kv --daemon={mode}");
        let (code, stderr) = kv.fails(&format!("{limited} put large --file large"));
        assert!(code == 6 && stderr.contains("(store_full)"), "{mode}: {code} {stderr}");
        let (code, stderr) = kv.fails(&format!("{limited} mutate <<< '{}'", mutations()));
        assert!(code == 8 && stderr.contains("(store_full)"), "{mode}: {code} {stderr}");
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
        assert!(code == 8 && stderr.contains("(store_full)"), "{code} {stderr}");
    }
    assert_eq!(kv.ok("wc -c < run/kv/*.log"), format!("{full}\n"), "there was something to log");
    assert_eq!((kv.ok("kv get a").as_str(), kv.daemon_pid()), ("1\n", pid));
}

/// Together too much for the log, and little enough to be written only by the commit.
fn mutations() -> String {
    let put = |key: &str| format!(r#"{{"op":"put","key":"{key}","value":"{}"}}"#, "x".repeat(40_000));
    format!("{}\n{}", put("b"), put("c"))
}
