//! PgBouncer between kv and the server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::support::Parts;
use crate::readme::run_document_on;
use crate::support::postgres::Cluster;
use crate::support::{Kv, assert_sound, skipped, wait_until};

/// A PgBouncer, which ends with this process.
struct PgBouncer {
    process: Child,
    address: SocketAddr,
}

impl PgBouncer {
    /// In front of the server of a store, for its role.
    fn start(url: &str, mode: &str) -> PgBouncer {
        let Parts { user, password, port, .. } = Parts::of(url);
        let directory = std::env::temp_dir().join(format!("kv-pgbouncer-{}", uuid::Uuid::new_v4().simple()));
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/pgbouncer"))
            .arg("run")
            .args([directory.to_str().unwrap(), &port, mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(process.stdin.as_mut().unwrap(), "{user} {password}").unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port: u16 =
            port.trim_end().parse().expect("PgBouncer did not start, and said why on standard error");
        PgBouncer { process, address: ([127, 0, 0, 1], port).into() }
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn a_session_of_pgbouncer_is_as_good_as_one_of_the_server() {
    let Some(cluster) = Cluster::start() else {
        return skipped("a_session_of_pgbouncer_is_as_good_as_one_of_the_server");
    };
    let bouncer = PgBouncer::start(&cluster.database().url(), "session");
    for text in [include_str!("../../../README.md"), include_str!("../../../docs/protocol.md")] {
        let (database, releases) = (cluster.database(), cluster.database());
        run_document_on(
            "postgres",
            &database.url_by_way_of(bouncer.address),
            &releases.url_by_way_of(bouncer.address),
            text,
        );
    }
    // This one passes over options, so the tables would be made in the schema of somebody else.
    let elsewhere = cluster.database();
    elsewhere.sql("create schema other");
    let parameter = "&options=-c%20search_path%3Dother";
    let url = elsewhere.url_by_way_of(bouncer.address) + parameter;
    let (_, stderr) = Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", &url)]).fails("kv init");
    assert!(stderr.contains("ignore_startup_parameters") && stderr.contains("(unsupported)"), "{stderr}");
    assert_eq!(elsewhere.sql("select count(*) from pg_tables where tablename like 'kv%'"), "0");
    Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", &(elsewhere.url() + parameter))]).ok("kv init");
    // Another daemon, past PgBouncer, is heard at once.
    let database = cluster.database();
    let (near, far) = (database.url(), database.url_by_way_of(bouncer.address));
    let (near, far) = (Kv::with(&[("KV_CONNECTION", &near)]), Kv::with(&[("KV_CONNECTION", &far)]));
    far.ok("export KV_TYPE=postgres; kv init; kv put a --value 1");
    let mut watch =
        far.command("kv").args(["--type", "postgres", "watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let listeners = "select count(*) from pg_stat_activity where query like 'listen %'";
    wait_until("somebody who listens", || database.sql(listeners) == "1");
    near.ok("kv --type postgres put b --value 2");
    assert!(lines.next().unwrap().unwrap().contains("\"key\":\"b\""));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_pool_of_transactions_is_refused_and_told_what_is_needed() {
    let Some(cluster) = Cluster::start() else {
        return skipped("a_pool_of_transactions_is_refused_and_told_what_is_needed");
    };
    for mode in ["transaction", "statement"] {
        let database = cluster.database();
        let bouncer = PgBouncer::start(&database.url(), mode);
        let (direct, url) = (database.url(), database.url_by_way_of(bouncer.address));
        Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", &direct)]).ok("kv init; kv put x --value 1");
        let kv = Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", &url)]);
        // A daemon has two connections by then.
        let told =
            String::from_utf8(kv.shell("kv get x; kv put x --value 2; kv get x; kv put x --value 3").stderr)
                .unwrap();
        assert!(told.contains("pool_mode = session") && told.contains("(unsupported)"), "{mode}: {told}");
        // Whoever gets through, is told the truth.
        let script = "for i in 1 2 3 4 5 6 7 8; do (for n in 1 2 3 4 5; do
                kv --daemon=never put k$i/$n --value 1 --print-version || echo $? >&2; done) & done; wait";
        let output = kv.shell(script);
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        // The pooler also ends connections, in the middle of what they do: what is known to have failed is told so, and what
        // is not known is told that.
        let ends = |code: &str| err.lines().filter(|line| *line == code).count();
        let (written, failed, unknown) = (out.lines().count(), ends("1") + ends("6"), ends("8"));
        assert_eq!(written + failed + unknown, 40, "{mode}: {err}");
        assert_eq!(err.matches("pool_mode = session").count(), err.matches("(unsupported)").count(), "{err}");
        let there: usize =
            database.sql("select count(*) from kv.kv_record where key like 'k%'").parse().unwrap();
        assert!((written..=written + unknown).contains(&there), "{mode}: {there} of {written}, {err}");
        assert_sound(&kv::store::Address::parse(kv::store::EngineKind::Postgres, &direct).unwrap());
    }
}
