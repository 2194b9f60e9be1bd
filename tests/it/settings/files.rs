//! Files of profiles: where they are, and what is wrong with one.

use super::{setting, with_profiles};
use crate::support::Kv;

#[test]
fn the_file_of_the_user_comes_before_that_of_the_system() {
    let kv =
        with_profiles("[profiles.a]\nconnection = '/user/a.db'\n[profiles.b]\nconnection = '/user/b.db'\n");
    kv.ok(
        "mkdir -p etc/kv; printf '%s\\n' 'profile = \"c\"' '[profiles.a]' 'connection = \"/system/a.db\"' \
           'daemon = \"never\"' '[profiles.c]' 'connection = \"/system/c.db\"' > etc/kv/config.toml",
    );
    let show = |options: &str| {
        let text = format!(
            "unshare --mount --map-root-user bash -c 'mount --bind etc /etc && kv {options} config show --output json' \
             | jq -r '.settings[] | select(.name == \"connection\" or .name == \"daemon\").value'"
        );
        kv.ok(&text)
    };
    assert_eq!(show(""), "file:/system/c.db?mode=rw\nauto\n");
    assert_eq!(show("--profile b"), "file:/user/b.db?mode=rw\nauto\n");
    // The whole profile: what the one of the system says about the store, it says about another store.
    assert_eq!(show("--profile a"), "file:/user/a.db?mode=rw\nauto\n");
}

#[test]
fn the_directory_of_the_users_file_is_that_of_the_desktop_standard() {
    let kv = with_profiles("profile = 'a'\n[profiles.a]\nconnection = '/a.db'\n");
    kv.ok("mkdir -p xdg/kv; echo 'profile = \"b\"' > xdg/kv/config.toml; echo '[profiles.b]' >> xdg/kv/config.toml");
    let name = |before: &str| setting(&kv, before, "", "profile").0.unwrap();
    assert_eq!(name("XDG_CONFIG_HOME=$PWD/xdg"), "b");
    // Empty and relative ones do not count.
    assert_eq!(name("XDG_CONFIG_HOME="), "a");
    assert_eq!(name("XDG_CONFIG_HOME=xdg"), "a");
    assert_eq!(name("KV_CONFIG=xdg/kv/config.toml"), "b");
    assert_eq!(setting(&kv, "", "--config /dev/null", "profile"), (None, None));
    assert_eq!(name("KV_CONFIG=/dev/null KV_PROFILE= HOME=$PWD KV_CONFIG="), "a");
}

#[test]
fn what_is_wrong_with_a_file_is_told_by_its_line_and_without_its_text() {
    let kv = Kv::new();
    for (text, words) in [
        ("profile", "line 1"),
        ("\n\nprofile = ", "line 3"),
        ("profiles = 1", "line 1"),
        ("frob = 1", "unknown field `frob`"),
        ("[profiles.a]\nfrob = '1'", "no setting \"frob\""),
        ("[profiles.a]\nprofile = 'b'", "no setting \"profile\""),
        ("[profiles.a]\ntype = 'oracle'", "possible values: sqlite, rqlite, postgres"),
        ("[profiles.a]\ntype = ['sqlite']", "a text or a whole number"),
        ("[profiles.a]\nconnection = 'canary.db'", "is a relative path"),
        ("[profiles.a]\nconnection = 'file:canary.db'", "is a relative path"),
        ("[profiles.a]\nca = 'canary.crt'", "ca of the profile a"),
        ("[profiles.a]\nconnection = 'postgres://u:canary@h/x", "line 2"),
        ("[profiles.a]\nconnection = 'postgres://u:canary@h/x'\nconnection = 'canary'", "line 3"),
        ("profile = 'b'\n[profiles.a]\n", "there is no profile \"b\""),
    ] {
        std::fs::write(kv.directory.path().join("c.toml"), text).unwrap();
        let (code, stderr) = kv.fails("kv --config c.toml --profile a get a && kv --config c.toml get a");
        let (code, stderr) = if code == 6 { kv.fails("kv --config c.toml get a") } else { (code, stderr) };
        assert!(code == 2 && stderr.contains(words), "{text:?}: {code} {stderr}");
        assert!(stderr.contains("hint: ") && !stderr.contains("canary"), "{text:?}: {stderr}");
    }
    let (code, stderr) = kv.fails("mkdir d; kv --config d get a");
    assert!(code == 6 && stderr.contains("d cannot be read"), "{stderr}");
}

#[test]
fn a_home_of_any_name_may_stand_for_a_tilde() {
    let kv = Kv::new();
    kv.ok("printf '%s\\n' '[profiles.plain]' 'connection = \"~/x.db\"' '[profiles.uri]' 'connection = \"file:~/x.db\"' \
           > c.toml; mkdir 'a%20?#b'");
    kv.ok("export HOME=\"$PWD/a%20?#b\"; kv --config c.toml --profile plain init; test -f \"$HOME/x.db\"; \
           kv --config c.toml --profile plain put a --value 1; kv --config c.toml --profile uri get a");
}

#[test]
fn settings_are_shown_as_a_table_too() {
    let kv = with_profiles("profile = 'a'\n[profiles.a]\nconnection = '/x/a.db'\n[profiles.b]\n");
    let output = kv.shell("kv config show");
    let (table, note) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(table.starts_with("SETTING          VALUE"), "{table}");
    assert!(
        table.lines().any(|line| line.starts_with("connection       file:/x/a.db?mode=rw  profile a in ")),
        "{table}"
    );
    assert!(note.starts_with("profiles: a, b (in "), "{note}");
    let note = Kv::new().shell("kv config show").stderr;
    assert!(String::from_utf8(note).unwrap().contains("/etc/kv/config.toml"));
}
