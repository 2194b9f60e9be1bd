//! The units, by the tools of systemd.

use std::path::PathBuf;

use crate::daemon::users::Users;
use crate::support::Kv;

/// A directory with the units as they are after an installation below it, with words for `kv daemon install`.
fn installed(kv: &Kv, words: &str) -> PathBuf {
    // The tools want a program that is there, and kv one that a service sees: these tests may have been built in /tmp.
    kv.ok(&format!("mkdir image; kv {words} --root image --program /usr/bin/env 2>/dev/null"));
    kv.directory.path().join("image/etc/systemd")
}

/// Runs `systemd-analyze`, which tells of a key that it does not know, and yet ends with 0.
#[track_caller]
fn verify(kv: &Kv, words: &str) {
    let output = kv.shell(&format!("systemd-analyze verify --man=no {words} 2>&1"));
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

const SYSTEM: [(&str, &str, u32); 4] = [
    ("the store of the unit", "daemon install", 5),
    ("a file elsewhere", "--connection '/srv/k v/50%.db' daemon install", 5),
    ("PostgreSQL", "--type postgres --connection postgres://kv:secret@db/kv daemon install", 13),
    ("rqlite", "--type rqlite --connection http://kv:secret@db:4001 daemon install", 13),
];

#[test]
fn the_units_are_valid() {
    for (_, words, _) in SYSTEM {
        let kv = Kv::new();
        let units = installed(&kv, words);
        verify(&kv, &format!("{0}/system/kv.service {0}/system/kv.socket", units.display()));
    }
    for words in
        ["", "--connection '/srv/k v/50%.db'", "--type postgres --connection postgres://kv:secret@db/kv"]
    {
        let kv = Kv::new();
        let units = installed(&kv, &format!("{words} daemon install --user"));
        verify(&kv, &format!("--user {0}/user/kv.service {0}/user/kv.socket", units.display()));
    }
}

/// The threshold is ten times the exposure.
#[test]
fn the_service_of_the_system_is_hardened() {
    for (what, words, threshold) in SYSTEM {
        let kv = Kv::new();
        installed(&kv, words);
        let analysis =
            format!("systemd-analyze security --offline=yes --no-pager --root=image --threshold={threshold}");
        let output = kv.shell(&format!("{analysis} kv.service"));
        assert!(output.status.success(), "{what}: {output:?}");
    }
}

/// As a start of the machine makes them.
#[test]
fn the_directory_of_the_socket_comes_back() {
    let users = Users::new();
    let told = users.ok("kv daemon install --root image --program /usr/bin/kv 2>/dev/null
         for start in 1 2; do
             systemd-sysusers --root=image 2>/dev/null
             systemd-tmpfiles --root=image --create kv.conf 2>/dev/null
             uid=$(grep ^kv: image/etc/passwd | cut -d: -f3) gid=$(grep ^kv: image/etc/group | cut -d: -f3)
             test $(stat -c %a:%u:%g image/run/kv) = 750:$uid:$gid && echo ready
             rm -r image/run
         done
         rm -r image");
    assert_eq!(told, "ready\nready\n");
}
