//! A panic anywhere in a daemon ends it: no actor dies alone.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context};
use kv::daemon::instance::Instance;
use kv::daemon::store_lock::StoreLock;
use kv::daemon::{self, Config};
use kv::meeting::place::Place;
use kv::store::{Address, Clock, EngineKind};
use tokio_util::sync::CancellationToken;

use crate::support::{Kv, address, wait_until};

/// Panics in the middle of the daemon's work, once a file exists.
struct Faulty(std::path::PathBuf);

impl Actor for Faulty {
    type Context = Context<Faulty>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(Duration::from_millis(5), |faulty, _| {
            assert!(!faulty.0.exists(), "a rule is broken on purpose");
        });
    }
}

/// The daemon of a store, in a process of its own, with an actor that has a bug once there is the file `panic`.
fn serve(address: Address, directory: &Path, socket: &Path) {
    daemon::end_process_on_panic();
    let place = Place::at(socket).unwrap();
    daemon::block_on(async {
        let (instance, listener) = Instance::acquire(&place).unwrap().unwrap();
        let lock = StoreLock::new(address.exclusive_file(), place.socket());
        Faulty(directory.join("panic")).start();
        let config =
            Config { address, clock: Clock::System, spawned: true, idle_timeout: None, supervisor: None };
        daemon::run(config, listener, Some(instance), lock, CancellationToken::new()).await;
    });
}

/// The test starts itself once more: the child is the daemon.
#[test]
fn a_panicking_actor_ends_the_process_and_the_next_command_gets_a_new_daemon() {
    if let (Some(directory), Some(socket)) = (std::env::var_os("KV_FAULTY"), std::env::var_os("KV_SOCKET")) {
        return serve(address(directory.as_ref()), directory.as_ref(), socket.as_ref());
    }
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop");
    let socket = kv.ok("kv --daemon=never socket").trim().to_owned();
    let name = "daemon::panics::a_panicking_actor_ends_the_process_and_the_next_command_gets_a_new_daemon";
    let mut child = kv.command(std::env::current_exe().unwrap().to_str().unwrap());
    child.args(["--exact", name, "--nocapture"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = child.env("KV_FAULTY", kv.directory.path()).env("KV_SOCKET", socket).spawn().unwrap();
    wait_until("the daemon", || kv.shell("kv --daemon=require get a").status.success());
    assert_eq!(kv.daemon_pid(), child.id());

    let mut held = std::os::unix::net::UnixStream::connect(kv.ok("kv socket").trim()).unwrap();
    kv.ok("touch panic");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.signal(), Some(6), "SIGABRT");
    let log = String::from_utf8(ended.stderr).unwrap();
    assert!(log.contains("panics.rs") && log.contains("a rule is broken on purpose"), "{log}");
    assert_eq!(std::io::Read::read(&mut held, &mut [0]).unwrap(), 0, "its clients are told");
    assert_eq!(kv.ok("kv put a --value 2; kv get a"), "2\n");
}

/// What a panic prints goes into the log, and from there into reports.
#[test]
fn a_panic_shows_no_password() {
    let stores = [
        (EngineKind::Postgres, "postgres://u:canary@127.0.0.1:1/x?sslmode=disable"),
        (EngineKind::Rqlite, "http://u:canary@127.0.0.1:1"),
    ];
    if let (Some(directory), Ok(number)) = (std::env::var_os("KV_FAULTY"), std::env::var("KV_FAULTY_STORE")) {
        let (kind, url) = stores[number.parse::<usize>().unwrap()];
        let socket = Path::new(&directory).join("kv.sock");
        kv::daemon::log::begin(kv::daemon::log::LogSettings::default());
        return serve(Address::parse(kind, url).unwrap(), directory.as_ref(), &socket);
    }
    for (number, (kind, url)) in stores.iter().enumerate() {
        let kv = Kv::with(&[("KV_TYPE", kind.as_str()), ("KV_CONNECTION", url), ("RUST_LOG", "trace")]);
        let mut child = kv.command(std::env::current_exe().unwrap().to_str().unwrap());
        child.args(["--exact", "daemon::panics::a_panic_shows_no_password", "--nocapture"]);
        child.env("KV_FAULTY", kv.directory.path()).env("KV_FAULTY_STORE", number.to_string());
        child.env("RUST_BACKTRACE", "full").stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        wait_until("the daemon", || {
            kv.shell("kv --socket kv.sock --daemon=require daemon status").status.success()
        });
        kv.shell("kv --socket kv.sock --daemon=require get a; touch panic");
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), Some(6), "SIGABRT");
        let log = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert!(log.contains("a rule is broken on purpose") && log.contains("u:***@"), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
}
