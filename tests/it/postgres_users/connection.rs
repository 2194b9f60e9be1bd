//! How a store on a server is named: connection strings, variables, files.

use super::support::Parts;
use crate::support::postgres::{Cluster, Database};
use crate::support::{Kv, skipped};

/// A database with a store, in which `x` is 1.
fn filled(cluster: &Cluster) -> Database {
    let database = cluster.database();
    let kv = Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", &database.url())]);
    kv.ok("kv init; kv put x --value 1");
    database
}

#[test]
fn the_variables_of_libpq_are_enough() {
    let Some(cluster) = Cluster::shared() else { return skipped("the_variables_of_libpq_are_enough") };
    let database = filled(cluster);
    let Parts { user, password, host, port, dbname } = Parts::of(&database.url());
    let kv = Kv::with(&[
        ("PGHOST", &host),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("PGDATABASE", &dbname),
        ("PGAPPNAME", "the tests"),
        ("PGCONNECT_TIMEOUT", "7"),
        ("PGSSLMODE", "disable"),
    ]);
    assert_eq!(kv.ok("kv --type postgres get key x"), "1\n");
    assert_eq!(kv.ok("KV_TYPE=postgres kv get key x"), "1\n");
    assert_eq!(kv.ok("kv --type postgres --daemon=never get key x"), "1\n");
    let sessions = "select distinct application_name from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()";
    assert_eq!(database.sql(sessions), "the tests");
    // What a command is told stands before what the environment says.
    assert_eq!(
        kv.ok(&format!(
            "PGDATABASE=none PGPORT=1 kv --type postgres --connection 'postgres://:{port}/{dbname}' get x"
        )),
        "1\n"
    );
    kv.ok("kv --type postgres daemon stop");
    // Another schema, by the environment and by the connection string.
    database.sql("create schema other");
    kv.ok("export PGOPTIONS='-c search_path=other'; kv --type postgres init; kv --type postgres put y --value 2");
    assert_eq!(database.sql("select count(*) from other.kv_record"), "1");
    let other =
        "--type postgres --connection 'postgres://?options=-c%20search_path%3Dother&application_name=mine'";
    assert_eq!(kv.ok(&format!("kv {other} list --keys-only --output ndjson")), "\"y\"\n");
    assert_eq!(kv.ok("kv --type postgres list --keys-only --output ndjson"), "\"x\"\n");
}

#[test]
fn a_password_file_and_a_service_are_read() {
    let Some(cluster) = Cluster::shared() else { return skipped("a_password_file_and_a_service_are_read") };
    let database = filled(cluster);
    let Parts { user, password, host, port, dbname } = Parts::of(&database.url());
    let files = format!(
        "umask 077; echo '{host}:{port}:*:{user}:{password}' > secrets; mkdir elsewhere
        printf '%s\n' '[shop]' host={host} port={port} user={user} dbname={dbname} sslmode=disable > services"
    );
    let uri = format!("postgres://{user}@{host}:{port}/{dbname}?sslmode=disable");
    for text in [
        format!("mv secrets .pgpass; kv --connection '{uri}' get x"),
        format!("cd elsewhere; PGPASSFILE=../secrets kv --connection '{uri}' get x"),
        format!("kv --connection '{uri}&passfile=secrets' get x"),
        "cp services .pg_service.conf; PGPASSFILE=secrets PGSERVICE=shop kv get x".to_owned(),
        "PGPASSFILE=secrets PGSERVICE=shop PGSERVICEFILE=services kv get x".to_owned(),
        "PGPASSFILE=secrets PGSERVICEFILE=services kv --connection 'postgres://?service=shop' get x"
            .to_owned(),
    ] {
        // The daemon of one would be there for the others.
        let kv = Kv::with(&[("KV_TYPE", "postgres")]);
        assert_eq!(kv.ok(&format!("{files}; {text}")), "1\n", "{text}");
    }
    let kv = Kv::new();
    let (code, stderr) = kv.fails("PGSERVICE=nobody kv --type postgres get x");
    assert!(code == 2 && stderr.contains("\"nobody\"") && stderr.contains("hint: "), "{code} {stderr}");
}

