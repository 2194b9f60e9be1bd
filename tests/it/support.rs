//! What tests share: stores with a clock that is moved by hand, daemons in this process, the real binary.

mod load;
pub(crate) mod own_daemon;
pub(crate) mod postgres;
pub(crate) mod rqlite;
pub(crate) mod scripted_http;
pub(crate) mod slow_link;
pub(crate) mod throughput;
pub(crate) mod under_load;
pub(crate) mod users;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use kv::Client;
use kv::daemon::instance::Instance;
use kv::daemon::store_lock::StoreLock;
use kv::daemon::{self, Config};
use kv::meeting::place::Place;
use kv::store::{
    Address, Clock, EngineKind, JsonText, LocalStore, ManualClock, Put, Store, Timestamp, Written,
    maintenance,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub(crate) use self::load::Load;

/// A fresh store that is initialized.
pub(crate) struct World {
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: ManualClock,
}

impl World {
    /// Puts `1` under each key, one after the other.
    pub(crate) async fn put_all(&self, keys: &[&str]) {
        for key in keys {
            self.store.put(Put::new(*key, json("1"))).await.unwrap();
        }
    }
}

/// What a write without a value in its reply is told.
pub(crate) fn written(version: u64, revision: u64) -> Written {
    Written::new(version, revision)
}

/// When the manual clock begins: 2023-11-14T22:13:20.000Z.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// A case of the conformance suite.
pub(crate) type Case = for<'a> fn(&'a World) -> LocalBoxFuture<'a, ()>;

/// An empty place for a store, which goes with it.
pub(crate) struct Site {
    pub(crate) address: Address,
    pub(crate) directory: TempDir,
    database: Option<postgres::Database>,
    _node: Option<rqlite::Database>,
}

impl Site {
    /// A place on an engine; none when its tests are to be skipped.
    pub(crate) fn on(engine: EngineKind) -> Option<Site> {
        match engine {
            EngineKind::Sqlite => {
                let directory = TempDir::new().unwrap();
                Some(Site { address: address(directory.path()), directory, database: None, _node: None })
            }
            EngineKind::Postgres => postgres::Cluster::shared().map(Site::in_cluster),
            EngineKind::Rqlite => rqlite::Database::lease().map(|node| {
                let address = Address::parse(EngineKind::Rqlite, node.url()).unwrap();
                let directory = TempDir::new().unwrap();
                Site { address, directory, database: None, _node: Some(node) }
            }),
            other => panic!("there is no place on {other:?}"),
        }
    }

    /// A place on a server of the test's own.
    pub(crate) fn in_cluster(cluster: &postgres::Cluster) -> Site {
        let database = cluster.database();
        let address = Address::parse(EngineKind::Postgres, &database.url()).unwrap();
        Site { address, directory: TempDir::new().unwrap(), database: Some(database), _node: None }
    }

    /// The database of a place on PostgreSQL.
    pub(crate) fn database(&self) -> &postgres::Database {
        self.database.as_ref().unwrap()
    }
}

/// Runs a case on a store that this process opens.
pub(crate) fn in_process(engine: EngineKind, name: &str, case: Case) {
    let Some(site) = Site::on(engine) else { return skipped(name) };
    runtime().block_on(async {
        let clock = ManualClock::at(Timestamp::from_unix_ms(START_MS));
        let store = LocalStore::open(&site.address, Clock::Manual(clock.clone()));
        let world = World { store: Box::new(store), clock };
        world.store.init().await.unwrap();
        case(&world).await;
    });
    assert_sound(&site.address);
}

/// Runs the same case through a daemon and its socket.
pub(crate) fn through_daemon(engine: EngineKind, name: &str, case: Case) {
    let Some(site) = Site::on(engine) else { return skipped(name) };
    let clock = ManualClock::at(Timestamp::from_unix_ms(START_MS));
    let daemon = Daemon::at(site.address.clone(), site.directory.path(), Clock::Manual(clock.clone()));
    runtime().block_on(async {
        let client = Client::connect(&daemon.socket).await.unwrap();
        let world = World { store: Box::new(client), clock };
        world.store.init().await.unwrap();
        case(&world).await;
    });
    assert_sound(&site.address);
}

