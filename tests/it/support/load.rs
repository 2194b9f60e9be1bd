//! Clients that put as fast as they can until their daemon ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

use kv::Client;
use kv::store::{Put, Store as _};

use super::{Kv, json, runtime};

const CLIENTS: usize = 8;

/// Clients at work.
pub(crate) struct Load {
    clients: Vec<JoinHandle<Outcome>>,
    acknowledged: Arc<AtomicUsize>,
}

/// What became of puts: their keys. What is in neither list is unknown.
#[derive(Default)]
struct Outcome {
    acknowledged: Vec<String>,
    refused: Vec<String>,
}

impl Load {
    /// Starts the clients, and answers once all are connected.
    pub(crate) fn start(kv: &Kv) -> Load {
        let socket = kv.ok("kv socket").trim().to_owned();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let connected = Arc::new(Barrier::new(CLIENTS + 1));
        let clients = (0..CLIENTS)
            .map(|client| {
                let (socket, acknowledged) = (socket.clone(), Arc::clone(&acknowledged));
                let connected = Arc::clone(&connected);
                std::thread::spawn(move || {
                    runtime().block_on(async {
                        let daemon = Client::connect(socket.as_ref()).await.unwrap();
                        connected.wait();
                        let mut outcome = Outcome::default();
                        for number in 0.. {
                            let key = format!("{client}/{number}");
                            match daemon.put(Put::new(&key, json("1"))).await {
                                Ok(_) => outcome.acknowledged.push(key),
                                Err(error) if error.maybe => break,
                                Err(_) => {
                                    outcome.refused.push(key);
                                    break;
                                }
                            }
                            acknowledged.fetch_add(1, Ordering::SeqCst);
                        }
                        outcome
                    })
                })
            })
            .collect();
        connected.wait();
        Load { clients, acknowledged }
    }

    /// How many puts were acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits for the clients, whose daemon has ended, and asserts that what they were told is so, and that the stream
    /// is dense.
    pub(crate) fn check(self, kv: &Kv) {
        let outcomes: Vec<Outcome> = self.clients.into_iter().map(|client| client.join().unwrap()).collect();
        let keys: Vec<String> = serde_json::from_str(&kv.ok("kv list 0 -1 --keys-only")).unwrap();
        for key in outcomes.iter().flat_map(|outcome| &outcome.acknowledged) {
            assert!(keys.contains(key), "{key} was acknowledged and is lost");
        }
        for key in outcomes.iter().flat_map(|outcome| &outcome.refused) {
            assert!(!keys.contains(key), "{key} was refused and is there");
        }
        let seqs = kv.ok("kv stream get 0 -1 --output ndjson | jq .seq");
        let seqs: Vec<usize> = seqs.lines().map(|seq| seq.parse().unwrap()).collect();
        assert_eq!(seqs, (1..=keys.len()).collect::<Vec<usize>>());
        kv.ok("kv check");
    }
}
