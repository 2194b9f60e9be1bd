//! `kv watch`, and lines with a subscription, as people use them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use super::seqs;
use crate::support::{Kv, wait_until};

/// A command that goes on printing.
struct Printing {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Printing {
    fn start(kv: &Kv, text: &str) -> Printing {
        let mut command = kv.command("bash");
        let mut child =
            command.args(["-c", text]).stdout(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Printing { child, lines }
    }

    fn next(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until_attached(kv: &Kv, count: usize) {
    wait_until("the subscription", || kv.ok("kv daemon status | jq .attached").trim() == count.to_string());
}

#[test]
fn a_change_is_printed_the_moment_another_process_puts_it() {
    let kv = Kv::new();
    kv.ok("kv init; kv put jobs/0 --value 0");
    let mut watch = Printing::start(&kv, "exec kv watch --prefix jobs/");
    let mut lines = Printing::start(
        &kv,
        "printf '{\"op\":\"subscribe\",\"prefix\":\"jobs/\"}\\n' | exec nc -NU \"$(kv socket)\"",
    );
    assert_eq!(lines.next()["subscription"], 1);
    until_attached(&kv, 2);
    for number in 1..=20 {
        kv.ok(&format!("kv put other --value 1; kv put jobs/{number} --value {number}"));
        assert_eq!(watch.next()["record"]["value"], number);
        assert_eq!(lines.next()["record"]["key"], format!("jobs/{number}"));
    }
    drop((watch, lines));
    until_attached(&kv, 0);
}

/// A program with the library and `--daemon=never` write past the daemon, which looks for that.
#[test]
fn changes_of_other_processes_are_pushed_soon() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut watch = Printing::start(&kv, "exec kv watch");
    let mut local = Printing::start(&kv, "exec kv --daemon=never watch --after 0");
    until_attached(&kv, 1);
    for number in 1..=10 {
        let begun = Instant::now();
        kv.ok(&format!("kv --daemon=never put a --value {number}"));
        assert_eq!(watch.next()["record"]["value"], number);
        assert_eq!(local.next()["record"]["value"], number);
        assert!(begun.elapsed() < Duration::from_secs(2), "it came with the next write only");
    }
    kv.ok("sqlite3 data.db 'select count(*) from kv_record'; kv put b --value 1");
    assert_eq!((watch.next()["seq"].as_u64(), local.next()["seq"].as_u64()), (Some(11), Some(11)));
}

#[test]
fn a_watch_prints_as_it_is_asked_and_ends_with_its_reader() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value '{\"x\":1}' --of-type T; kv put b --value 2; kv delete a");
    let printed = kv.ok("timeout 20 kv watch --after 0 | head -3");
    assert_eq!(seqs(&printed), [1, 2, 3]);
    assert_eq!(printed, kv.ok("kv stream get --output ndjson"), "live and replayed are the same");
    assert_eq!(seqs(&kv.ok("kv watch --after 0 --of-type T | head -2")), [1, 3]);
    assert_eq!(seqs(&kv.ok("kv watch --after 1 --prefix b | head -1")), [2]);
    let indented = kv.ok("kv watch --after 0 --output json | head -4");
    assert_eq!(indented, "{\n  \"seq\": 1,\n  \"tx\": 1,\n  \"tx_end\": true,\n");
    for (text, exit_code, words) in [
        ("kv watch --after 9", 7, "future"),
        ("kv watch --after soon", 2, "now"),
        ("kv stream trim 2; kv watch --after 0", 7, "trimmed"),
        ("kv --connection other.db watch", 6, "not_initialized"),
    ] {
        let output = kv.shell(text);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(exit_code) && stderr.contains(words), "{text}: {output:?}");
    }
}

#[test]
fn a_command_is_run_for_each_change_until_it_fails() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1 --of-type T; kv put b --value 2; kv delete a");
    let output = kv.shell(
        "kv watch --after 0 -- sh -c 'echo $KV_CHANGE_SEQ $KV_CHANGE_TX $KV_CHANGE_ACTION $KV_CHANGE_KEY \
         $KV_CHANGE_VERSION $KV_CHANGE_REVISION $KV_CHANGE_TYPE; jq -c .record.value; [ $KV_CHANGE_SEQ -lt 3 ] || exit 9'",
    );
    let expected = "1 1 create a 1 1 T\n1\n2 2 create b 1 2\n2\n3 3 delete a 1 1 T\n1\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(9));
    // The command may use kv itself.
    let code =
        kv.shell("kv watch --after 0 --prefix b -- sh -c 'kv put seen --value 1; exit 3'").status.code();
    assert_eq!((code, kv.ok("kv get seen")), (Some(3), "1\n".to_owned()));
    assert_eq!(kv.shell("kv watch --after 0 -- /no/such/program").status.code(), Some(127));
}

#[test]
fn a_subscription_whose_daemon_ends_is_told_so() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut lines = Printing::start(&kv, "echo '{\"op\":\"subscribe\"}' | exec nc -NU \"$(kv socket)\"");
    lines.next();
    kv.ok("kv daemon stop");
    let end = lines.next();
    assert_eq!((&end["event"], &end["reason"]), (&"end".into(), &"unavailable".into()));
    assert!(lines.lines.next().is_none());
}

#[test]
fn a_store_that_was_replaced_ends_its_subscriptions() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; mkdir other; (cd other; kv --daemon=never init)");
    kv.ok("cd other; for i in 1 2 3; do kv --daemon=never put b --value $i; done");
    let mut watch = Printing::start(&kv, "kv watch --after 0 2>&1; echo \"\\\"$?\\\"\"");
    assert_eq!(watch.next()["seq"], 1);
    kv.ok("mv other/data.db data.db; kv put c --value 1");
    let said = watch.lines.next().unwrap().unwrap();
    assert!(said.contains("epoch_changed"), "{said}");
    assert!(watch.lines.next().unwrap().unwrap().contains("hint: list the records again"));
    assert_eq!(watch.next(), "7");
}

