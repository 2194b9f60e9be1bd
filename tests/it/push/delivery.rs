//! What a consumer of the command line does with a change that fails, and how much of the stream is kept for it.

use std::process::Stdio;

use super::seqs;
use crate::support::{Kv, wait_until};

fn prepared() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; for i in 1 2 3; do kv put jobs/$i --value $i; done");
    kv
}

#[test]
fn a_change_that_fails_comes_again_and_is_then_kept_aside() {
    let kv = prepared();
    // The second job fails always, the third one twice.
    let program = r#"
        echo $KV_CHANGE_SEQ >> tried
        case $KV_CHANGE_KEY in
            jobs/2) exit 7;;
            jobs/3) [ $(grep -c 3 tried) -ge 3 ] || exit 8;;
        esac
        echo $KV_CHANGE_SEQ >> done
    "#;
    std::fs::write(kv.directory.path().join("work"), program).unwrap();
    let output =
        kv.shell("kv consumer stream c --prefix jobs/ --retries 2 --dead-letter dead --limit 3 -- sh work");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(kv.ok("cat tried | tr '\\n' ' '"), "1 2 2 2 3 3 3 ");
    assert_eq!(kv.ok("cat done | tr '\\n' ' '"), "1 3 ");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "the command failed 3 times for change 2, of jobs/2: it is kept as dead/c/2\n\
         1 change was given up, and kept under dead/c/\n"
    );
    assert_eq!(
        kv.ok("kv get dead/c/2 --raw | jq -c '[.consumer, .attempts, .exit_code, .change.seq, .change.record.value]'"),
        "[\"c\",3,7,2,2]\n"
    );
    assert_eq!(kv.ok("kv consumer status c | jq .position"), "3\n");
}

#[test]
fn without_a_place_for_it_a_change_that_fails_ends_the_consumer() {
    let kv = prepared();
    let output = kv.shell("kv consumer stream c --retries 1 -- sh -c 'echo $KV_CHANGE_SEQ >> tried; [ $KV_CHANGE_SEQ != 2 ] || exit 7'");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "the command failed 2 times for change 2, of jobs/2: c begins with it again\n"
    );
    assert_eq!(kv.ok("cat tried | tr '\\n' ' '"), "1 2 2 ");
    assert_eq!(kv.ok("kv consumer status c | jq .position"), "1\n");
    let missing = kv.shell("kv consumer stream d --retries 3 --dead-letter dead -- nosuchprogram");
    assert_eq!(missing.status.code(), Some(127));
    assert_eq!(kv.ok("kv get prefix dead/ --count; kv consumer status d | jq .position"), "0\n0\n");
    for options in ["--retries 1", "--dead-letter dead", "--dead-letter '' -- true", "--retries -1 -- true"] {
        assert_eq!(kv.fails(&format!("kv consumer stream c {options}")).0, 2, "{options}");
    }
}

/// The failure of a dead letter would make another one, and so on.
#[test]
fn a_consumer_of_everything_does_not_get_its_own_dead_letters() {
    let kv = prepared();
    kv.ok("kv consumer stream c --dead-letter dead --limit 3 -- sh -c 'echo $KV_CHANGE_KEY >> tried; exit 1' 2>/dev/null");
    kv.ok("kv put last --value 1; kv consumer stream c --dead-letter dead --limit 1 -- sh -c 'echo $KV_CHANGE_KEY >> tried' 2>/dev/null");
    assert_eq!(kv.ok("cat tried | tr '\\n' ' '"), "jobs/1 jobs/2 jobs/3 last ");
    assert_eq!(kv.ok("kv get prefix dead/ --count"), "3\n");
    // The largest value leaves no room for what is told about it.
    kv.ok("kv consumer commit big $(kv stream seq)");
    kv.ok("head -c 8388606 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' > large; kv put large --file large");
    kv.ok("kv consumer stream big --dead-letter dead --limit 1 -- false");
    assert_eq!(
        kv.ok("kv get prefix dead/big/ | jq -c '.[0].value.change.record | [.key, .value]'"),
        "[\"large\",null]\n"
    );
}

