//! Daemons of other versions. There is no older or newer kv yet, so a listener of the test answers as they would.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;

use crate::support::Kv;

/// A daemon that says it is another version, until it is asked to end.
struct Other {
    socket: PathBuf,
    thread: JoinHandle<Vec<String>>,
}

impl Other {
    fn listen(kv: &Kv, changes: &str) -> Other {
        let hello = kv.ok(&format!(
            "echo '{{\"id\":0,\"op\":\"hello\"}}' | kv rpc | jq -c '. + {{pid: 4194304}} + {changes}'; kv daemon stop"
        ));
        let socket = PathBuf::from(kv.ok("kv --daemon=never socket").trim());
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for stream in listener.incoming() {
                asked.extend(serve(stream.unwrap(), &hello));
                if asked.last().is_some_and(|line| line.contains("\"shutdown\"")) {
                    break;
                }
            }
            asked
        });
        Other { socket, thread }
    }

    /// The requests that it got besides `hello`.
    fn end(self) -> Vec<String> {
        if !self.thread.is_finished() {
            let mut stream = UnixStream::connect(&self.socket).unwrap();
            stream.write_all(b"{\"id\":0,\"op\":\"shutdown\"}\n").unwrap();
        }
        let asked = self.thread.join().unwrap();
        asked.into_iter().filter(|line| !line.contains("\"hello\"")).collect()
    }
}

fn serve(stream: UnixStream, hello: &str) -> Vec<String> {
    let mut asked = Vec::new();
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let is_hello = line.contains("\"hello\"");
        asked.push(line);
        if !is_hello {
            break;
        }
        writer.write_all(hello.as_bytes()).unwrap();
    }
    asked
}

#[test]
fn an_older_daemon_that_a_command_started_is_replaced() {
    for older in ["{protocol: 0}", "{schema: 0}", "{protocol: 0, version: \"0.0.1\"}"] {
        let kv = Kv::new();
        kv.ok("kv init; kv put a --value 1");
        let other = Other::listen(&kv, &format!("{older} + {{spawned: true}}"));
        assert_eq!(kv.ok("kv get a"), "1\n", "{older}");
        assert_eq!(kv.daemons(), [kv.daemon_pid()]);
        assert_eq!(other.end(), ["{\"id\":0,\"op\":\"shutdown\"}"], "{older}");
    }
}

#[test]
fn a_daemon_of_another_protocol_is_left_alone_and_the_user_is_told_what_to_do() {
    for (other, words) in [
        ("{protocol: 0, spawned: false}", "kv daemon restart"),
        ("{protocol: 2, spawned: true}", "kv daemon stop"),
        ("{protocol: 2, spawned: false}", "use the newer kv"),
    ] {
        let kv = Kv::new();
        kv.ok("kv init");
        let daemon = Other::listen(&kv, other);
        let (code, stderr) = kv.fails("kv put a --value 1");
        assert!(
            code == 1 && stderr.contains(words) && stderr.contains("process 4194304"),
            "{other}: {stderr}"
        );
        assert_eq!(daemon.end(), ["{\"id\":0,\"op\":\"shutdown\"}"], "{other}: ours, not the client's");
    }
}

/// Its subscriptions, and locks that are waited for, would end with it.
#[test]
fn an_older_daemon_that_somebody_depends_on_is_talked_to_or_left_alone() {
    let kv = Kv::new();
    kv.ok("kv init");
    let daemon = Other::listen(&kv, "{protocol: 0, spawned: true, attached: 1}");
    let (code, stderr) = kv.fails("kv get a");
    assert!(code == 1 && stderr.contains("kv daemon restart"), "{code} {stderr}");
    assert_eq!(daemon.end(), ["{\"id\":0,\"op\":\"shutdown\"}"], "ours, not the client's");
    let daemon = Other::listen(&kv, "{schema: 0, spawned: true, attached: 1}");
    assert_eq!(kv.fails("kv put a --value 1").0, 8, "it was asked");
    assert!(daemon.end()[0].contains("\"put\""));
}

/// Only a client that may start the next daemon replaces one.
#[test]
fn a_command_that_starts_no_daemon_replaces_none() {
    let kv = Kv::new();
    kv.ok("kv init");
    let daemon = Other::listen(&kv, "{protocol: 0, spawned: true}");
    let (code, stderr) = kv.fails("kv --daemon=require put a --value 1");
    assert!(code == 1 && stderr.contains("kv daemon restart"), "{code} {stderr}");
    daemon.end();
}

/// A newer daemon of the same protocol, and one with a newer schema, are talked to.
#[test]
fn a_daemon_of_the_same_protocol_is_talked_to() {
    let kv = Kv::new();
    kv.ok("kv init");
    let daemon = Other::listen(&kv, "{version: \"9.0.0\", schema: 99, spawned: true, a_new_member: 1}");
    // It answers nothing but hello, and hangs up: the write was sent.
    let (code, stderr) = kv.fails("kv put a --value 1");
    assert!(code == 8, "{code} {stderr}");
    assert!(daemon.end()[0].contains("\"put\""));
}
