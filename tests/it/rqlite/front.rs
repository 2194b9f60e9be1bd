//! A store in this process whose node is behind a server that answers what a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use kv::store::{Clock, LocalStore, Put, Result, Store, Written};

use super::address;
use crate::support::rqlite::Database;
use crate::support::scripted_http::{Answer, Request, ScriptedHttp, Step};
use crate::support::{json, runtime, skipped};

/// What is done with the next requests, in this order; those behind them are forwarded.
#[derive(Default)]
struct Faults {
    reads: VecDeque<Step>,
    writes: VecDeque<Step>,
}

pub(super) struct Front {
    pub(super) store: LocalStore,
    pub(super) http: ScriptedHttp,
    faults: Arc<Mutex<Faults>>,
    pub(super) node: Database,
}

impl Front {
    fn start() -> Option<Front> {
        let node = Database::lease()?;
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let http = ScriptedHttp::in_front_of(node.node().address(), {
            let faults = Arc::clone(&faults);
            move |request| {
                let mut faults = faults.lock().unwrap();
                let list = if is_write(request) { &mut faults.writes } else { &mut faults.reads };
                list.pop_front().unwrap_or(Step::Forward)
            }
        });
        let store = LocalStore::open(&address(&format!("http://{}", http.address())), Clock::System);
        Some(Front { store, http, faults, node })
    }

    pub(super) fn fail_reads(&self, steps: impl IntoIterator<Item = Step>) {
        self.faults.lock().unwrap().reads = steps.into_iter().collect();
    }

    pub(super) fn fail_writes(&self, steps: impl IntoIterator<Item = Step>) {
        self.faults.lock().unwrap().writes = steps.into_iter().collect();
    }

    /// How many reads and writes there were.
    pub(super) fn asked(&self) -> [usize; 2] {
        let requests = self.http.requests();
        let writes = requests.iter().filter(|request| is_write(request)).count();
        [requests.len() - writes, writes]
    }

    /// Puts a key while this is done with its writes; answers what it was told, and how many reads and writes it took.
    pub(super) async fn put(&self, key: &str, steps: Vec<Step>) -> (Result<Written>, [usize; 2]) {
        let before = self.asked();
        self.fail_writes(steps);
        let told = self.store.put(Put::new(key, json("1"))).await;
        let after = self.asked();
        (told, [after[0] - before[0], after[1] - before[1]])
    }
}

/// Runs a test with a place that has no store yet.
pub(super) fn with_front(name: &str, test: impl AsyncFnOnce(&Front)) {
    with_fronts(name, 1, async |fronts| test(&fronts[0]).await);
}

/// Runs a test with so many places.
pub(super) fn with_fronts(name: &str, count: usize, test: impl AsyncFnOnce(&[Front])) {
    runtime().block_on(async {
        let fronts: Vec<Front> = (0..count).map_while(|_| Front::start()).collect();
        if fronts.len() < count {
            return skipped(name);
        }
        test(&fronts).await;
        // The nodes are given back when nobody asks them any more.
        for Front { store, .. } in fronts {
            store.close().await;
        }
    });
}

fn is_write(request: &Request) -> bool {
    request.target.starts_with("/db/execute")
}

/// An answer of rqlite itself.
pub(super) fn rqlite(body: &str) -> Answer {
    Answer::new(200, "application/json; charset=utf-8", body)
}

/// The same by a node of another version.
pub(super) fn of_version(mut answer: Answer, version: &str) -> Answer {
    answer.headers.0.push(("X-RQLITE-VERSION".to_owned(), version.to_owned()));
    answer
}

/// One that tells in words why there is none.
pub(super) fn words(status: u16, body: &str) -> Answer {
    Answer::new(status, "text/plain; charset=utf-8", body)
}

pub(super) fn html(status: u16) -> Answer {
    Answer::new(status, "text/html", "<!DOCTYPE html><html><body>Welcome</body></html>")
}

/// What stands where results stand when one statement has failed.
pub(super) fn failed(error: &str) -> Answer {
    rqlite(&serde_json::json!({"results": [{"last_insert_id": 1}, {"error": error}]}).to_string())
}

pub(super) fn no_leader() -> Answer {
    words(503, "leader not found\n")
}

/// As a leader answers that was deposed in the midst of a write: it may be committed by the next one, or not.
pub(super) fn lost_leadership() -> Answer {
    rqlite(r#"{"results":[],"error":"leadership lost while committing log"}"#)
}
