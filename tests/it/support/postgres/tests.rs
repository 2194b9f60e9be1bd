//! The server of the tests is what they take it for.

use std::time::Duration;

use super::*;
use crate::support::slow_link::SlowLink;
use crate::support::{is_alive, skipped, wait_until};

#[test]
fn a_database_is_empty_and_not_sorted_by_bytes() {
    let Some(cluster) = Cluster::shared() else {
        return skipped("a_database_is_empty_and_not_sorted_by_bytes");
    };
    let database = cluster.database();
    assert_eq!(database.sql(r#"select 'a' < 'B', 'a' < 'B' collate "C""#), "t|f");
    assert_eq!(database.sql("show server_encoding"), "UTF8");
    assert_eq!(sql(&Location::parse(&database.url()), "select current_database()"), database.name);
    assert_eq!(database.sql("select rolsuper from pg_roles where rolname = current_user"), "f");
    database.sql("create table t (i int)");
    let other = cluster.database();
    assert_eq!(other.sql("select count(*) from pg_class where relname = 't'"), "0");
    let count = format!("select count(*) from pg_database where datname = '{}'", database.name);
    assert_eq!(cluster.sql(&count), "1");
    drop(database);
    assert_eq!(cluster.sql(&count), "0");
}

/// The password is asked for, and the administrator is another role.
#[test]
fn roles_have_passwords() {
    let Some(cluster) = Cluster::start() else { return skipped("roles_have_passwords") };
    let database = cluster.database();
    let administrator = Location::parse(&cluster.administrator_url(&database));
    assert_eq!(sql(&administrator, "select rolsuper from pg_roles where rolname = current_user"), "t");
    assert_eq!(sql(&administrator, "show fsync"), "on");
    let stranger = Location { credentials: "kv:wrong".to_owned(), ..administrator.clone() };
    assert!(!psql(&stranger, "select 1").stderr(Stdio::null()).status().unwrap().success());
    // By the socket too: a directory in place of the host.
    let directory = cluster.server.as_ref().unwrap().lock().unwrap().directory.clone();
    let (_, port) = administrator.host.split_once(':').unwrap();
    let socket = format!("host={}&port={port}", directory.display());
    let local = |credentials: &str| Location {
        credentials: credentials.to_owned(),
        host: String::new(),
        parameters: socket.clone(),
        ..administrator.clone()
    };
    assert_eq!(sql(&local(&administrator.credentials), "select 1"), "1");
    assert!(!psql(&local("kv:wrong"), "select 1").stderr(Stdio::null()).status().unwrap().success());
}

#[test]
fn what_was_committed_survives_a_kill() {
    let Some(cluster) = Cluster::start() else { return skipped("what_was_committed_survives_a_kill") };
    let database = cluster.database();
    database.sql("create table t (i int); insert into t values (1)");
    for round in 1..=2 {
        let mut session = database.session("select pg_sleep(600)").stderr(Stdio::null()).spawn().unwrap();
        let sessions = "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)'";
        wait_until("the session", || cluster.sql(sessions) == "1");
        cluster.kill();
        assert!(!session.wait().unwrap().success());
        assert!(std::net::TcpStream::connect(cluster.address()).is_err());
        cluster.restart();
        database.sql("insert into t values (1)");
        assert_eq!(database.sql("select count(*) from t"), (round + 1).to_string());
    }
    let directory = cluster.server.as_ref().unwrap().lock().unwrap().directory.clone();
    drop(cluster);
    assert!(!directory.exists());
}

#[test]
fn the_sessions_of_one_database_are_ended() {
    let Some(cluster) = Cluster::shared() else {
        return skipped("the_sessions_of_one_database_are_ended");
    };
    let (database, other) = (cluster.database(), cluster.database());
    let sleep = |database: &Database| database.session("select pg_sleep(600)").stderr(Stdio::null()).spawn();
    let (mut session, mut of_other) = (sleep(&database).unwrap(), sleep(&other).unwrap());
    let asleep = |name: &str| {
        cluster.sql(&format!("select count(*) from pg_stat_activity where datname = '{name}'")) == "1"
    };
    wait_until("the sessions", || asleep(&database.name) && asleep(&other.name));
    assert_eq!(database.terminate_backends(), 1);
    assert!(!session.wait().unwrap().success());
    assert!(of_other.try_wait().unwrap().is_none());
    of_other.kill().unwrap();
    of_other.wait().unwrap();
}

#[test]
fn a_database_is_reached_over_a_slow_link() {
    let Some(cluster) = Cluster::shared() else {
        return skipped("a_database_is_reached_over_a_slow_link");
    };
    let database = cluster.database();
    let delay = Duration::from_millis(20);
    let link = SlowLink::to(cluster.address(), delay);
    let far = Location::parse(&database.url_by_way_of(link.address()));
    let started = std::time::Instant::now();
    assert_eq!(sql(&far, "select 1"), "1");
    // To log in and to ask are several round trips.
    assert!(started.elapsed() > 4 * delay);
    link.cut();
    assert!(!psql(&far, "select 1").stderr(Stdio::null()).status().unwrap().success());
}

/// The test runs itself: the copy starts a cluster, says where, and is killed.
#[test]
fn a_cluster_ends_with_the_process_that_started_it() {
    const NAME: &str = "support::postgres::tests::a_cluster_ends_with_the_process_that_started_it";
    const COPY: &str = "KV_TEST_STARTS_A_CLUSTER";
    if std::env::var_os(COPY).is_some() {
        let cluster = Cluster::start().unwrap();
        let directory = cluster.server.as_ref().unwrap().lock().unwrap().directory.clone();
        writeln!(std::io::stdout(), "\nstarted {}", directory.display()).unwrap();
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    if is_unwanted() {
        return skipped("a_cluster_ends_with_the_process_that_started_it");
    }
    let mut copy = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(COPY, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(copy.stdout.take().unwrap()).lines().map(Result::unwrap);
    let directory = lines.find_map(|line| line.strip_prefix("started ").map(PathBuf::from)).unwrap();
    let lock = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    let server = lock.lines().next().unwrap().parse().unwrap();
    assert!(is_alive(server));
    copy.kill().unwrap();
    copy.wait().unwrap();
    wait_until("the end of the server", || !is_alive(server) && !directory.exists());
}
