//! A daemon answers others while it decides what takes long.

use std::cell::Cell;

use kv::Client;
use kv::store::{Clock, Code, Patch, Put, Read, Request, Store};

use crate::support::{Daemon, json, runtime};

#[test]
fn others_are_answered_while_a_large_patch_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path(), Clock::System);
    runtime().block_on(async {
        let (one, other) =
            (Client::connect(&daemon.socket).await.unwrap(), Client::connect(&daemon.socket).await.unwrap());
        one.init().await.unwrap();
        let array = |elements| format!(r#"{{"big":[{}0]}}"#, "0,".repeat(elements));
        let copies = |times| {
            let copies = vec![r#"{"op":"copy","from":"/big","path":"/copy"}"#; times].join(",");
            Patch::json_patch("a", json(&format!("[{copies}]")))
        };
        for (value, patch, is_applied) in [
            (array(300_000), copies(10), true),
            (array(50_000), copies(80), false),
            (array(50_000), copies(1_280), false),
        ] {
            one.put(Put::new("a", json(&value))).await.unwrap();
            let is_done = Cell::new(false);
            let patching = async {
                let patched = one.patch(patch).await;
                is_done.set(true);
                patched
            };
            let asking = async {
                let mut answers = 0;
                while !is_done.get() {
                    other.call(Request::Read(Read::Identity)).await.unwrap();
                    answers += 1;
                }
                answers
            };
            let (patched, answers) = tokio::join!(patching, asking);
            match patched {
                // It takes seconds, in which a daemon that decided it on its main thread would answer no client.
                Ok(_) => assert!(is_applied && answers > 5, "{answers} answers"),
                Err(error) => {
                    assert_eq!((is_applied, error.code, error.maybe), (false, Code::TooLarge, false))
                }
            }
        }
    });
}
