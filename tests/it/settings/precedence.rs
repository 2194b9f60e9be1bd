//! Which source a setting comes from: command line, environment, file, default.

use super::{setting, with_profiles};
use crate::support::Kv;

const PROFILES: &str = r#"
profile = "main"

[profiles.main]
connection = "~/main.db"
idle-timeout = 300
daemon = "never"

[profiles.other]
type = "postgres"
connection = "postgres://other@db.example.com/kv"
ca = "~/ca.crt"

[profiles.quick]
idle-timeout = "5s"
"#;

#[test]
fn each_setting_comes_from_the_first_source_that_has_it() {
    let kv = with_profiles(PROFILES);
    let home = kv.directory.path().canonicalize().unwrap();
    let file = |name: &str| format!("file:{}/{name}?mode=rw", home.display());
    let other = "postgres://other@db.example.com:5432/kv";
    for (before, options, name, value, from) in [
        ("", "", "connection", file("main.db").as_str(), "profile main in"),
        ("", "", "idle-timeout", "300s", "profile main in"),
        ("", "", "type", "sqlite", "default"),
        ("KV_CONNECTION=e.db", "", "connection", &file("e.db"), "environment"),
        // What does not name the store still comes from the profile.
        ("KV_CONNECTION=e.db", "", "daemon", "never", "profile main in"),
        ("KV_CONNECTION=e.db", "--connection c.db", "connection", &file("c.db"), "command line"),
        ("KV_IDLE_TIMEOUT=1h", "", "idle-timeout", "3600s", "environment"),
        ("KV_IDLE_TIMEOUT=1h", "--idle-timeout 0", "idle-timeout", "0s", "command line"),
        ("KV_DAEMON=auto", "", "daemon", "auto", "environment"),
        // A profile that is named on the command line comes before the environment.
        ("", "--profile other", "connection", other, "profile other in"),
        ("KV_CONNECTION=e.db", "--profile other", "connection", other, "profile other in"),
        ("KV_TYPE=sqlite", "--profile other", "type", "postgres", "profile other in"),
        ("KV_PROFILE=other", "", "connection", other, "profile other in"),
        ("KV_PROFILE=main", "--profile other", "profile", "other", "command line"),
        ("KV_PROFILE=other KV_CONNECTION=e.db", "", "connection", &file("e.db"), "environment"),
        ("KV_PROFILE=other KV_CONNECTION=e.db", "", "type", "sqlite", "default"),
        ("KV_CONNECTION=e.db", "--profile quick", "connection", &file("e.db"), "environment"),
        ("KV_CONNECTION=e.db", "--profile quick", "idle-timeout", "5s", "profile quick in"),
        ("", "--profile other --connection postgres:///x?host=h", "type", "postgres", "profile other in"),
        // A kind of database alone means the store that nobody has named, not a file of the profile.
        ("PGHOST=h PGUSER=u", "--type postgres", "connection", "postgres://u@h:5432/u", "default"),
        ("", "--socket s", "connection", &file("data.db"), "default"),
        // The scheme tells the kind.
        ("", "--connection postgres://u@h/d", "type", "postgres", "command line"),
        ("KV_CONNECTION=https://h", "", "type", "rqlite", "environment"),
        ("KV_TYPE=postgres", "--connection http://h", "type", "rqlite", "command line"),
    ] {
        let (found, found_from) = setting(&kv, before, options, name);
        let what = format!("{before} kv {options}: {name}");
        let (found, found_from) = (found.unwrap_or_default(), found_from.unwrap_or_default());
        assert!(found.starts_with(value), "{what} is {found}, not {value}");
        assert!(found_from.starts_with(from), "{what} comes from {found_from}, not {from}");
    }
}

#[test]
fn a_default_profile_is_the_store_of_every_directory() {
    let kv = with_profiles(PROFILES);
    kv.ok("kv init; kv put a --value 1; test -f main.db; mkdir d; test ! -e data.db");
    assert_eq!(kv.ok("cd d; kv get a"), "1\n");
    assert_eq!(kv.ok("cd /; HOME=$OLDPWD kv get a"), "1\n");
    let (code, stderr) = kv.fails("kv --connection data.db get a");
    assert!(code == 6 && stderr.contains("not_initialized"), "{stderr}");
}

