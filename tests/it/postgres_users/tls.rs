//! Encrypted connections mean what they mean to psql.

use std::process::Output;

use super::support::Parts;
use crate::support::postgres::{Cluster, Database, binaries, sql_at};
use crate::support::{Kv, skipped, wait_until};

/// Two authorities; certificates of a server for `localhost` and 127.0.0.2, so that 127.0.0.1 is a wrong name; two of users.
const CERTIFICATES: &str = r#"
    set -e
    authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout $1.key -out $1.crt; }
    signed() {
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout $1.key -out $1.csr
        openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out $1.crt -extfile <(echo "$3")
    }
    umask 077
    authority ca; authority other
    signed server localhost "subjectAltName=DNS:localhost,IP:127.0.0.2"
    signed user kv "extendedKeyUsage=clientAuth"; signed stranger stranger "extendedKeyUsage=clientAuth"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout own.key -out own.crt
    signed nameless localhost "keyUsage=digitalSignature"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout old.key -out old.csr
    openssl x509 -req -in old.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out old.crt
    cp user.key open.key; chmod 644 open.key"#;

struct World {
    cluster: Cluster,
    database: Database,
    /// By way of the socket, which is open to all.
    administrator: String,
    kv: Kv,
    cases: usize,
}

impl World {
    fn new(cluster: Cluster) -> World {
        let database = cluster.database();
        let Parts { port, dbname, .. } = Parts::of(&database.url());
        let directory = cluster.directory().to_str().unwrap().replace('/', "%2F");
        let administrator = format!("postgres://postgres@{directory}:{port}/{dbname}");
        let kv = Kv::with(&[("KV_TYPE", "postgres")]);
        let made = kv.shell(CERTIFICATES);
        assert!(made.status.success(), "{made:?}");
        kv.ok(&format!(
            "kv --connection '{}' init; kv --connection '{}' put x --value 1",
            database.url(),
            database.url()
        ));
        let mut world = World { cluster, database, administrator, kv, cases: 0 };
        world.serve("server");
        world
    }

    /// Has the server show a certificate.
    fn serve(&mut self, name: &str) {
        let data = self.cluster.directory().join("data");
        let data = data.to_str().unwrap();
        self.kv.ok(&format!(
            "cp {name}.crt {data}/server.crt; cp {name}.key {data}/server.key; cp ca.crt {data}; chmod 600 {data}/server.key
            chown --reference={data} {data}/server.crt {data}/server.key {data}/ca.crt
            printf '%s\n' 'ssl = on' \"ssl_ca_file = 'ca.crt'\" >{data}/postgresql.auto.conf"
        ));
        self.admit("host", "");
    }

    /// Has the server admit one kind of connection.
    fn admit(&self, kind: &str, options: &str) {
        let rules = format!("local all all trust\n{kind} all all 127.0.0.1/32 scram-sha-256 {options}\n");
        self.rule(&rules);
    }

    fn rule(&self, rules: &str) {
        std::fs::write(self.cluster.directory().join("data/pg_hba.conf"), rules).unwrap();
        let loaded = || sql_at(&self.administrator, "select pg_conf_load_time()");
        let before = self.is_reachable().then(loaded).unwrap_or_default();
        // What a first reload changes is who may ask for one.
        self.kv
            .ok(&format!("kill -HUP $(head -1 {}/data/postmaster.pid)", self.cluster.directory().display()));
        wait_until("the reload", || self.is_reachable() && loaded() != before);
    }

    fn is_reachable(&self) -> bool {
        self.kv
            .shell(&format!("{}/psql -Xc 'select 1' '{}'", binaries().display(), self.administrator))
            .status
            .success()
    }

    /// Whether kv connects, and whether the connection is encrypted; else what it says.
    fn kv(&mut self, parameters: &str) -> Result<bool, String> {
        self.cases += 1;
        let name = format!("case{}", self.cases);
        let url = format!("{}&application_name={name}", self.url(parameters));
        let Output { status, stdout, stderr } = self.kv.shell(&format!("kv --connection '{url}' get x"));
        if !status.success() {
            // The next one connects anew. There may be no daemon.
            self.kv.shell(&format!("kv --connection '{url}' daemon stop"));
            let stderr = String::from_utf8(stderr).unwrap();
            assert!(status.code() == Some(6) || status.code() == Some(2), "{parameters}: {stderr}");
            assert!(stderr.contains("hint: "), "{parameters}: {stderr}");
            return Err(stderr);
        }
        assert_eq!(String::from_utf8_lossy(&stdout), "1\n");
        let text = format!(
            "select distinct ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = '{name}'"
        );
        let encrypted = sql_at(&self.administrator, &text);
        self.kv.ok(&format!("kv --connection '{url}' daemon stop"));
        Ok(encrypted == "t")
    }

    /// The same, of psql.
    fn psql(&self, parameters: &str) -> Option<bool> {
        let text = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let output = self.kv.shell(&format!(
            "{}/psql -XtAc '{text}' '{}'",
            binaries().display(),
            self.url(parameters)
        ));
        output.status.success().then(|| output.stdout == b"t\n")
    }

    /// The server by its address, unless the parameters say otherwise.
    fn url(&self, parameters: &str) -> String {
        let Parts { user, password, host, port, dbname } = Parts::of(&self.database.url());
        let host = if parameters.contains("host=") {
            "hostaddr=127.0.0.1".to_owned()
        } else {
            format!("host={host}")
        };
        let files = self.kv.directory.path().to_str().unwrap();
        let parameters = parameters.replace("=./", &format!("={files}/"));
        format!("postgres:///{dbname}?user={user}&password={password}&port={port}&{host}&{parameters}")
    }