/// A backup of the same store: its stream ends earlier than where the watch is.
#[test]
fn a_store_that_went_back_in_time_is_no_silent_wait() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop; cp data.db backup.db; kv put a --value 2; kv put a --value 3");
    let mut watch = Printing::start(&kv, "kv watch --after 0 2>&1; echo \"\\\"$?\\\"\"");
    for seq in 1..=3 {
        assert_eq!(watch.next()["seq"], seq);
    }
    kv.ok("mv backup.db data.db; kv put b --value 1");
    let said = watch.lines.next().unwrap().unwrap();
    assert!(said.contains("(future)"), "{said}");
    assert!(watch.lines.next().unwrap().unwrap().starts_with("hint"));
    assert_eq!(watch.next(), "7");
    assert_eq!(seqs(&kv.ok("kv watch --after 0 --limit 2")), [1, 2]);
}

/// A large change is made into a line for a few at a time, however many wait for it.
#[test]
fn a_large_change_for_many_does_not_fill_the_memory() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let before = crate::support::peak_bytes(pid);
    let socket = kv.ok("kv socket").trim().to_owned();
    let streams: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
            std::io::Write::write_all(&mut stream, b"{\"op\":\"subscribe\"}\n").unwrap();
            stream
        })
        .collect();
    until_attached(&kv, 100);
    kv.ok("head -c 7000000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | kv put large; kv put small --value 1; kv get small");
    std::thread::sleep(Duration::from_millis(500));
    let grown = crate::support::peak_bytes(pid).saturating_sub(before) / 1_024 / 1_024;
    assert!(grown < 300, "the daemon grew by {grown} MiB");
    drop(streams);
}

#[test]
fn a_command_that_runs_is_waited_for_when_the_watch_is_ended() {
    let kv = Kv::new();
    kv.ok("kv init; for i in 1 2 3; do kv put jobs/$i --value $i; done");
    for command in ["watch --after 0", "consumer stream c"] {
        let printed = kv.ok(&format!(
            "rm -f said; kv {command} -- sh -c 'trap \"\" TERM; echo begin; sleep 0.5; echo end' > said & \
             until grep -q begin said; do sleep 0.01; done; kill -TERM $!; wait $!; echo $?; cat said"
        ));
        assert_eq!(printed, "143\nbegin\nend\n", "{command}");
    }
    assert_eq!(
        kv.ok("set -o pipefail; kv consumer status c | jq .position"),
        "1\n",
        "what the command has done is committed"
    );
    // Only what was asked for is committed.
    assert_eq!(seqs(&kv.ok("kv consumer stream d --limit 2")), [1, 2]);
    assert_eq!(kv.ok("kv consumer status d | jq .position"), "2\n");
}

/// Neither by a pipe that is full, nor by a command that does not read its input.
#[test]
fn what_goes_on_printing_can_be_ended_at_any_time() {
    let kv = Kv::new();
    kv.ok("kv init; head -c 200000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' > x; for i in 1 2 3; do kv put large/$i < x; done");
    for command in ["watch --after 0", "consumer stream c"] {
        for program in ["", "-- sleep 60"] {
            until_attached(&kv, 0);
            let printed = kv.ok(&format!(
                "rm -f full; mkfifo full; sleep 60 < full & reader=$!; kv {command} {program} > full & watch=$!; \
                 until [ $(kv daemon status | jq .attached) = 1 ]; do sleep 0.01; done; sleep 0.3; kill -TERM $watch; wait $watch; echo $?; kill $reader"
            ));
            assert_eq!(printed, "143\n", "{command} {program}");
        }
    }
    assert_eq!(kv.ok("kv consumer status c | jq .position"), "0\n");
    // Something that the command left behind may hold its input open.
    assert_eq!(
        kv.ok("timeout 20 kv watch --after 0 --limit 2 -- sh -c '(sleep 30 <&3 >&- 2>&- &) 3<&0; echo done'"),
        "done\ndone\n"
    );
}

/// What a command prints is its own business.
#[test]
fn a_command_goes_on_when_nobody_reads_what_kv_prints() {
    let kv = Kv::new();
    kv.ok(
        "kv init; (timeout 20 kv watch --after 0 --limit 2 -- sh -c 'cat >> seen'; echo $? > code) | true & \
           kv put a --value 1; sleep 0.6; kv put b --value 2; until [ -s code ]; do sleep 0.01; done",
    );
    assert_eq!(kv.ok("jq -r .record.key seen; cat code"), "a\nb\n0\n");
}

#[test]
fn the_limits_of_a_connection_are_answers() {
    let kv = Kv::new();
    kv.ok("kv init");
    let lines = "{\"op\":\"subscribe\"}\\n".repeat(257);
    let replies =
        kv.ok(&format!("(printf '{lines}'; echo '{{\"op\":\"bye\"}}') | kv rpc | jq -r '.error.code'"));
    assert_eq!(replies, format!("{}too_large\nnull\n", "null\n".repeat(256)));
    let twice = "{\"id\":\"w\",\"op\":\"subscribe\"}\\n".repeat(2);
    let replies =
        kv.ok(&format!("(printf '{twice}'; echo '{{\"op\":\"bye\"}}') | kv rpc | jq -r '.error.code'"));
    assert_eq!(replies, "null\nbad_request\nnull\n");
}
