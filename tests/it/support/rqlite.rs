//! Real rqlite nodes: clusters that end with this process, and single nodes with an empty database.
//!
//! `KV_TEST_RQLITE_URL` names another server for [`Database`]: what it has in tables of kv is removed. `KV_TEST_RQLITE=skip`
//! leaves these tests out, which `.ci/run` refuses.

mod http;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, OnceLock};

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

pub(crate) use self::http::Node;
use super::wait_until;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/rqlite");

/// Nodes that agree on one database, and that a test may kill. They are counted from 0.
pub(crate) struct Cluster {
    url: String,
    nodes: Vec<Node>,
    directory: PathBuf,
    server: Mutex<Server>,
}

impl Cluster {
    /// Starts so many nodes; none when they are to be skipped.
    pub(crate) fn start(nodes: usize) -> Option<Cluster> {
        Cluster::start_with(nodes, &[])
    }

    /// With options of `tests/servers/rqlite`: `auth`, `tls` and `mutual`.
    pub(crate) fn start_with(nodes: usize, options: &[&str]) -> Option<Cluster> {
        (!is_unwanted()).then(|| Server::start(nodes, options, &std::env::temp_dir()))
    }

    /// The URL of all nodes, with the password if there is one.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The URL of one node.
    pub(crate) fn node_url(&self, node: usize) -> String {
        self.nodes[node].url()
    }

    /// A node, to be asked for anything.
    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// Where the nodes have their files: the certificates in `tls`, and those of the first node in `1`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything that a node has logged since it was started for the first time.
    pub(crate) fn log(&self, node: usize) -> String {
        std::fs::read_to_string(self.file(node, "log")).unwrap()
    }

    /// The process of a node; after a kill the one that it was.
    pub(crate) fn pid(&self, node: usize) -> u32 {
        std::fs::read_to_string(self.file(node, "pid")).unwrap().trim_end().parse().unwrap()
    }

    /// The node that takes itself for the leader. Of several, such as one that was stopped and goes on, it is the last that
    /// was elected.
    pub(crate) fn leader(&self) -> Option<usize> {
        let terms = (0..self.nodes.len()).filter_map(|node| Some((self.term_as_leader(node)?, node)));
        terms.max().map(|(_, node)| node)
    }

    /// The leader, as soon as there is one.
    #[track_caller]
    pub(crate) fn wait_for_leader(&self) -> usize {
        let mut leader = None;
        wait_until("an election", || {
            leader = self.leader();
            leader.is_some()
        });
        leader.unwrap()
    }

    /// Ends a node at once (kill -9), and answers when nothing of it is left.
    pub(crate) fn kill(&self, node: usize) {
        assert_eq!(self.ask("kill", node), "killed");
    }

    /// Starts a node again after [`Cluster::kill`], and answers when it listens, at the same ports. It may not know a
    /// leader yet: see [`Cluster::wait_for_leader`].
    pub(crate) fn restart(&self, node: usize) {
        assert_eq!(self.ask("restart", node), "listening");
    }

    /// Lets a node stand still, as on a computer that sleeps: it accepts connections and answers nothing.
    pub(crate) fn stop(&self, node: usize) {
        self.signal(node, Signal::STOP);
        wait_until("the stop of a node", || states(self.pid(node)).iter().all(|state| *state == 'T'));
    }

    /// Lets a node go on after [`Cluster::stop`].
    pub(crate) fn go_on(&self, node: usize) {
        self.signal(node, Signal::CONT);
    }

    /// The rows that one statement of SQL gives, at the leader; see [`Database::sql`].
    #[track_caller]
    pub(crate) fn sql(&self, text: &str) -> String {
        self.nodes[self.wait_for_leader()].sql(text)
    }

    fn term_as_leader(&self, node: usize) -> Option<u64> {
        let states = states(self.pid(node));
        if states.is_empty() || states.contains(&'T') {
            return None;
        }
        let status = self.nodes[node].json("/status")?;
        let raft = &status["store"]["raft"];
        (raft["state"] == "Leader").then(|| raft["term"].as_u64().unwrap())
    }

    fn file(&self, node: usize, name: &str) -> PathBuf {
        self.directory.join((node + 1).to_string()).join(name)
    }

    fn signal(&self, node: usize, signal: Signal) {
        kill_process(Pid::from_raw(self.pid(node).cast_signed()).unwrap(), signal).unwrap();
    }

    fn ask(&self, request: &str, node: usize) -> String {
        let mut server = self.server.lock().unwrap();
        writeln!(server.requests.as_mut().unwrap(), "{request} {}", node + 1).unwrap();
        server.reply()
    }
}

