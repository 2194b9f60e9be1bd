//! A request that no daemon answers: the next daemons are not asked for ever.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use crate::support::Kv;

/// Stands for daemons that die at everything but `hello`: all connections end then.
#[derive(Clone)]
struct Dying {
    hello: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl Dying {
    fn listen(kv: &Kv) -> Dying {
        let hello = kv.ok("echo '{\"id\":0,\"op\":\"hello\"}' | kv rpc; kv daemon stop");
        let dying = Dying { hello, requests: Arc::default(), connections: Arc::default() };
        let listener = UnixListener::bind(kv.ok("kv --daemon=never socket").trim()).unwrap();
        let server = dying.clone();
        // Its threads end with the process of the test, which they do not hold up.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, server) = (stream.unwrap(), server.clone());
                server.connections.lock().unwrap().push(stream.try_clone().unwrap());
                std::thread::spawn(move || server.serve(stream));
            }
        });
        dying
    }

    fn serve(&self, mut stream: UnixStream) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if line.contains("\"hello\"") {
                // Another thread may have ended the connection.
                let _ = stream.write_all(self.hello.as_bytes());
                continue;
            }
            self.requests.lock().unwrap().push(line);
            for connection in self.connections.lock().unwrap().drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    fn count(&self, op: &str) -> usize {
        let op = format!("\"op\":\"{op}\"");
        self.requests.lock().unwrap().iter().filter(|line| line.contains(&op)).count()
    }
}

#[test]
fn a_request_at_which_daemons_die_is_given_up_after_the_third_one() {
    let cases = [
        ("get a", "get", 6),
        ("consumer get c", "consumer.get", 6),
        ("put a --value 1 --once x", "put", 8),
        ("lock acquire l o --wait 1m", "lock.acquire", 8),
        ("watch", "subscribe", 6),
        ("consumer stream c", "subscribe", 6),
    ];
    std::thread::scope(|scope| {
        for (command, op, code) in cases {
            scope.spawn(move || {
                let kv = Kv::new();
                kv.ok("kv init; kv put a --value 1");
                let daemon = Dying::listen(&kv);
                let (exit, stderr) = kv.fails(&format!("timeout 20 kv {command}"));
                assert_eq!(exit, code, "{command}: {stderr}");
                assert!(stderr.contains("3 daemons in a row"), "{command}: {stderr}");
                assert!(code == 8 || stderr.contains("kv daemon logs"), "{command}: {stderr}");
                assert_eq!(daemon.count(op), 3, "{command}");
            });
        }
    });
}

/// It cannot be repeated, so one death is enough.
#[test]
fn a_write_that_is_not_applied_once_is_asked_for_once() {
    let kv = Kv::new();
    kv.ok("kv init");
    let daemon = Dying::listen(&kv);
    assert_eq!(kv.fails("kv put a --value 1").0, 8);
    assert_eq!(daemon.count("put"), 1);
}