#[test]
fn an_environment_for_servers_does_not_disturb_a_store_in_a_file() {
    let kv = Kv::with(&[("KV_CA", "/nowhere/ca.crt"), ("KV_CLIENT_CERT", "/nowhere/user.crt")]);
    kv.ok("kv init; kv put a --value 1");
    let (code, stderr) = kv.fails("kv --ca /nowhere/ca.crt get a");
    assert!(code == 2 && stderr.contains("--ca is for a store on a server"), "{stderr}");
}

#[test]
fn a_connection_string_may_be_in_a_file_or_a_credential() {
    let kv = Kv::new();
    kv.ok("mkdir credentials; echo there.db > file; printf 'other.db\\r\\n' > credentials/kv.connection");
    kv.ok("kv --connection there.db init; kv --connection there.db put a --text there");
    kv.ok("kv --connection other.db init; kv --connection other.db put a --text other");
    for (before, expected) in [
        ("KV_CONNECTION_FILE=file kv", "there"),
        ("KV_CONNECTION= KV_CONNECTION_FILE=file kv", "there"),
        ("KV_CONNECTION=x.db kv --connection-file file", "there"),
        ("kv --connection-file <(cat file)", "there"),
        ("CREDENTIALS_DIRECTORY=$PWD/credentials kv", "other"),
        ("CREDENTIALS_DIRECTORY=$PWD/credentials KV_CONNECTION_FILE=file kv", "there"),
        ("CREDENTIALS_DIRECTORY=$PWD/credentials kv --connection there.db", "there"),
    ] {
        assert_eq!(kv.ok(&format!("{before} get a")), format!("\"{expected}\"\n"), "{before}");
    }
    // A service may have credentials of its own.
    kv.ok("kv init; kv put a --value 1; mkdir none");
    assert_eq!(kv.ok("CREDENTIALS_DIRECTORY=$PWD/none kv get a"), "1\n");
    let (_, from) = setting(&kv, "CREDENTIALS_DIRECTORY=$PWD/credentials", "", "connection-file");
    assert_eq!(from.as_deref(), Some("credential"));

    for (text, code, words) in [
        ("kv --connection-file nowhere get a", 6, "nowhere cannot be read"),
        ("kv --connection-file . get a", 6, "cannot be read"),
        (": > e; kv --connection-file e get a", 2, "is empty"),
        ("printf 'a\\nb' > e; kv --connection-file e get a", 2, "more than one line"),
        ("kv --connection-file /dev/zero get a", 2, "more than 65536 bytes"),
        ("kv --connection x --connection-file file get a", 2, "both say which store"),
        ("KV_CONNECTION=x KV_CONNECTION_FILE=file kv get a", 2, "KV_CONNECTION and KV_CONNECTION_FILE"),
    ] {
        let (found, stderr) = kv.fails(text);
        assert!(
            found == code && stderr.contains(words) && stderr.contains("hint: "),
            "{text}: {found} {stderr}"
        );
    }
}

#[test]
fn a_variable_with_a_wrong_value_is_named() {
    let kv = Kv::new();
    for (variable, words) in [
        ("KV_TYPE=frob", "possible values: sqlite, rqlite, postgres"),
        ("KV_DAEMON=maybe", "auto, require, never"),
        ("KV_IDLE_TIMEOUT=soon", "is not a duration"),
        ("KV_PROFILE=nobody", "KV_PROFILE names"),
        ("KV_CONFIG=nowhere", "KV_CONFIG names"),
    ] {
        let (code, stderr) = kv.fails(&format!("{variable} kv get a"));
        assert!(code == 2 && stderr.contains(words) && stderr.contains("hint: "), "{variable}: {stderr}");
        assert!(stderr.contains(variable.split('=').next().unwrap()), "{variable}: {stderr}");
        // What needs no store does not care.
        kv.ok(&format!("{variable} kv protocol > protocol; {variable} kv --help > help"));
    }
}

#[test]
fn a_kind_that_contradicts_the_connection_string_is_refused() {
    let kv = Kv::new();
    for (before, options, words) in [
        ("", "--type sqlite --connection postgres://u@h/d", "--type says sqlite"),
        ("", "--type postgres --connection http://h", "--type says postgres"),
        ("KV_CONNECTION=http://h", "--type sqlite", "--type says sqlite"),
        ("KV_TYPE=rqlite KV_CONNECTION=postgres://u@h/d", "", "KV_TYPE says rqlite"),
    ] {
        let (code, stderr) = kv.fails(&format!("{before} kv {options} get a"));
        assert!(code == 2 && stderr.contains(words) && stderr.contains("the scheme"), "{words}: {stderr}");
    }
}
