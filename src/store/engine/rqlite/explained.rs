//! What each statement of the engine costs, as SQLite plans it: a node shows no plans of what it is sent with `noparse`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use super::statement::tests::sent;
use crate::store::engine::explained::run_every_statement;
use crate::store::engine::sqlite::explained::assert_bounded;
use crate::store::{Address, Clock, EngineKind, LocalStore};

/// A node of the tests, which goes with this.
struct Node {
    /// Ends when its standard input is closed.
    process: Child,
    url: String,
}

impl Node {
    /// None when the tests of rqlite are to be skipped.
    fn start() -> Option<Node> {
        if std::env::var_os("KV_TEST_RQLITE").is_some() {
            return None;
        }
        let directory = std::env::temp_dir().join(format!("kv-rqlite-{}", uuid::Uuid::new_v4().simple()));
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/rqlite"))
            .arg("run")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "rqlite did not start, and said why on standard error");
        Some(Node { process, url: url.trim_end().to_owned() })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Tables as a store in use has them, and what `PRAGMA optimize`, which nodes run each day, makes known of them.
const FILL: &str = "
    create temp table n as with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i from n;
    insert or replace into kv_meta (one, store_id, epoch, head, first, last_ms) values (1, 's', 'e', 5000, 1, 0);
    insert into kv_record select 'k' || i, 1, i, case when i % 3 > 0 then 'type' || i % 7 end, 0, 0, case when i % 5 = 0 then i end, '{}'
        from n;
    insert into kv_stream select i, i, 1, 'create', 0, 'k' || i, 1, i, null, 0, 0, '{}', null from n;
    insert into kv_lock (name, owner, fence, expires) select 'l' || i, 'o', i, 0 from n;
    insert into kv_consumer (name, position) select 'c' || i, i from n;
    insert into kv_once select 'o' || i, '', '', i from n;
    insert into kv_batch select 'b' || i, i from n;
    drop table n;
    analyze";

/// A statement that sorts, or looks through a table without a limit, is fast in every test and slow in every store.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_sorts_or_scans_without_a_bound() {
    let Some(node) = Node::start() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED for want of rqlite: the plans of its statements");
        return;
    };
    let store = LocalStore::open(&Address::parse(EngineKind::Rqlite, &node.url).unwrap(), Clock::System);
    run_every_statement(&store).await;
    store.close().await;
    for fill in ["", FILL] {
        let explained = assert_bounded(&sent(), fill);
        assert!(explained > 40, "{explained} statements");
    }
}