    /// Asserts how kv connects, and that psql does the same.
    #[track_caller]
    fn same(&mut self, parameters: &str, encrypted: bool) {
        assert_eq!(self.kv(parameters), Ok(encrypted), "{parameters}");
        assert_eq!(self.psql(parameters), Some(encrypted), "psql: {parameters}");
    }

    /// Asserts that kv does not connect, and says so with these words, and that psql does not either.
    #[track_caller]
    fn refused(&mut self, parameters: &str, words: &str) {
        let refusal = self.kv(parameters).expect_err(parameters);
        assert!(refusal.contains(words), "{parameters}: {refusal}");
        assert_eq!(self.psql(parameters), None, "psql: {parameters}");
    }
}

#[test]
fn encryption_means_what_it_means_to_psql() {
    let Some(cluster) = Cluster::start() else { return skipped("encryption_means_what_it_means_to_psql") };
    let mut world = World::new(cluster);
    world.same("sslmode=disable", false);
    world.same("sslmode=allow", false);
    world.same("sslmode=prefer", true);
    world.same("application_name=x", true);
    world.same("sslmode=require", true);
    world.same("sslmode=require&channel_binding=require", true);
    world.refused("sslmode=disable&channel_binding=require", "channel");
    // Who signed the certificate, and for which name.
    world.refused("sslmode=verify-ca", "no root certificate");
    world.refused("sslmode=verify-full", "no root certificate");
    world.same("sslmode=require&sslrootcert=./ca.crt", true);
    world.same("sslmode=verify-ca&sslrootcert=./ca.crt", true);
    world.refused("sslmode=verify-full&sslrootcert=./ca.crt", "verify-ca does not look at the name");
    world.same("host=localhost&sslmode=verify-full&sslrootcert=./ca.crt", true);
    world.same("host=127.0.0.2&sslmode=verify-full&sslrootcert=./ca.crt", true);
    for mode in ["require", "verify-ca", "verify-full"] {
        world.refused(&format!("host=localhost&sslmode={mode}&sslrootcert=./other.crt"), "UnknownIssuer");
    }
    world.refused("sslmode=verify-ca&sslrootcert=./missing.crt", "missing.crt");
    // psql 15 takes it for the name of a file.
    world.refused("host=localhost&sslrootcert=system&sslmode=verify-full", "certificate");
    assert!(
        world.kv("host=localhost&sslrootcert=system&sslmode=require").unwrap_err().contains("verify-full")
    );
    assert!(world.kv("host=localhost&sslrootcert=system").unwrap_err().contains("certificate"));

    world.admit("hostssl", "");
    world.refused("sslmode=disable", "pg_hba.conf");
    world.same("sslmode=allow", true);
    world.same("sslmode=prefer", true);
    world.admit("hostnossl", "");
    world.same("sslmode=disable", false);
    world.same("sslmode=allow", false);
    world.same("sslmode=prefer", false);
    world.refused("sslmode=require", "pg_hba.conf");

    // A certificate that signed itself is its own root.
    world.serve("own");
    world.same("sslmode=require", true);
    world.same("sslmode=verify-ca&sslrootcert=./own.crt", true);
    world.same("host=localhost&sslmode=verify-full&sslrootcert=./own.crt", true);
    world.refused("sslmode=verify-full&sslrootcert=./own.crt", "name");
    world.refused("sslmode=verify-ca&sslrootcert=./ca.crt", "certificate");

    // One of version 1, as PostgreSQL's own documentation makes it, encrypts, and says nothing that kv could check.
    world.serve("old");
    world.same("sslmode=require", true);
    world.same("sslmode=prefer", true);
    for mode in ["verify-ca", "verify-full"] {
        let refusal = world.kv(&format!("host=localhost&sslmode={mode}&sslrootcert=./ca.crt")).unwrap_err();
        assert!(refusal.contains("subjectAltName"), "{refusal}");
    }
    world.serve("nameless");
    world.same("sslmode=verify-ca&sslrootcert=./ca.crt", true);
    let refusal = world.kv("host=localhost&sslmode=verify-full&sslrootcert=./ca.crt").unwrap_err();
    assert!(refusal.contains("subjectAltName"), "{refusal}");
}

#[test]
fn a_certificate_of_the_user_is_shown() {
    let Some(cluster) = Cluster::start() else { return skipped("a_certificate_of_the_user_is_shown") };
    let mut world = World::new(cluster);
    world.admit("hostssl", "clientcert=verify-full");
    world.refused("sslmode=require", "certificate");
    world.same("sslmode=require&sslcert=./user.crt&sslkey=./user.key", true);
    world.refused("sslmode=require&sslcert=./stranger.crt&sslkey=./stranger.key", "stranger");
    world.refused("sslmode=require&sslcert=./user.crt&sslkey=./stranger.key", "KeyMismatch");
    world.refused("sslmode=require&sslcert=./user.crt&sslkey=./open.key", "chmod 600");
    world.refused("sslmode=require&sslcert=./missing.crt&sslkey=./user.key", "missing.crt");
    world.rule("local all all trust\nhostssl all all 127.0.0.1/32 cert\n");
    world.same("sslmode=verify-ca&sslrootcert=./ca.crt&sslcert=./user.crt&sslkey=./user.key", true);
    // As libpq finds them, when nobody names them.
    world.kv.ok("mkdir .postgresql; cp ca.crt .postgresql/root.crt; cp user.crt .postgresql/postgresql.crt; cp user.key .postgresql/postgresql.key");
    world.same("host=localhost&sslmode=verify-full", true);
}
