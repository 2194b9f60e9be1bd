//! The requests of one connection take effect in the order in which they were sent.

use serde_json::Value;

use super::exchange;
use crate::support::{Kv, Load, Random};

/// Reads of every kind that are answered with the seq of their snapshot.
const READS: &[&str] = &[
    r#"{"op":"get","key":"small"}"#,
    r#"{"op":"get","key":"small"}"#,
    r#"{"op":"get","key":"large"}"#,
    r#"{"op":"get","keys":["small","large","nobody"]}"#,
    r#"{"op":"list","limit":1}"#,
    r#"{"op":"list","limit":1,"keys_only":true}"#,
    r#"{"op":"count","prefix":"s"}"#,
    r#"{"op":"stream.get","seq":1,"limit":1}"#,
    r#"{"op":"stream.seq"}"#,
    r#"{"op":"lock.status","name":"l"}"#,
    r#"{"op":"lock.list"}"#,
    r#"{"op":"consumer.get","name":"c","limit":1}"#,
    r#"{"op":"consumer.list"}"#,
];

#[test]
fn a_later_reply_never_shows_an_earlier_state() {
    let kv = Kv::new();
    kv.ok("kv init; kv put small --value 1; head -c 20000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | kv put large");
    let load = Load::start(&kv);
    let mut random = Random(7);
    let mut heads = std::collections::HashSet::new();
    for round in 0..150 {
        let lines: Vec<&str> = (0..40).map(|_| READS[random.below(READS.len())]).collect();
        let replies = exchange(&kv, format!("{}\n", lines.join("\n")).as_bytes());
        assert_eq!(replies.len(), lines.len());
        let mut last = 0;
        for (line, reply) in lines.iter().zip(&replies) {
            let reply: Value = serde_json::from_str(reply).unwrap();
            let seq = reply["seq"].as_u64().unwrap_or_else(|| panic!("{line}: {reply}"));
            assert!(seq >= last, "round {round}: {line} was answered as of {seq} behind {last}");
            last = seq;
            heads.insert(seq);
        }
    }
    assert!(heads.len() > 300, "nothing was written meanwhile");
    kv.kill_daemon(kv.daemon_pid());
    load.check(&kv);
}
