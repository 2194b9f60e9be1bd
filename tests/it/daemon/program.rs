//! Which program a client starts as the daemon.

use std::os::fd::AsFd as _;
use std::path::Path;

use kv::Client;
use kv::client::{Launch, Program, Target};
use kv::meeting::handover::Handover;
use kv::meeting::place::Place;
use kv::store::{Code, Put, Store as _};
use rustix::io::FdFlags;

use crate::support::{Kv, address, is_alive, json, runtime, wait_until};

/// A copy of the binary, and a command that goes on while that is replaced.
struct Upgrade {
    kv: Kv,
    follower: std::process::Child,
}

impl Upgrade {
    fn begin(follower: &str) -> Upgrade {
        let kv = Kv::new();
        kv.ok(&format!(
            "mkdir bin; cp {} bin/kv; bin/kv init; bin/kv put a --value 1",
            env!("CARGO_BIN_EXE_kv")
        ));
        let mut command = kv.command("bash");
        command.args(["-c", &format!("exec bin/kv {follower} > seen 2> said")]);
        let follower = command.spawn().unwrap();
        let upgrade = Upgrade { kv, follower };
        wait_until("the follower", || upgrade.seen() == 1);
        upgrade
    }

    fn seen(&self) -> usize {
        std::fs::read_to_string(self.kv.directory.path().join("seen")).map_or(0, |text| text.lines().count())
    }

    /// The daemon ends, and no other process could start the next one; the follower sees the changes that are written
    /// then.
    fn check(mut self, what: &str) {
        let pid = self.kv.daemon_pid();
        self.kv.kill_daemon(pid);
        wait_until(&format!("{what}: the next daemon"), || self.kv.daemons().iter().any(|next| *next != pid));
        self.kv.ok("kv --daemon=never put a --value 2");
        wait_until(&format!("{what}: the second change"), || self.seen() == 2);
        assert_eq!(std::fs::read_to_string(self.kv.directory.path().join("said")).unwrap(), "", "{what}");
        // It starts daemons and keeps no dead process of them.
        let follower = self.follower.id();
        let children = self.kv.ok(&format!("ps -o pid= --ppid {follower} || true"));
        assert_eq!(children, "", "{what}");
        self.follower.kill().unwrap();
        self.follower.wait().unwrap();
    }
}

#[test]
fn a_command_starts_the_next_daemon_whatever_became_of_its_binary() {
    // At once, because each of them gives others a second to start the next daemon first.
    std::thread::scope(|scope| {
        for (what, change) in [
            ("replaced", "cp bin/kv new; mv new bin/kv"),
            ("replaced twice", "cp bin/kv new; mv new bin/kv; cp bin/kv new; mv new bin/kv"),
            ("deleted", "rm bin/kv"),
            ("moved", "mv bin/kv elsewhere"),
            ("moved with its directory", "mv bin elsewhere"),
            ("no program any more", "rm bin/kv; mkdir bin/kv"),
            ("not executable any more", "cp bin/kv new; chmod 644 new; mv new bin/kv"),
            ("cut off", "head -c 100 bin/kv > new; chmod 755 new; mv new bin/kv"),
        ] {
            scope.spawn(move || {
                let upgrade = Upgrade::begin("watch --after 0");
                upgrade.kv.ok(change);
                upgrade.check(what);
            });
        }
    });
}

#[test]
fn a_consumer_starts_the_next_daemon_though_its_binary_was_replaced() {
    let upgrade = Upgrade::begin("consumer stream c --from 0");
    upgrade.kv.ok("cp bin/kv new; mv new bin/kv");
    upgrade.check("a consumer");
}

#[test]
fn lock_run_starts_the_next_daemon_though_its_binary_was_replaced() {
    let upgrade = Upgrade::begin("lock run j --duration 3s -- sh -c 'echo held; exec sleep 60'");
    let kv = &upgrade.kv;
    kv.ok("cp bin/kv new; mv new bin/kv");
    let pid = kv.daemon_pid();
    kv.kill_daemon(pid);
    wait_until("the next daemon", || kv.daemons().iter().any(|next| *next != pid));
    assert_eq!(kv.ok("kv lock status j | jq .held"), "true\n");
    let Upgrade { kv, mut follower } = upgrade;
    kv.ok(&format!("kill {}", follower.id()));
    follower.wait().unwrap();
    drop(kv);
}

fn target(kv: &Kv, program: Program) -> Target {
    let address = address(kv.directory.path());
    let socket = kv.directory.path().join("library.sock");
    let handover = Handover {
        engine: address.kind().as_str().to_owned(),
        connection: address.connection(),
        socket: socket.clone(),
        idle_timeout_s: 600,
        log_level: None,
        started_by: String::new(),
    };
    let launch = Some(Launch { program, handover });
    Target { place: Place::at(&socket).unwrap(), address: Some(address), launch }
}

/// The program of this test is a host of the library, as any other.
#[test]
fn a_library_starts_the_binary_that_it_was_told_and_changes_nothing_of_its_host() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let nowhere = target(&kv, Program::at("/nowhere/kv"));
    let error = runtime().block_on(Client::connect_to(nowhere)).unwrap_err();
    assert_eq!((error.code, error.retry), (Code::Unavailable, false), "{error:?}");
    assert!(error.message.contains("/nowhere/kv") && error.hint.is_some(), "{error:?}");

    let passed_on = std::fs::File::create(kv.directory.path().join("file")).unwrap();
    rustix::io::fcntl_setfd(passed_on.as_fd(), FdFlags::empty()).unwrap();
    let pid = runtime().block_on(async {
        let client = Client::connect_to(target(&kv, Program::at(env!("CARGO_BIN_EXE_kv")))).await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        client.hello().pid
    });
    assert!(!rustix::io::fcntl_getfd(passed_on.as_fd()).unwrap().contains(FdFlags::CLOEXEC), "it was marked");
    let holds = |pid: u32| {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut targets = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        targets.any(|target| target == kv.directory.path().join("file"))
    };
    assert!(holds(std::process::id()) && !holds(pid));
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(program, Path::new(env!("CARGO_BIN_EXE_kv")));
    kv.ok("kv --socket library.sock daemon stop");
    assert!(!is_alive(pid));
}

/// A program that is not kv is started in vain, and the error names it.
#[test]
fn a_program_that_is_not_kv_is_named() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let error = runtime().block_on(Client::connect_to(target(&kv, Program::at("/bin/true")))).unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(error.message.contains("/bin/true"), "{error:?}");
}
