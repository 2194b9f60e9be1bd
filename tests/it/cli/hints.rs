//! Hints do what was meant when they are run as they stand.

use crate::support::Kv;

/// The command in the hint of a command that fails.
#[track_caller]
fn hinted(kv: &Kv, command: &str) -> String {
    let (_, stderr) = kv.fails(command);
    let hint = stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_else(|| panic!("{stderr}"));
    let position = hint.find("kv ").unwrap_or_else(|| panic!("{hint}"));
    hint[position..].to_owned()
}

#[test]
fn a_hint_repeats_the_options_that_name_the_store() {
    let kv = Kv::new();
    kv.ok(
        "printf '[profiles.work]\\nconnection = \"%s/work.db\"\\n' $PWD > profiles; echo my.db > connection",
    );
    for (command, expected) in [
        ("kv put k 1", "kv init"),
        ("kv --connection x put k 1", "kv --connection x init"),
        ("kv put k 1 --connection 'a b'", "kv --connection 'a b' init"),
        ("kv --connection file:y.db?mode=rwc get k", "kv --connection 'file:y.db?mode=rwc' init"),
        ("kv --daemon never --connection x get k", "kv --connection x init"),
        ("kv --config profiles --profile work get k", "kv --config profiles --profile work init"),
        ("kv --connection-file connection get k", "kv --connection-file connection init"),
        ("KV_TYPE=postgres kv --type sqlite --connection x get k", "kv --type sqlite --connection x init"),
        // The shell has the variable when the hint is run, too.
        ("KV_CONNECTION=x kv get k", "kv init"),
        ("kv diff x y", "kv --connection x init"),
        ("kv copy --from x --to y", "kv --connection x init"),
        ("kv --connection x put k hello", "kv --connection x put k --text hello"),
        ("kv --connection x put k 'kv get k'", "kv --connection x put k --text 'kv get k'"),
        ("kv --connection x --daemon require get k", "kv --connection x init"),
    ] {
        assert_eq!(hinted(&kv, command), expected, "{command}");
    }
    // Of two stores it is the one that is not there; and an example is not for any store.
    kv.ok("kv --connection x init");
    assert_eq!(hinted(&kv, "kv diff x 'y z'"), "kv --connection 'y z' init");
    assert_eq!(hinted(&kv, "kv --connection x list 0 many"), "kv list 0 100");
    assert_eq!(hinted(&kv, "kv --connection x list prefix 'a b'"), "kv --connection x get prefix 'a b'");
    kv.ok(&hinted(&kv, "kv --connection 'a b' get k"));
    assert_eq!(kv.ok("kv --connection 'a b' count"), "0\n");
}

#[test]
fn findings_and_daemons_are_of_the_same_store() {
    let kv = Kv::new();
    let report = kv.shell("kv --connection x doctor --output json");
    assert!(
        String::from_utf8(report.stdout).unwrap().contains("kv --connection x init"),
        "{:?}",
        report.stderr
    );
    kv.ok("kv --connection x init; kv --connection x daemon stop");
    let (_, stderr) = kv.fails("kv --connection x daemon status");
    assert!(stderr.contains("kv --connection x daemon start"), "{stderr}");
    assert!(
        kv.fails("kv --connection x --daemon require get k").1.contains("kv --connection x daemon start")
    );
}