/// Asserts that no rule of kv is broken in a store, whatever was done with it.
#[track_caller]
pub(crate) fn assert_sound(address: &Address) {
    let mut findings = Vec::new();
    let go_on = &mut |_| ControlFlow::Continue(());
    maintenance::check(address, &mut |finding| findings.push(finding), go_on).unwrap();
    assert_eq!(findings, []);
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn address(directory: &Path) -> Address {
    Address::parse(EngineKind::Sqlite, directory.join("data.db").to_str().unwrap()).unwrap()
}

pub(crate) fn json(text: &str) -> JsonText {
    JsonText::parse(text).unwrap()
}

/// Numbers that are the same in every run (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number below a bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// A daemon in a thread of this process.
pub(crate) struct Daemon {
    pub(crate) socket: PathBuf,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Daemon {
    /// On the SQLite file of a directory.
    pub(crate) fn start(directory: &Path, clock: Clock) -> Daemon {
        Daemon::at(address(directory), directory, clock)
    }

    /// With its socket in a directory.
    pub(crate) fn at(address: Address, directory: &Path, clock: Clock) -> Daemon {
        let socket = directory.join("kv.sock");
        let stop = CancellationToken::new();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let (place, stop) = (Place::at(&socket).unwrap(), stop.clone());
            move || {
                actix_rt::System::new().block_on(async {
                    let (instance, listener) = Instance::acquire(&place).unwrap().unwrap();
                    let lock = StoreLock::new(address.exclusive_file(), place.socket());
                    ready.send(()).unwrap();
                    let config =
                        Config { address, clock, spawned: false, idle_timeout: None, supervisor: None };
                    daemon::run(config, listener, Some(instance), lock, stop).await;
                });
            }
        });
        listening.recv().unwrap();
        Daemon { socket, stop, thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the daemon's thread panicked");
    }
}

/// The real binary in a directory of its own, with a runtime directory of its own.
pub(crate) struct Kv {
    pub(crate) directory: TempDir,
    /// What its commands have in their environment besides.
    variables: Vec<(String, String)>,
}

impl Kv {
    pub(crate) fn new() -> Kv {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = TempDir::new().unwrap();
        let runtime = directory.path().join("run");
        std::fs::create_dir(&runtime).unwrap();
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o700)).unwrap();
        Kv { directory, variables: Vec::new() }
    }

    /// With these variables in the environment of its commands.
    pub(crate) fn with(variables: &[(&str, &str)]) -> Kv {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut kv = Kv::new();
        kv.variables = variables.iter().map(owned).collect();
        kv
    }

    /// A command with nothing of the caller's environment but the path.
    pub(crate) fn command(&self, program: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_kv"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.directory.path())
            .env("XDG_RUNTIME_DIR", self.directory.path().join("run"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell text and answers what it printed; both outputs are shown when it fails.
    pub(crate) fn shell(&self, text: &str) -> Output {
        self.command("bash").args(["-c", text]).output().unwrap()
    }

    /// The standard output of a shell text that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, text: &str) -> String {
        let output = self.shell(text);
        assert!(output.status.success(), "{text}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code and the standard error of a shell text that must fail and print no data.
    #[track_caller]
    pub(crate) fn fails(&self, text: &str) -> (i32, String) {
        let output = self.shell(text);
        assert!(!output.status.success(), "{text}\n{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{text}: data on stdout of a failure");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Every daemon that was started from here, by the directories in its environment.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        let here = self.directory.path().to_str().unwrap();
        let is_ours = |pid: &u32| {
            let read = |file: &str| {
                String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default())
                    .into_owned()
            };
            read("cmdline").ends_with("daemon\0run\0--spawned\0--launched\0")
                && read("environ").split('\0').any(|variable| {
                    variable.split_once('=').is_some_and(|(_, value)| value.starts_with(here))
                })
        };
        let processes = std::fs::read_dir("/proc").unwrap();
        let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(is_ours).collect()
    }

    /// The process of the daemon.
    pub(crate) fn daemon_pid(&self) -> u32 {
        let status: serde_json::Value = serde_json::from_str(&self.ok("kv daemon status")).unwrap();
        u32::try_from(status["pid"].as_u64().unwrap()).unwrap()
    }

    /// Ends the daemon without a chance to finish anything, and waits until nobody can connect to it: a process that is
    /// dying shows it in `/proc` before its socket is closed.
    pub(crate) fn kill_daemon(&self, pid: u32) {
        let socket = self.ok("kv socket").trim().to_owned();
        self.ok(&format!("kill -9 {pid}"));
        wait_until("the death of the daemon", || std::os::unix::net::UnixStream::connect(&socket).is_err());
    }
}

impl Drop for Kv {
    fn drop(&mut self) {
        let _ = self.shell("kv daemon stop");
        // Those of other stores and environments, and those that a failed test left.
        for pid in self.daemons() {
            let _ = self.shell(&format!("kill -9 {pid}"));
        }
    }
}

/// Whether a process lives; one that has ended and that nobody waits for does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}/exe")).unwrap()
}

/// The most memory that the daemon has held so far, in bytes (`VmHWM`, proc(5)).
pub(crate) fn peak_bytes(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// Says that a test did not run for want of its server, where `scripts/test` counts it.
pub(crate) fn skipped(name: &str) {
    // Past the capture of the tests' output, which shows nothing of a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("skipped-tests");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{name}\n").as_bytes()).unwrap();
}

/// How long a test runs: its long form is asked for by an environment variable.
pub(crate) fn number_from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// Waits until something holds; panics after ten seconds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