#[test]
fn the_next_host_is_asked_when_one_is_dead() {
    let Some(cluster) = Cluster::shared() else { return skipped("the_next_host_is_asked_when_one_is_dead") };
    let database = filled(cluster);
    let Parts { user, password, host, port, dbname } = Parts::of(&database.url());
    let kv = Kv::with(&[("KV_TYPE", "postgres"), ("PGPASSWORD", &password)]);
    for uri in [
        format!("postgres://{user}@{host}:1,{host}:{port}/{dbname}?connect_timeout=3"),
        format!("postgres:///{dbname}?user={user}&host=127.0.0.1,{host}&port=1,{port}&connect_timeout=2"),
        format!("postgres:///{dbname}?user={user}&hostaddr=127.0.0.1,{host}&port=1,{port}"),
        format!("postgres:///{dbname}?user={user}&host=no-such-host.invalid,{host}&port={port}"),
        format!("postgres:///{dbname}?user={user}&host=/nowhere,{host}&port={port}"),
    ] {
        assert_eq!(kv.ok(&format!("kv --connection '{uri}&sslmode=disable' get x")).as_str(), "1\n", "{uri}");
    }
    let (code, stderr) =
        kv.fails(&format!("kv --connection 'postgres://{user}@{host}:1,{host}:2/{dbname}' get x"));
    assert!(
        code == 6 && stderr.contains(&format!("{host}:1")) && stderr.contains(&format!("{host}:2")),
        "{stderr}"
    );
    assert!(!stderr.contains(&password), "{stderr}");
}

#[test]
fn the_directory_of_a_socket_is_a_host() {
    let Some(cluster) = Cluster::start() else { return skipped("the_directory_of_a_socket_is_a_host") };
    let database = filled(&cluster);
    let Parts { user, password, port, dbname, .. } = Parts::of(&database.url());
    let directory = cluster.directory();
    let directory = directory.to_str().unwrap();
    let kv = Kv::with(&[("KV_TYPE", "postgres"), ("PGPASSWORD", &password)]);
    let mut daemons = Vec::new();
    for connection in [
        format!("KV_CONNECTION=postgres://{user}@{}:{port}/{dbname}", directory.replace('/', "%2F")),
        format!(
            "KV_CONNECTION='postgres:///{dbname}?user={user}&host={directory}&port={port}&sslmode=verify-full'"
        ),
        format!("PGHOST={directory} PGPORT={port} PGUSER={user} PGDATABASE={dbname} PGSSLMODE=require"),
    ] {
        assert_eq!(kv.ok(&format!("{connection} kv get x")), "1\n", "{connection}");
        daemons.push(kv.ok(&format!("{connection} kv daemon status | jq .pid")));
    }
    daemons.dedup();
    assert_eq!(daemons.len(), 1, "encryption says nothing about a socket");
}

