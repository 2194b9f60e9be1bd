//! `kv daemon install` and `uninstall`.

use crate::daemon::users::Users;
use crate::support::Kv;

#[test]
fn units_are_written_into_an_image_and_removed_again() {
    let kv = Kv::new();
    kv.ok("mkdir image");
    let install = |words: &str| {
        let output = kv.shell(&format!("kv {words} daemon install --root image --program /usr/bin/kv"));
        assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let told = install("");
    for words in [
        "wrote image/etc/systemd/system/kv.service",
        "wrote image/etc/systemd/system/kv.socket",
        "wrote image/etc/sysusers.d/kv.conf",
        "wrote image/etc/tmpfiles.d/kv.conf",
        "systemctl --root=image enable kv.socket kv.service",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    // As the project has them.
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    kv.ok(&format!("cd image/etc; cmp systemd/system/kv.service {units}/kv.service; cmp systemd/system/kv.socket {units}/kv.socket"));
    kv.ok("test -L image/etc/systemd/system/sockets.target.wants/kv.socket -a -L image/etc/systemd/system/multi-user.target.wants/kv.service");
    assert!(!install("").contains("wrote"), "it was there already");
    let told = install("--connection '/srv/k v/50%.db'");
    assert!(told.contains("sudo chown"), "{told}");
    let named = kv.ok("cat image/etc/systemd/system/kv.service.d/store.conf");
    assert!(named.contains("ReadWritePaths=\"/srv/k v\"\n") && named.contains("/50%%25.db?"), "{named}");
    let removed = kv.shell("kv daemon uninstall --root image");
    let told = String::from_utf8(removed.stderr).unwrap();
    assert!(removed.status.success() && told.contains("the store is kept: /srv/k v/50%.db"), "{told}");
    assert_eq!(kv.ok("find image -not -type d; find image -name '*.d' -path '*kv*'"), "");
    assert!(
        String::from_utf8(kv.shell("kv daemon uninstall --root image").stderr)
            .unwrap()
            .contains("there is no service")
    );
}

#[test]
fn a_password_is_in_one_file_that_only_its_owner_reads() {
    let kv = Kv::new();
    let words = "--type rqlite --connection http://kv:s3cret@db:4001 daemon install --root image --program /usr/bin/kv";
    assert!(!kv.ok(&format!("kv {words} --dry-run 2>&1")).contains("s3cret"));
    let told = kv.ok(&format!("mkdir image; kv {words} 2>&1"));
    assert!(!told.contains("s3cret"), "{told}");
    assert_eq!(
        kv.ok("grep -rl s3cret image; stat -c %a image/etc/kv/connection"),
        "image/etc/kv/connection\n600\n"
    );
    assert!(
        kv.ok("cat image/etc/systemd/system/kv.service.d/server.conf")
            .contains("Environment=KV_TYPE=rqlite\n")
    );
    // One that was opened to others is closed again.
    kv.ok(&format!("chmod 644 image/etc/kv/connection; kv {words} 2>/dev/null; test $(stat -c %a image/etc/kv/connection) = 600"));
    // The file that is there names the store.
    kv.ok("kv --type postgres daemon install --root image --program /usr/bin/kv 2>/dev/null; grep s3cret image/etc/kv/connection");
    kv.ok("kv daemon uninstall --root image 2>/dev/null; test ! -e image/etc/kv");
    let (code, stderr) = kv.fails("kv --type postgres daemon install --root image --program /usr/bin/kv");
    assert!(code == 2 && stderr.contains("image/etc/kv/connection"), "{stderr}");
}

#[test]
fn what_a_service_of_the_system_cannot_see_is_refused() {
    let kv = Kv::new();
    let refused = |words: &str, hint: &str| {
        let (code, stderr) = kv.fails(&format!("kv {words}"));
        assert!(code == 2 && stderr.contains(hint), "{code} {stderr}");
    };
    let dry = "daemon install --dry-run --program";
    refused(&format!("{dry} /home/alice/kv"), "/usr/local/bin/kv");
    refused(&format!("--connection /tmp/data.db {dry} /usr/bin/kv"), "--user");
    refused(&format!("--connection :memory: {dry} /usr/bin/kv"), "a memory store");
    kv.ok(&format!("kv --connection /tmp/data.db {dry} /home/alice/kv --user"));
}

/// With a stand-in for `systemctl`, where systemd seems to run, and with a directory of configurations that is thrown away.
const STAND_INS: &str = r##"
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir etc; cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache etc
    mount -t tmpfs -o mode=755 tmpfs /etc; cp -a etc/. /etc; rm -r etc
    for program in systemctl systemd-sysusers systemd-tmpfiles; do
        printf "%s\n" "#!/bin/sh" "echo \$(basename \$0) \"\$@\" >> $PWD/calls" > bin/$program; chmod 755 bin/$program
    done
    touch calls; chmod 666 calls; mkdir -p /run/systemd/system
"##;

#[test]
fn the_manager_is_told_what_has_changed() {
    let users = Users::new();
    let calls = |text: &str| {
        let told = users.ok(&format!("export -f as; rm -f calls; unshare --mount bash -c 'set -e; {STAND_INS} {text}' 2>told || {{ cat told >&2; exit 1; }}; cat calls"));
        told.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let once =
        ["systemd-sysusers /etc/sysusers.d/kv.conf", "systemd-tmpfiles --create /etc/tmpfiles.d/kv.conf"];
    let start = ["systemctl daemon-reload", "systemctl enable --now kv.socket kv.service"];
    let again = [&once[..], &start].concat();
    let install = "kv daemon install --program /usr/bin/kv";
    assert_eq!(calls(install), again);
    assert_eq!(calls(&format!("{install}; {install}")), [&again[..], &again].concat());
    let changed = [&again[..], &again, &["systemctl restart kv.socket kv.service"]].concat();
    assert_eq!(
        calls(&format!("{install}; kv --connection /srv/data.db daemon install --program /usr/bin/kv")),
        changed
    );
    let removed =
        [&again[..], &["systemctl disable --now kv.socket kv.service", "systemctl daemon-reload"]].concat();
    assert_eq!(
        calls(&format!("{install}; kv daemon uninstall; test ! -e /etc/systemd/system/kv.service")),
        removed
    );
    assert_eq!(
        calls(
            "as alice kv daemon install --user; grep -q home/alice/data.db home/alice/.config/systemd/user/kv.service.d/store.conf"
        ),
        ["systemctl --user daemon-reload", "systemctl --user enable --now kv.socket kv.service"]
    );
    assert_eq!(calls("! as alice kv daemon install --program /usr/bin/kv"), [""; 0]);
}

#[test]
fn without_systemd_there_is_no_service() {
    let users = Users::new();
    let (code, stderr) = users.fails(
        "unshare --mount bash -c 'mount -t tmpfs tmpfs /run; kv daemon install --program /usr/bin/kv'",
    );
    assert!(code == 1 && stderr.contains("--root DIR"), "{code} {stderr}");
}
