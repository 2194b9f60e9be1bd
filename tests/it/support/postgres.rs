//! A real PostgreSQL server: clusters that end with this process, and empty databases in them.
//!
//! `KV_TEST_POSTGRES_URL` names another server for what [`Cluster::shared`] is used for, by a role that may create
//! databases. `KV_TEST_POSTGRES=skip` leaves these tests out, which `.ci/run` refuses.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};

use uuid::Uuid;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/postgres");

/// A server with any number of databases.
pub(crate) struct Cluster {
    /// The database from which others are created.
    location: Location,
    /// The server that this process started, if it did.
    server: Option<Mutex<Server>>,
}

impl Cluster {
    /// The one cluster of all tests that leave their server alone; none when they are to be skipped. It does not wait
    /// for the disk.
    pub(crate) fn shared() -> Option<&'static Cluster> {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        if is_unwanted() {
            return None;
        }
        Some(SHARED.get_or_init(|| match std::env::var("KV_TEST_POSTGRES_URL") {
            Ok(url) => Cluster { location: Location::parse(&url), server: None },
            Err(_) => Server::start(true),
        }))
    }

    /// A cluster that the test may kill, with the settings of a real one; none when it is to be skipped.
    pub(crate) fn start() -> Option<Cluster> {
        (!is_unwanted()).then(|| Server::start(false))
    }

    /// Creates an empty database.
    pub(crate) fn database(&self) -> Database {
        let name = format!("kv_test_{}", Uuid::new_v4().simple());
        self.sql(&format!("create database {name} template template0"));
        Database { creator: self.location.clone(), name }
    }

    /// What a text of SQL prints in the database `postgres`; see [`Database::sql`].
    #[track_caller]
    pub(crate) fn sql(&self, text: &str) -> String {
        sql(&self.location, text)
    }

    /// The URL of a superuser in one of the databases, on a server that this process started.
    pub(crate) fn administrator_url(&self, database: &Database) -> String {
        assert!(self.server.is_some(), "the administrator of another server is not known");
        let (_, password) = self.location.credentials.split_once(':').unwrap();
        let credentials = format!("postgres:{password}");
        Location { credentials, ..database.location() }.to_string()
    }

    /// Where the server listens, for a link in front of it.
    pub(crate) fn address(&self) -> SocketAddr {
        use std::net::ToSocketAddrs as _;
        let host = &self.location.host;
        let with_port = if host.contains(':') { host.clone() } else { format!("{host}:5432") };
        with_port.to_socket_addrs().unwrap().next().unwrap()
    }

    /// The directory of a server that this process started: its socket is there, and its files in `data`.
    pub(crate) fn directory(&self) -> PathBuf {
        let server = self.server.as_ref().expect("the server is not of this process").lock().unwrap();
        server.directory.clone()
    }

    /// Ends all processes of the server at once (kill -9), and answers when they are gone.
    pub(crate) fn kill(&self) {
        assert_eq!(self.own_server().ask("kill"), "killed");
    }

    /// Starts the server again after [`Cluster::kill`], and answers when it serves: at the same address, with what was
    /// committed.
    pub(crate) fn restart(&self) {
        assert_eq!(self.own_server().ask("restart"), "ready");
    }

    fn own_server(&self) -> MutexGuard<'_, Server> {
        let server = self.server.as_ref().expect("the server is not of this process").lock().unwrap();
        assert!(!server.is_shared, "other tests use this server");
        server
    }
}

/// Whether the tests of PostgreSQL are to be skipped.
fn is_unwanted() -> bool {
    std::env::var("KV_TEST_POSTGRES").is_ok_and(|text| {
        assert_eq!(text, "skip", "KV_TEST_POSTGRES has one value");
        true
    })
}

/// The process that starts and ends a server; it does the latter when its standard input is closed, thus also when this
/// process is killed.
struct Server {
    process: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    directory: PathBuf,
    is_shared: bool,
}

