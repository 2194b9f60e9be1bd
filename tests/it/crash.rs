//! kill -9 in the middle of writes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use kv::Client;
use kv::store::{Put, Store as _};

use crate::support::{Kv, json, runtime, wait_until};

/// Eight clients put 1,000 keys; the daemon is killed in the middle. Every acknowledged put is there, whatever else
/// is there was asked for, and the stream is dense.
#[test]
fn every_acknowledged_put_survives_kill_9() {
    for round in 0..5 {
        let kv = Kv::new();
        kv.ok("kv init");
        let socket = kv.ok("kv socket").trim().to_owned();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let connected = Arc::new(Barrier::new(9));
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (socket, acknowledged) = (socket.clone(), Arc::clone(&acknowledged));
                let connected = Arc::clone(&connected);
                std::thread::spawn(move || {
                    runtime().block_on(async {
                        let daemon = Client::connect(socket.as_ref()).await.unwrap();
                        connected.wait();
                        let mut done = Vec::new();
                        for number in 0..125 {
                            let key = format!("{client}/{number}");
                            match daemon.put(Put::new(&key, json(&number.to_string()))).await {
                                Ok(_) => {
                                    done.push(key);
                                    acknowledged.fetch_add(1, Ordering::SeqCst);
                                }
                                Err(error) => {
                                    // A write that was sent and lost its answer is unknown, never a failure.
                                    assert!(error.maybe || error.message.contains("no daemon"), "{error:?}");
                                    break;
                                }
                            }
                        }
                        done
                    })
                })
            })
            .collect();
        let pid = kv.daemon_pid();
        connected.wait();
        wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= 100 * round);
        let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
        let done: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();

        let keys: Vec<String> = serde_json::from_str(&kv.ok("kv list 0 -1 --keys-only")).unwrap();
        for key in &done {
            assert!(keys.contains(key), "{key} was acknowledged and is lost");
        }
        let seqs: Vec<u64> = kv
            .ok("kv stream get 0 -1 --output ndjson")
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(seqs, (1..=keys.len() as u64).collect::<Vec<u64>>());
        assert_ne!(kv.daemon_pid(), pid);
    }
}