#[test]
fn one_store_has_one_daemon_however_it_is_written() {
    let Some(cluster) = Cluster::shared() else {
        return skipped("one_store_has_one_daemon_however_it_is_written");
    };
    let (database, other) = (filled(cluster), filled(cluster));
    let Parts { user, password, host, port, dbname } = Parts::of(&database.url());
    let kv = Kv::with(&[("KV_TYPE", "postgres"), ("PGSSLMODE", "disable"), ("PGPASSWORD", &password)]);
    let pid = |connection: &str| {
        kv.ok(&format!("{connection} kv daemon start; {connection} kv daemon status | jq .pid"))
    };
    let first = pid(&format!("KV_CONNECTION=postgres://{user}:{password}@{host}:{port}/{dbname}"));
    for same in [
        format!("KV_CONNECTION=postgresql://{user}@{host}:{port}/{dbname}"),
        format!("KV_CONNECTION='postgres://{host}/{dbname}?port={port}&user={user}&sslmode=disable'"),
        format!("KV_CONNECTION='postgres:///{dbname}?hostaddr={host}&port={port}&user={user}'"),
        format!(
            "KV_CONNECTION='postgres://{user}@{host}:{port}/{dbname}?connect_timeout=9&application_name=x'"
        ),
        format!("PGHOST={host} PGPORT={port} PGUSER={user} PGDATABASE={dbname}"),
        format!(
            "PGHOST={host} PGPORT=0{port} PGUSER={user} KV_CONNECTION=postgres:///%{:x}{}",
            dbname.as_bytes()[0],
            &dbname[1..]
        ),
    ] {
        assert_eq!(pid(&same), first, "{same}");
    }
    let another_database =
        format!("KV_CONNECTION=postgres://{user}@{host}:{port}/{}", Parts::of(&other.url()).dbname);
    assert_ne!(pid(&another_database), first);
    // Who asks for encryption is not served by a connection without.
    assert_ne!(
        pid(&format!("PGSSLMODE=require KV_CONNECTION=postgres://{user}@{host}:{port}/{dbname}")),
        first
    );
    // A socket that was chosen is of one store as well.
    let chosen = format!("KV_SOCKET=$PWD/s KV_CONNECTION=postgres://{user}@{host}:{port}/{dbname}");
    assert_eq!(
        kv.ok(&format!("{chosen} kv get x; PGOPTIONS='-c search_path=a' kv --socket s get x")),
        "1\n1\n"
    );
    for wrong in [
        format!("KV_SOCKET=s {another_database} kv get x"),
        "kv --socket s --type sqlite --connection data.db init".to_owned(),
    ] {
        let (code, stderr) = kv.fails(&wrong);
        assert!(code == 6 && stderr.contains(&dbname), "{wrong}: {code} {stderr}");
        assert!(!stderr.contains(&password), "{stderr}");
    }
}

#[test]
fn a_parameter_that_cannot_be_followed_is_named_and_its_value_is_not() {
    let kv = Kv::with(&[("KV_TYPE", "postgres")]);
    for (words, code, name) in [
        ("kv --connection 'postgres://h/d?pasword=canary' get x", 2, "pasword"),
        ("kv --connection 'postgres://h/d?sslmode=canary' get x", 2, "sslmode"),
        ("kv --connection 'postgres://h/d?sslcrl=canary' get x", 1, "sslcrl"),
        ("kv --connection 'postgres://h/d?require_auth=canary' get x", 1, "require_auth"),
        ("kv --connection 'postgres://h/d?hostaddr=canary' get x", 2, "hostaddr"),
        ("kv --connection 'postgres://h/d?connect_timeout=canary' get x", 2, "connect_timeout"),
        ("kv --connection 'postgres://h/d?target_session_attrs=standby' get x", 1, "target_session_attrs"),
        ("kv --connection 'postgres://h/d?channel_binding=canary' get x", 2, "channel_binding"),
        ("kv --connection 'postgres://u:canary@h:canary/d' get x", 2, "port"),
        ("kv --connection 'postgres://u:1/canary@h/d' get x", 2, "password"),
        ("kv --connection 'host=h password=canary' get x", 2, "postgres://"),
        ("PGREQUIREPEER=canary kv get x", 1, "PGREQUIREPEER"),
        ("PGSSLCRL=canary kv get x", 1, "PGSSLCRL"),
        ("PGPORT=canary kv get x", 2, "port"),
    ] {
        let (found, stderr) = kv.fails(words);
        assert!(found == code && stderr.contains(name), "{words}: {found} {stderr}");
        assert!(stderr.contains("hint: "), "{words}: {stderr}");
        assert!(!stderr.contains("canary"), "{words}: {stderr}");
    }
    // What asks for nothing that kv lacks is not a reason to refuse.
    let (_, stderr) = kv.fails(
        "PGGSSENCMODE=disable kv --connection 'postgres://127.0.0.1:1/d?gssencmode=prefer&ssl_min_protocol_version=TLSv1.2' get x",
    );
    assert!(stderr.contains("cannot be reached"), "{stderr}");
}