impl Server {
    fn start(is_shared: bool) -> Cluster {
        let directory = std::env::temp_dir().join(format!("kv-postgres-{}", Uuid::new_v4().simple()));
        let mut command = Command::new(SCRIPT);
        // A group of its own: what ends this process from the terminal leaves it the time to tidy up.
        command.arg("run").arg(&directory).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        if is_shared {
            command.env("KV_TEST_POSTGRES_FSYNC", "off");
        }
        let mut process = command.spawn().expect(SCRIPT);
        let requests = process.stdin.take();
        let replies = BufReader::new(process.stdout.take().unwrap());
        let mut server = Server { process, requests, replies, directory, is_shared };
        let url = server.reply();
        assert!(
            !url.is_empty(),
            "PostgreSQL did not start, and said why on standard error. `scripts/test` installs it, \
             KV_TEST_POSTGRES_URL names a server that runs, KV_TEST_POSTGRES=skip leaves its tests out"
        );
        Cluster { location: Location::parse(&url), server: Some(Mutex::new(server)) }
    }

    fn ask(&mut self, request: &str) -> String {
        writeln!(self.requests.as_mut().unwrap(), "{request}").unwrap();
        self.reply()
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.replies.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.process.wait();
    }
}

/// A database of its own for a test, which is dropped with this.
pub(crate) struct Database {
    creator: Location,
    name: String,
}

impl Database {
    pub(crate) fn url(&self) -> String {
        self.location().to_string()
    }

    /// The URL by way of something else that listens, such as a slow link to the server.
    pub(crate) fn url_by_way_of(&self, address: SocketAddr) -> String {
        Location { host: address.to_string(), ..self.location() }.to_string()
    }

    /// What psql prints for a text of SQL, which is one transaction: fields are separated by `|`, and rows by new
    /// lines.
    #[track_caller]
    pub(crate) fn sql(&self, text: &str) -> String {
        sql(&self.location(), text)
    }

    /// A session that runs a text of SQL.
    pub(crate) fn session(&self, text: &str) -> Command {
        psql(&self.location(), text)
    }

    /// Ends every session of the role in the database, and answers how many there were when they are gone.
    pub(crate) fn terminate_backends(&self) -> usize {
        let text = format!(
            "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity
            where datname = '{}' and usename = current_user and backend_type = 'client backend'",
            self.name
        );
        sql(&self.creator, &text).parse().unwrap()
    }

    fn location(&self) -> Location {
        Location { database: self.name.clone(), ..self.creator.clone() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server may be dead, as the test wished it.
        let _ = psql(&self.creator, &format!("drop database if exists {} with (force)", self.name)).output();
    }
}

/// What a text of SQL prints for the role and the database of a URL; see [`Database::sql`].
#[track_caller]
pub(crate) fn sql_at(url: &str, text: &str) -> String {
    sql(&Location::parse(url), text)
}

#[track_caller]
fn sql(location: &Location, text: &str) -> String {
    let Output { status, stdout, stderr } = psql(location, text).output().unwrap();
    assert!(status.success(), "{text}\n{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim_end_matches('\n').to_owned()
}

/// The directory of the programs of PostgreSQL.
pub(crate) fn binaries() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let found = Command::new(SCRIPT).arg("binaries").output().unwrap();
        assert!(found.status.success(), "psql is not installed; `scripts/test` does it");
        String::from_utf8(found.stdout).unwrap().trim_end().into()
    })
}

fn psql(location: &Location, text: &str) -> Command {
    let mut command = Command::new(binaries().join("psql"));
    command
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--command", text, &location.to_string()])
        // A server that is stopped accepts connections and answers nothing.
        .env("PGCONNECT_TIMEOUT", "10")
        .stdin(Stdio::null());
    command
}

/// The parts of the URL of a database.
#[derive(Clone)]
struct Location {
    credentials: String,
    host: String,
    database: String,
    parameters: String,
}

impl Location {
    fn parse(url: &str) -> Location {
        let (_, rest) = url.split_once("://").expect("the URL of a PostgreSQL server");
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (rest, database) = rest.split_once('/').unwrap_or((rest, "postgres"));
        let (credentials, host) = rest.rsplit_once('@').expect("a role in the URL of a PostgreSQL server");
        Location {
            credentials: credentials.to_owned(),
            host: host.to_owned(),
            database: database.to_owned(),
            parameters: parameters.to_owned(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { credentials, host, database, parameters } = self;
        let separator = if parameters.is_empty() { "" } else { "?" };
        write!(formatter, "postgres://{credentials}@{host}/{database}{separator}{parameters}")
    }
}

mod tests;
