//! The nodes of the tests are what they take them for.

use std::net::TcpStream;
use std::time::Duration;

use super::*;
use crate::support::{is_alive, skipped};

/// Whether a node itself has what the others were told. That it takes itself for ready is not enough: one that was the
/// leader and goes on does so until it hears of the other.
fn has_the_row(node: &Node) -> bool {
    let rows = node.request("GET", "/db/query?level=none&q=select%20i%20from%20t", "");
    rows.is_ok_and(|answer| answer.body.contains(r#""values":[[1]]"#))
}

#[test]
fn a_killed_leader_has_a_successor_and_comes_back() {
    let Some(cluster) = Cluster::start(3) else {
        return skipped("a_killed_leader_has_a_successor_and_comes_back");
    };
    assert_eq!(cluster.url().split(',').count(), 3);
    assert!(cluster.url().starts_with(&cluster.node_url(0)), "{}", cluster.url());
    cluster.sql("create table t (i int)");
    let first = cluster.wait_for_leader();
    let pid = cluster.pid(first);
    cluster.kill(first);
    assert!(!is_alive(pid));
    assert!(TcpStream::connect(cluster.node(first).address()).is_err());
    let second = cluster.wait_for_leader();
    assert_ne!(first, second);
    cluster.sql("insert into t values (1)");
    cluster.restart(first);
    assert_ne!(cluster.pid(first), pid);
    wait_until("the return of the node", || has_the_row(cluster.node(first)));
}

/// It steps down when it has lost the others, and leads again, or another does, when they are back.
#[test]
fn one_of_three_does_not_lead() {
    let Some(cluster) = Cluster::start(3) else { return skipped("one_of_three_does_not_lead") };
    let first = cluster.wait_for_leader();
    let others = [(first + 1) % 3, (first + 2) % 3];
    others.iter().for_each(|node| cluster.kill(*node));
    wait_until("the end of the leadership", || cluster.leader().is_none());
    others.iter().for_each(|node| cluster.restart(*node));
    cluster.sql("create table t (i int)");
}

#[test]
fn a_stopped_node_goes_on() {
    let Some(cluster) = Cluster::start(3) else { return skipped("a_stopped_node_goes_on") };
    let first = cluster.wait_for_leader();
    cluster.sql("create table t (i int)");
    cluster.stop(first);
    assert_ne!(cluster.wait_for_leader(), first);
    cluster.sql("insert into t values (1)");
    cluster.go_on(first);
    wait_until("the return of the node", || has_the_row(cluster.node(first)));
    // One alone goes on as the leader that it was.
    let Some(single) = Cluster::start(1) else { unreachable!() };
    single.stop(0);
    assert_eq!(single.leader(), None);
    single.go_on(0);
    assert_eq!(single.sql("select null, 1, 'a' union all select 2.5, 'b', 'c'"), "|1|a\n2.5|b|c");
}

#[test]
fn a_leased_database_is_empty() {
    let Some(shared) = Database::lease() else { return skipped("a_leased_database_is_empty") };
    let tables = "select count(*) from sqlite_schema where name like 'kv%'";
    assert_eq!(shared.sql(tables), "0");
    // What all tests lease may be another server, which nobody has twice.
    let pool: &'static Pool = Box::leak(Box::new(Pool::new(None)));
    let database = pool.lease();
    assert_eq!(database.sql(tables), "0");
    database.sql("create table kv_one (i integer primary key, t text unique)");
    database.sql("create table kv_two (i int)");
    database.sql("create index kv_two_i on kv_two (i)");
    assert_eq!(database.sql("select count(*) from kv_one"), "0");
    let other = pool.lease();
    assert_ne!(other.url(), database.url());
    assert_eq!(other.sql(tables), "0");
    let used = database.url().to_owned();
    drop(database);
    let again = pool.lease();
    assert_eq!((again.url(), again.sql(tables)), (&used[..], "0".to_owned()));
}

/// The same place, again and again.
#[test]
fn a_database_is_wiped_before_it_is_leased_again() {
    let Some(cluster) = Cluster::start(1) else {
        return skipped("a_database_is_wiped_before_it_is_leased_again");
    };
    let pool: &'static Pool = Box::leak(Box::new(Pool::new(Some(cluster.url().to_owned()))));
    let threads: [_; 4] = std::array::from_fn(|_| {
        std::thread::spawn(|| {
            for _ in 0..5 {
                let database = pool.lease();
                // What fails when another has the database too.
                database.sql("create table kv_records (i int)");
                database.sql("create view v as select 1");
                database.sql("drop view v");
            }
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(pool.lease().sql("select count(*) from sqlite_schema"), "0");
}

#[test]
fn nobody_is_let_in_without_the_password() {
    let Some(cluster) = Cluster::start_with(3, &["auth"]) else {
        return skipped("nobody_is_let_in_without_the_password");
    };
    cluster.sql("create table t (i int)");
    let (user, password) = cluster.node(0).credentials.split_once(':').unwrap();
    assert_eq!(user, "admin");
    assert!(cluster.url().contains(password) && cluster.node_url(1).contains(password));
    for node in 0..3 {
        assert!(!cluster.log(node).contains(password));
        for wrong in ["", "admin:wrong", "kv:wrong"] {
            let stranger = Node { credentials: wrong.to_owned(), ..cluster.node(node).clone() };
            let answer = stranger.request("POST", "/db/query", r#"["select 1"]"#).unwrap();
            assert_eq!((answer.status, answer.body.contains("values")), (401, false));
        }
    }
}

#[test]
fn a_node_shows_its_certificate_and_asks_for_one() {
    let Some(cluster) = Cluster::start_with(1, &["tls"]) else {
        return skipped("a_node_shows_its_certificate_and_asks_for_one");
    };
    assert!(cluster.url().starts_with("https://127.0.0.1:"));
    assert_eq!(cluster.sql("select 1"), "1");
    let certificates = cluster.directory().join("tls");
    let [wrong_name] = &Node::all_of(&cluster.url().replace("127.0.0.1", "localhost"), &certificates)[..]
    else {
        panic!("one node has one address");
    };
    let refused = wrong_name.request("GET", "/readyz", "").err().unwrap().to_string();
    assert!(refused.contains("certificate not valid for name"), "{refused}");

    let Some(mutual) = Cluster::start_with(3, &["mutual", "auth"]) else { unreachable!() };
    assert_eq!(mutual.sql("select 1"), "1");
    // The user of another cluster.
    let url = mutual.node_url(0);
    for name in ["user.crt", "user.key"] {
        std::fs::copy(certificates.join(name), mutual.directory().join("tls").join(name)).unwrap();
    }
    let stranger = Node::all_of(&url, &mutual.directory().join("tls")).remove(0);
    assert!(stranger.request("GET", "/readyz", "").is_err());
}

/// The test runs itself: the copy starts a cluster, says where, and is killed.
#[test]
fn nodes_end_with_the_process_that_started_them() {
    const NAME: &str = "support::rqlite::tests::nodes_end_with_the_process_that_started_them";
    const COPY: &str = "KV_TEST_STARTS_A_CLUSTER";
    if std::env::var_os(COPY).is_some() {
        let cluster = Cluster::start(2).unwrap();
        let pids = format!("{} {}", cluster.pid(0), cluster.pid(1));
        writeln!(std::io::stdout(), "\nstarted {pids} {}", cluster.directory().display()).unwrap();
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    if is_unwanted() {
        return skipped("nodes_end_with_the_process_that_started_them");
    }
    let mut copy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(COPY, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(copy.stdout.take().unwrap()).lines().map(Result::unwrap);
    let started = lines.find_map(|line| line.strip_prefix("started ").map(str::to_owned)).unwrap();
    let [one, two, directory] = &started.split(' ').collect::<Vec<_>>()[..] else { panic!("{started}") };
    let pids = [one, two].map(|pid| pid.parse().unwrap());
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    copy.kill().unwrap();
    copy.wait().unwrap();
    wait_until("the end of the nodes", || {
        !pids.iter().any(|pid| is_alive(*pid)) && !Path::new(directory).exists()
    });
}
