//! Encrypted connections, and the flags that name certificates.

use std::time::{Duration, Instant};

use crate::support::rqlite::{Cluster, Database};
use crate::support::{Kv, skipped};

/// An authority that nobody trusts, a certificate of it, and a key that others may read.
const STRANGERS: &str = "
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other -keyout other.key -out other.crt 2>other.log
    cp user.key open.key; chmod 644 open.key; echo text >text.crt";

struct World {
    cluster: Cluster,
    kv: Kv,
}

impl World {
    /// The files of the cluster's certificates are in the directory of its commands.
    fn new(cluster: Cluster) -> World {
        let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_DAEMON", "never")]);
        let files = cluster.directory().join("tls");
        kv.ok(&format!("umask 077; cp {0}/ca.crt {0}/user.crt {0}/user.key .; {STRANGERS}", files.display()));
        World { cluster, kv }
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let (_, port) = self.cluster.url().rsplit_once(':').unwrap();
        format!("https://{host}:{port}{parameters}")
    }

    /// Asserts that a command with this connection string and these flags is not let through, that it says so at once, and
    /// with these words.
    #[track_caller]
    fn refused(&self, url: &str, flags: &str, words: &[&str]) {
        let begun = Instant::now();
        let (code, stderr) = self.kv.fails(&format!("{flags} kv --connection '{url}' get x"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{url} {flags}: {:?}", begun.elapsed());
        assert_eq!(code, 6, "{url} {flags}: {stderr}");
        for word in words.iter().chain(&["hint: "]) {
            assert!(stderr.contains(word), "{url} {flags}: {word}: {stderr}");
        }
    }

    #[track_caller]
    fn same(&self, url: &str, flags: &str) {
        assert_eq!(self.kv.ok(&format!("{flags} kv --connection '{url}' get x")), "1\n", "{url} {flags}");
    }
}

#[test]
fn nodes_are_those_that_somebody_trusted_has_signed() {
    let Some(cluster) = Cluster::start_with(1, &["tls"]) else {
        return skipped("nodes_are_those_that_somebody_trusted_has_signed");
    };
    let world = World::new(cluster);
    let known = world.url("127.0.0.1", "?ca=ca.crt");
    world.kv.ok(&format!("export KV_CONNECTION='{known}'; kv init; kv put x --value 1"));
    world.same(&known, "");
    world.same(&world.url("127.0.0.1", ""), "KV_CA=ca.crt");
    // The authorities of the system are those of this file.
    world.same(&world.url("127.0.0.1", ""), "SSL_CERT_FILE=ca.crt");
    let of_system = world.url("127.0.0.1", "");
    world.refused(&of_system, "", &["certificate", "--ca"]);
    world.refused(&of_system, "KV_CA=other.crt", &["certificate", "--ca"]);
    world.refused(&of_system, "KV_CA=missing.crt", &["missing.crt", "PEM"]);
    world.refused(&of_system, "KV_CA=text.crt", &["text.crt", "PEM"]);
    world.refused(&world.url("localhost", "?ca=ca.crt"), "", &["not valid for", "subjectAltName"]);
    world.refused(&known.replace("https://", "http://"), "", &["HTTPS", "write https://"]);
    // A certificate that nobody asks for does no harm, but it has to be one.
    world.same(&format!("{known}&cert=user.crt&key=user.key"), "");
    world.refused(&format!("{known}&cert=user.crt&key=open.key"), "", &["open.key", "chmod 600"]);

    // The daemon has the files by their paths, so it is the same in every directory.
    let pid = |text: &str| world.kv.ok(&format!("export KV_DAEMON=auto; {text} | jq .pid"));
    let first =
        pid(&format!("kv --connection '{known}' daemon start; kv --connection '{known}' daemon status"));
    let there =
        format!("mkdir there; cd there; kv --ca \"$OLDPWD/ca.crt\" --connection '{of_system}' daemon status");
    assert_eq!(pid(&there), first);
    assert_eq!(
        world.kv.ok(&format!("KV_DAEMON=require kv --ca ca.crt --connection '{of_system}' get x")),
        "1\n"
    );
    // A program of kv has one connection string with all that is in it.
    let inner = "kv get x; kv --daemon=never put y --value 2; exit 9";
    let text = format!(
        "export KV_CA=ca.crt KV_CONNECTION='{of_system}'; kv watch --after 0 -- sh -c '{inner}' || echo $?"
    );
    assert_eq!(world.kv.ok(&text), "1\n9\n");
}

#[test]
fn nodes_may_ask_who_kv_is() {
    let Some(cluster) = Cluster::start_with(1, &["mutual"]) else {
        return skipped("nodes_may_ask_who_kv_is");
    };
    let world = World::new(cluster);
    let known = world.url("127.0.0.1", "?ca=ca.crt&cert=user.crt&key=user.key");
    world.kv.ok(&format!("export KV_CONNECTION='{known}'; kv init; kv put x --value 1"));
    world.same(&known, "");
    let nobody = world.url("127.0.0.1", "");
    world.same(&nobody, "KV_CA=ca.crt KV_CLIENT_CERT=user.crt KV_CLIENT_KEY=user.key");
    let flags = "--ca ca.crt --client-cert user.crt --client-key user.key";
    assert_eq!(world.kv.ok(&format!("kv --connection '{nobody}' {flags} get x")), "1\n");
    world.refused(&nobody, "KV_CA=ca.crt", &["--client-cert"]);
    let other = "KV_CA=ca.crt KV_CLIENT_CERT=other.crt KV_CLIENT_KEY";
    world.refused(&nobody, &format!("{other}=other.key"), &["--client-cert"]);
    world.refused(&nobody, &format!("{other}=user.key"), &["KeyMismatch"]);
    let own = "KV_CA=ca.crt KV_CLIENT_CERT=user.crt KV_CLIENT_KEY";
    world.refused(&nobody, &format!("{own}=open.key"), &["open.key", "chmod 600 "]);
    world.refused(&nobody, &format!("{own}=missing.key"), &["missing.key"]);
    world.refused(&nobody, &format!("{own}=user.crt"), &["user.crt"]);
    world.kv.ok(&format!("kv --connection '{known}' check; KV_DAEMON=auto kv --connection '{known}' list"));
}

#[test]
fn a_plain_node_is_not_taken_for_an_encrypted_one() {
    let Some(node) = Database::lease() else {
        return skipped("a_plain_node_is_not_taken_for_an_encrypted_one");
    };
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_DAEMON", "never")]);
    let url = node.url().replace("http://", "https://");
    let (code, stderr) = kv.fails(&format!("kv --connection '{url}' get x"));
    assert!(code == 6 && stderr.contains("write http://"), "{code} {stderr}");
}

/// Whether there is a server or not: the connection string says it all.
#[test]
fn certificates_are_named_once_and_for_a_server() {
    let kv = Kv::new();
    for (text, words) in [
        ("kv --ca ca.crt get x", "--ca is for a store on a server"),
        ("kv --client-cert a get x", "--client-cert is for a store on a server"),
        ("kv --type rqlite --connection 'https://h?ca=/x' --ca y get x", "the connection string has ca too"),
        ("KV_CA=y kv --type rqlite --connection 'https://h?user=u&ca=/x' get x", "KV_CA is given"),
        ("kv --type rqlite --connection 'https://h' --client-cert y get x", "cert and key belong together"),
        (
            "kv --type postgres --connection 'postgres://h/d?sslrootcert=/x' --ca y get x",
            "the connection string has sslrootcert too",
        ),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(code == 2 && stderr.contains(words) && stderr.contains("hint: "), "{text}: {code} {stderr}");
    }
    // They mean the same to PostgreSQL.
    let server =
        "kv --daemon=never --type postgres --connection 'postgres://u@127.0.0.1:1/d?sslmode=verify-full'";
    let (code, stderr) = kv.fails(&format!("{server} --ca 'no&where.crt' get x"));
    assert!(code == 6 && stderr.contains("no&where.crt"), "{code} {stderr}");
    let (code, stderr) = kv.fails(&format!("{server} --client-cert a --client-key nowhere.key get x"));
    assert!(code == 6, "{code} {stderr}");
}
