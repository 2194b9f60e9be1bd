//! Databases of the Go original, by its documented schema.

use kv::protocol::RecordBody;
use kv::store::Record;
use rusqlite::Connection;

use crate::support::{Kv, postgres, rqlite, skipped};

/// The tables of the original in a database of SQLite; on PostgreSQL they have other types.
const TABLES: [&str; 2] = [
    "create table kv (key text primary key, version integer not null, value jsonb not null, type text not null, created text not null) without rowid",
    "create table stream (seq integer primary key autoincrement, action text not null, key text not null, version integer not null, value jsonb not null, type text not null, created text not null)",
];

const POSTGRES_TABLES: &str = "create table kv (key text primary key, version integer not null, value jsonb not null, type text not null, created timestamptz not null)";

/// A row: key, version, value, type and time.
const ROWS: [(&str, u32, &str, &str, &str); 6] = [
    ("user/1", 3, r#"{"name":"Ada","n":9007199254740993}"#, "User", "2024-05-06T07:08:09.123456789+02:00"),
    ("it''s %_", 1, r#"["\"", "é", null, 1.50]"#, "map[string]interface {}", "2024-05-06T07:08:09Z"),
    ("日本", 1, "true", "", "2024-12-31T23:30:00.5-07:30"),
    ("github.com/a-h/kv/stream/mailer", 9, r#"{"seq":4}"#, "StreamConsumerState", "2024-05-06T07:08:09Z"),
    ("github.com/a-h/kv/streams", 1, "1", "", "2024-05-06T07:08:09Z"),
    ("upper/A", 2, "\"text\"", "User", "2024-05-06T07:08:09Z"),
];

/// What kv has of them: key, version, type, both times, and the value.
const TAKEN_OVER: &[&str] = &[
    r#"github.com/a-h/kv/streams 1 None 2024-05-06T07:08:09.000Z 2024-05-06T07:08:09.000Z 1"#,
    r#"it's %_ 1 Some("map[string]interface {}") 2024-05-06T07:08:09.000Z 2024-05-06T07:08:09.000Z ["\"","é",null,1.50]"#,
    r#"upper/A 2 Some("User") 2024-05-06T07:08:09.000Z 2024-05-06T07:08:09.000Z "text""#,
    r#"user/1 3 Some("User") 2024-05-06T05:08:09.123Z 2024-05-06T05:08:09.123Z {"name":"Ada","n":9007199254740993}"#,
    r#"日本 1 None 2025-01-01T07:00:00.500Z 2025-01-01T07:00:00.500Z true"#,
];

const TOLD: &str = "1 position of consumers left out: the changes of the original are numbered in another way than those of kv\n";

/// A statement for each row; `value` makes a value of a text.
fn inserts(value: &str) -> Vec<String> {
    let insert = |(key, version, text, record_type, created): &(&str, u32, &str, &str, &str)| {
        let value = value.replace('?', &format!("'{text}'"));
        format!("insert into kv values ('{key}', {version}, {value}, '{record_type}', '{created}')")
    };
    ROWS.iter().map(insert).collect()
}

/// Asserts that a store has what the original had.
fn assert_taken_over(kv: &Kv, options: &str) {
    let found: Vec<String> = kv
        .ok(&format!("kv {options} list --output ndjson"))
        .lines()
        .map(|line| {
            let record: Record = serde_json::from_str::<RecordBody>(line).unwrap().into();
            let Record { key, version, record_type, created, updated, value, .. } = record;
            format!("{key} {version} {record_type:?} {created} {updated} {value}")
        })
        // PostgreSQL orders the members of an object.
        .map(|line| {
            line.replace(r#"{"n":9007199254740993,"name":"Ada"}"#, r#"{"name":"Ada","n":9007199254740993}"#)
        })
        .collect();
    assert_eq!(found, TAKEN_OVER);
}

/// A file of the original, which this connection has open.
fn file(kv: &Kv, name: &str, statements: &[String]) -> Connection {
    let connection = Connection::open(kv.directory.path().join(name)).unwrap();
    connection.execute_batch(&statements.join(";")).unwrap();
    connection
}

/// The statements that make the tables and the rows.
fn statements(value: &str) -> Vec<String> {
    [&TABLES.map(str::to_owned)[..], &inserts(value)].concat()
}

#[test]
fn a_file_is_taken_over_and_not_changed() {
    for value in ["jsonb(?)", "?"] {
        let kv = Kv::new();
        drop(file(&kv, "go.db", &statements(value)));
        kv.ok("sha256sum go.db >before; kv init");
        let told = kv.ok("kv import --from-go go.db 2>&1");
        assert_eq!(told, format!("{TOLD}5 created, 0 updated, 0 unchanged, 0 skipped, 0 expired\n"));
        assert_taken_over(&kv, "");
        assert_eq!(
            kv.ok("kv import --from-go ./go.db; sha256sum --check --quiet before; ls go.db*"),
            "go.db\n"
        );
    }
}

/// As its pool leaves it: what was written last is in the log.
#[test]
fn a_file_with_a_log_is_taken_over() {
    let kv = Kv::new();
    let statements = [&["pragma journal_mode = wal".to_owned()][..], &statements("jsonb(?)")].concat();
    let connection = file(&kv, "go.db", &statements);
    kv.ok("cp go.db left.db; cp go.db-wal left.db-wal; [ -s left.db-wal ]");
    for (name, store) in [("left.db", "left-store.db"), ("go.db", "used-store.db")] {
        let options = format!("--connection {store}");
        kv.ok(&format!("kv {options} init; kv {options} import --from-go {name}"));
        assert_taken_over(&kv, &options);
    }
    drop(connection);
}

#[test]
fn more_than_a_page_is_taken_over() {
    let kv = Kv::new();
    let fill = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
        insert into kv select 'k' || i, 1, jsonb('\"' || hex(zeroblob(1000)) || '\"'), '', '2024-05-06T07:08:09Z' from n";
    drop(file(&kv, "go.db", &[TABLES[0].to_owned(), fill.to_owned()]));
    assert_eq!(
        kv.ok("kv init 2>/dev/null; kv import --from-go go.db 2>&1"),
        "2500 created, 0 updated, 0 unchanged, 0 skipped, 0 expired\n"
    );
    assert_eq!(kv.ok("kv count all"), "2500\n");
}

#[test]
fn what_is_no_database_of_the_original_is_refused() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop");
    drop(file(&kv, "other.db", &["create table t (a)".to_owned()]));
    for word in ["data.db", "other.db", "missing.db"] {
        let (code, told) = kv.fails(&format!("kv import --from-go {word}"));
        assert_eq!((code, told.contains("no table kv of the Go original")), (2, true), "{word}: {told}");
    }
    let row = "insert into kv values ('', 1, '1', '', '2024-05-06T07:08:09Z')";
    let connection = file(&kv, "go.db", &[TABLES[0].to_owned(), row.to_owned()]);
    let (code, told) = kv.fails("kv import --from-go go.db");
    assert_eq!((code, told.contains("the record \"\": a key has")), (2, true), "{told}");
    connection.execute_batch("update kv set key = 'bad', created = 'monday'").unwrap();
    let (code, told) = kv.fails("kv import --from-go go.db");
    assert_eq!((code, told.contains("\"bad\"") && told.contains("monday")), (2, true), "{told}");
}

/// The store of kv is in the same database.
#[test]
fn a_database_on_a_server_is_taken_over() {
    let name = "a database on a server is taken over";
    let kv = Kv::new();
    let Some(cluster) = postgres::Cluster::shared() else { return skipped(name) };
    let database = cluster.database();
    database.sql(&format!("{POSTGRES_TABLES}; {}", inserts("?").join(";")));
    let options = format!("--type postgres --connection '{}'", database.url());
    kv.ok(&format!("kv {options} init; kv {options} import --from-go '{}'", database.url()));
    assert_taken_over(&kv, &options);
    assert_eq!(database.sql("select count(*) from public.kv"), "6");
    kv.ok(&format!("kv {options} daemon stop"));
}

/// The store of kv is on the same nodes.
#[test]
fn a_database_on_nodes_is_taken_over() {
    let kv = Kv::new();
    let Some(cluster) = rqlite::Cluster::start(1) else {
        return skipped("a database on nodes is taken over");
    };
    let statements = statements("jsonb(?)");
    cluster.wait_for_leader();
    cluster.node(0).transaction(&statements.iter().map(String::as_str).collect::<Vec<_>>());
    let options = format!("--type rqlite --connection '{}'", cluster.url());
    kv.ok(&format!("kv {options} init; kv {options} import --from-go '{}'", cluster.url()));
    assert_taken_over(&kv, &options);
    kv.ok(&format!("kv {options} daemon stop"));
}