#[test]
fn a_consumer_tells_what_it_wants_and_since_when_it_waits() {
    let kv = prepared();
    kv.ok("kv consumer stream c --prefix jobs/ --of-type T --limit 1 --from 0 & kv put jobs/t --value 1 --of-type T; wait");
    let status = kv.ok("kv consumer status c");
    assert!(
        status.contains("\"prefix\":\"jobs/\",\"type\":\"T\"") && !status.contains("waiting_since"),
        "{status}"
    );
    kv.ok("kv put other --value 1");
    assert_eq!(kv.ok("kv consumer status c | jq -c '[.lag, (.waiting_since | length)]'"), "[1,24]\n");
    let (code, error) = kv.fails("kv consumer stream c --prefix other");
    assert_eq!(code, 2);
    assert_eq!(
        error,
        "kv: the consumer c follows changes of keys that start with \"jobs/\" and of the type \"T\", not changes of keys that \
         start with \"other\" (bad_request)\nhint: follow as another consumer, or remove this one first: its filter is kept \
         with its position\n"
    );
    // The words of get are a command that works.
    let told = kv.ok("kv consumer get new 2 --prefix jobs/ 2>&1 >/dev/null");
    let commit = told.strip_prefix("when they are dealt with: ").unwrap();
    assert_eq!(kv.ok(commit), "2\n", "{commit}");
    assert_eq!(seqs(&kv.ok("kv consumer get new --output ndjson 2>/dev/null")), [3, 4]);
}

#[test]
fn the_stream_is_kept_as_it_is_told() {
    let kv = prepared();
    assert_eq!(kv.ok("kv stream retain"), "{}\n");
    let rule = "{\"count\":1,\"keep_for_consumers\":true}\n";
    // What was set before is no longer a part of the rule.
    kv.ok("kv consumer commit slow 1; kv stream retain --age 30d");
    assert_eq!(kv.ok("kv stream retain --count 1 --keep-for-consumers"), rule);
    assert_eq!(kv.ok("kv stream retain"), rule);
    let first = || kv.ok("echo '{\"op\":\"stream.seq\"}' | kv rpc | jq .first");
    wait_until("what the consumer has not seen is kept", || first() == "2\n");
    kv.ok("kv consumer commit slow 3");
    kv.ok("kv stream retain --count 1 --keep-for-consumers");
    wait_until("what it has seen is not", || first() == "3\n");
    kv.ok("kv stream retain --age 1ms");
    wait_until("all of it is too old", || first() == "4\n");
    kv.ok("kv stream retain --forever; kv put a --value 1");
    assert_eq!(kv.ok("kv stream retain"), "{}\n");
    assert_eq!(kv.ok("kv stream get --count"), "1\n");
    for options in ["--age 0s", "--age 0", "--count -1", "--count 0", "--count x", "--forever --count 1"] {
        assert_eq!(kv.fails(&format!("kv stream retain {options}")).0, 2, "{options}");
    }
}

#[test]
fn a_trim_stops_before_the_slowest_consumer() {
    let kv = prepared();
    assert_eq!(
        kv.ok("kv stream trim --before-slowest-consumer 2>&1"),
        "nothing was removed: there is no consumer\n0\n"
    );
    kv.ok("kv consumer commit fast 3; kv consumer commit slow 1");
    assert_eq!(kv.ok("kv stream trim --before-slowest-consumer"), "1\n");
    assert_eq!(kv.ok("kv stream trim --before-slowest-consumer"), "0\n");
    assert_eq!(seqs(&kv.ok("kv consumer get slow --output ndjson 2>/dev/null")), [2, 3]);
    for options in ["", "1 --all", "--all --before-slowest-consumer"] {
        assert_eq!(kv.fails(&format!("kv stream trim {options}")).0, 2, "{options}");
    }
}

/// A daemon that is killed between the retries of a program loses nothing that was done.
#[test]
fn a_consumer_that_retries_outlives_its_daemon() {
    let kv = prepared();
    let command = "exec kv consumer stream c --retries 30 --limit 3 -- sh -c 'echo $KV_CHANGE_SEQ >> tried; test $KV_CHANGE_SEQ != 2 || test -e go'";
    let mut consumer = kv.command("bash").args(["-c", command]).stderr(Stdio::null()).spawn().unwrap();
    let tried =
        |seq: &str| kv.ok(&format!("grep -c '^{seq}$' tried || true")).trim().parse::<u32>().unwrap_or(0);
    wait_until("the second change fails", || tried("2") >= 2);
    kv.kill_daemon(kv.daemon_pid());
    wait_until("it is tried again", || tried("2") >= 4);
    kv.ok("touch go");
    assert!(consumer.wait().unwrap().success());
    assert_eq!((tried("1"), tried("3")), (1, 1));
    assert_eq!(kv.ok("kv consumer status c | jq .position"), "3\n");
}
