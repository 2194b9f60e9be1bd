//! Socket activation: a daemon behind a socket that a service manager has bound.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::stand_in::{Manager, Reports, Service};
use crate::support::{Kv, is_alive, wait_until};

/// By the program of systemd, which waits for the first connection and then becomes the daemon.
#[test]
fn the_first_command_starts_the_daemon_behind_the_socket() {
    let kv = Kv::new();
    kv.ok("mkdir -m 700 run/kv; kv --daemon=never init");
    let mut activated = kv
        .command("systemd-socket-activate")
        .args(["-l", kv.directory.path().join("run/kv/kv.sock").to_str().unwrap(), "kv", "daemon", "run"])
        .spawn()
        .unwrap();
    wait_until("a socket", || kv.directory.path().join("run/kv/kv.sock").exists());
    kv.ok("kv put hello --value 1");
    assert_eq!(
        kv.ok("kv get hello; kv socket"),
        format!("1\n{}/run/kv/kv.sock\n", kv.directory.path().display())
    );
    assert_eq!(kv.daemon_pid(), activated.id());
    kv.ok("for i in 1 2 3 4 5 6; do kv put k$i --value $i & done; wait; kv daemon start");
    assert_eq!(kv.daemons(), [0; 0], "a second daemon was started");
    let listed = kv.ok("kv daemon list --output json | jq .[].pid");
    assert!(listed.lines().any(|pid| pid == activated.id().to_string()), "{listed}");
    kv.ok(&format!("kill {}", activated.id()));
    assert!(activated.wait().unwrap().success());
    assert!(kv.directory.path().join("run/kv/kv.sock").exists(), "the socket belongs to the manager");
}

#[test]
fn a_client_waits_for_the_next_daemon_and_the_socket_stays() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let manager = Manager::listen(&kv);
    for round in 0..3 {
        let client = kv.command("bash").args(["-c", &format!("kv put a --value {round}")]).spawn().unwrap();
        let service = manager.start(&kv, "true");
        assert!(client.wait_with_output().unwrap().status.success());
        assert_eq!(kv.ok("kv get a"), format!("{round}\n"));
        let (code, stderr) = service.end(&kv);
        assert!(code == 0 && manager.socket.exists(), "{stderr}");
    }
}

#[test]
fn a_daemon_that_a_command_started_gives_way() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let spawned = kv.daemon_pid();
    let service = Manager::listen(&kv).start(&kv, "true");
    wait_until("the end of the daemon", || !is_alive(spawned));
    assert_eq!(kv.ok("kv get a"), "1\n");
    assert_eq!((kv.daemon_pid(), kv.daemons()), (service.pid(), vec![]));
    service.end(&kv);
}

#[test]
fn another_store_is_not_the_concern_of_the_unit() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init; kv --daemon=never --connection other.db init");
    let manager = Manager::listen(&kv);
    let service = manager.start(&kv, "true");
    kv.ok("kv put a --value 1; kv --connection other.db put a --value 2");
    assert_eq!(kv.ok("kv get a; kv --connection other.db get a"), "1\n2\n");
    assert_eq!(kv.daemons().len(), 1);
    service.end(&kv);
    // A unit that does not answer keeps nobody from another store.
    kv.ok("kv --connection other.db daemon stop");
    assert_eq!(kv.ok("kv --connection other.db get a"), "2\n");
}

#[test]
fn a_daemon_of_a_unit_ends_for_want_of_clients_only_when_it_was_told_to() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let manager = Manager::listen(&kv);
    let (code, stderr) = manager.start(&kv, "exec kv --idle-timeout 1 daemon run").ended();
    assert!(code == 0 && stderr.contains("no client was connected for long"), "{stderr}");
    assert!(manager.socket.exists());
}

#[test]
fn what_is_no_socket_of_a_daemon_is_refused() {
    let kv = Kv::new();
    let path = |name: &str| kv.directory.path().join(name);
    let refused = |handed: OwnedFd, prelude: &str, words: &str| {
        let (code, stderr) = Service::start(&kv, prelude, handed).ended();
        assert!(
            code == 2 && stderr.contains(words) && stderr.contains("in the socket unit"),
            "{code} {stderr}"
        );
    };
    let file = || std::fs::File::open("/dev/null").unwrap().into();
    refused(file(), "true", "is not a socket");
    refused(
        UnixDatagram::bind(path("datagrams")).unwrap().into(),
        "true",
        "is not a valid unix stream socket",
    );
    refused(UnixListener::bind(path("one")).unwrap().into(), "exec 4<&3; export LISTEN_FDS=2", "2 sockets");
    let listener = UnixListener::bind(path("two")).unwrap();
    let connected = UnixStream::connect(path("two")).unwrap();
    refused(connected.into(), "true", "nobody listens");
    drop(listener);
    let (_, stderr) = Service::start(
        &kv,
        "exec kv daemon run --socket-group root",
        UnixListener::bind(path("three")).unwrap().into(),
    )
    .ended();
    assert!(stderr.contains("SocketGroup="), "{stderr}");
}

/// A command may run inside a service that has nothing to do with kv.
#[test]
fn a_daemon_takes_nothing_that_was_meant_for_another_process() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let mut reports = Reports::listen(&kv);
    let inside = format!(
        "exec 3</dev/null; export NOTIFY_SOCKET={} WATCHDOG_USEC=100000 LISTEN_FDS=1 LISTEN_PID=$$ SYSTEMD_EXEC_PID=$$;",
        reports.path.display()
    );
    // This process itself puts, and starts the daemon.
    kv.ok(&format!("{inside} exec kv put a --value 1"));
    let pid = kv.daemon_pid();
    let environment = kv.ok(&format!("tr '\\0' '\\n' < /proc/{pid}/environ"));
    for name in ["NOTIFY_SOCKET", "WATCHDOG", "LISTEN_", "SYSTEMD_"] {
        assert!(!environment.contains(name), "{environment}");
    }
    kv.ok("kv daemon stop");
    assert_eq!(reports.heard(), [""; 0]);
    // Another process in the foreground, with the variables of its parent: it listens at a socket of its own.
    let text = format!(
        "{inside} kv daemon run & until kv --daemon=require get a 2>/dev/null; do sleep 0.05; done; kv daemon stop; wait"
    );
    assert_eq!(kv.ok(&text), "1\n");
}