/// What the threads of a process do, by their letters in proc_pid_stat(5); none when it has ended.
fn states(pid: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let state = |thread: std::io::Result<std::fs::DirEntry>| {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    threads.filter_map(state).collect()
}

/// Whether the tests of rqlite are to be skipped.
fn is_unwanted() -> bool {
    std::env::var("KV_TEST_RQLITE").is_ok_and(|text| {
        assert_eq!(text, "skip", "KV_TEST_RQLITE has one value");
        true
    })
}

/// The process that starts and ends nodes; it does the latter when its standard input is closed, thus also when this
/// process is killed.
struct Server {
    process: Child,
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Server {
    fn start(nodes: usize, options: &[&str], root: &Path) -> Cluster {
        let directory = root.join(format!("kv-rqlite-{}", Uuid::new_v4().simple()));
        let mut process = Command::new(SCRIPT)
            .arg("run")
            .arg(&directory)
            .arg(nodes.to_string())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: what ends this process from the terminal leaves it the time to tidy up.
            .process_group(0)
            .spawn()
            .expect(SCRIPT);
        let requests = process.stdin.take();
        let replies = BufReader::new(process.stdout.take().unwrap());
        let mut server = Server { process, requests, replies };
        let url = server.reply();
        assert!(
            !url.is_empty(),
            "rqlite did not start, and said why on standard error. `scripts/test` builds it, KV_TEST_RQLITED names an \
             rqlited that is already built, KV_TEST_RQLITE=skip leaves its tests out"
        );
        let nodes = Node::all_of(&url, &directory.join("tls"));
        Cluster { url, nodes, directory, server: Mutex::new(server) }
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

/// Where a node need not wait for a disk: in memory, if there is enough of it for the largest values.
fn fast_directory() -> &'static Path {
    const ENOUGH_BYTES: u64 = 2 << 30;
    let memory = Path::new("/dev/shm");
    let free = rustix::fs::statvfs(memory).map_or(0, |state| state.f_bavail * state.f_frsize);
    if free >= ENOUGH_BYTES { memory } else { Path::new("/tmp") }
}

/// A node for a test alone, without tables of kv.
pub(crate) struct Database {
    place: Option<Place>,
    pool: &'static Pool,
}

impl Database {
    /// A node that no other test has; none when it is to be skipped. The nodes are started when they are needed, and used
    /// again: a node has one database, and the tables of kv have the same names in each.
    pub(crate) fn lease() -> Option<Database> {
        static POOL: OnceLock<Pool> = OnceLock::new();
        if is_unwanted() {
            return None;
        }
        Some(POOL.get_or_init(|| Pool::new(std::env::var("KV_TEST_RQLITE_URL").ok())).lease())
    }

    pub(crate) fn url(&self) -> &str {
        &self.place().url
    }

    /// The node, to be asked for anything.
    pub(crate) fn node(&self) -> &Node {
        &self.place().node
    }

    /// The rows that one statement of SQL gives: fields are separated by `|`, and rows by new lines.
    #[track_caller]
    pub(crate) fn sql(&self, text: &str) -> String {
        self.node().sql(text)
    }

    fn place(&self) -> &Place {
        self.place.as_ref().unwrap()
    }

    fn wipe(&self) {
        let tables =
            self.sql(r"select name from sqlite_schema where type = 'table' and name like 'kv\_%' escape '\'");
        let drops: Vec<_> = tables.lines().map(|table| format!(r#"drop table "{table}""#)).collect();
        if !drops.is_empty() {
            self.node().transaction(&drops.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.pool.free.lock().unwrap().extend(self.place.take());
        self.pool.returned.notify_one();
    }
}

/// A server with one database.
struct Place {
    url: String,
    node: Node,
    /// If this process started it.
    _cluster: Option<Cluster>,
}

/// The places that no test has.
struct Pool {
    free: Mutex<Vec<Place>>,
    returned: Condvar,
    /// Otherwise there is one place, of which tests wait for each other.
    starts_nodes: bool,
}

impl Pool {
    fn new(external: Option<String>) -> Pool {
        let starts_nodes = external.is_none();
        let place = external.map(|url| {
            assert!(url.starts_with("http://"), "no authority is known for another server");
            let node = Node::all_of(&url, Path::new("")).remove(0);
            Place { url, node, _cluster: None }
        });
        Pool { free: Mutex::new(Vec::from_iter(place)), returned: Condvar::new(), starts_nodes }
    }

    fn lease(&'static self) -> Database {
        let is_none = |free: &mut Vec<Place>| free.is_empty() && !self.starts_nodes;
        let place = self.returned.wait_while(self.free.lock().unwrap(), is_none).unwrap().pop();
        let place = place.unwrap_or_else(|| {
            let cluster = Server::start(1, &[], fast_directory());
            Place { url: cluster.url.clone(), node: cluster.nodes[0].clone(), _cluster: Some(cluster) }
        });
        let database = Database { place: Some(place), pool: self };
        database.wipe();
        database
    }
}

mod tests;
