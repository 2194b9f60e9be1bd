//! The service of the system, which other users use too. In a mount namespace of its own, because `/run/kv` is a place of the
//! whole machine.

use crate::daemon::users::Users;

/// Plays the manager: binds the socket with a mode and a group, and becomes alice's daemon behind it.
const MANAGER: &str = r#"
import os, socket, sys
uid, gid, mode, prelude = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3], 8), sys.argv[4]
listener = socket.socket(socket.AF_UNIX)
listener.bind("/run/kv/kv.sock")
os.chown("/run/kv/kv.sock", uid, gid)
os.chmod("/run/kv/kv.sock", mode)
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.chdir("home/alice")
os.environ.update(HOME=os.getcwd(), LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), SYSTEMD_EXEC_PID=str(os.getpid()))
become = "exec setpriv --reuid %d --regid %d --clear-groups kv daemon run" % (uid, uid)
os.execvp("bash", ["bash", "-c", prelude + "; " + become])
"#;

/// Runs a text where alice's daemon is behind a socket in `/run/kv`, which has this mode, with the store in alice's home.
fn with_service(users: &Users, mode: &str, prelude: &str, text: &str) -> String {
    std::fs::write(users.kv.directory.path().join("manager.py"), MANAGER).unwrap();
    users.ok(&format!(
        "export -f as; timeout 60 unshare --mount --kill-child --fork bash -c '
             set -e
             mount -t tmpfs -o mode=755 tmpfs /run
             install -d -o $alice -g users -m 750 /run/kv
             groups=users as alice kv --daemon=never init 2>/dev/null
             database=$PWD/home/alice/data.db
             python3 manager.py $alice $(getent group users | cut -d: -f3) {mode} \"{prelude}\" 2>log &
             service=$!
             until test -e /run/kv/kv.sock.life-lock; do kill -0 $service || cat log >&2; sleep 0.05; done
             {text}
             kill $service; wait'"
    ))
}

#[test]
fn the_members_of_the_group_use_the_service() {
    let users = Users::new();
    let told = with_service(
        &users,
        "660",
        "true",
        "groups=users as bob kv --connection $database put a --value 1
         groups=users as bob kv --connection $database get a
         groups=users as alice kv get a
         groups=users as bob kv --socket /run/kv/kv.sock get a
         as bob kv --connection $database get a 2>/dev/null || echo refused
         kv --connection $database get a
         kv --connection $database socket
         pgrep --count --uid $alice,$bob --full -- --spawned || true",
    );
    assert_eq!(told, "1\n1\n1\nrefused\n1\n/run/kv/kv.sock\n0\n");
}

#[test]
fn a_socket_that_is_open_to_all_serves_its_owner_alone() {
    let users = Users::new();
    let told = with_service(
        &users,
        "666",
        "true",
        "groups=users as bob kv --socket /run/kv/kv.sock get a 2>/dev/null || echo refused
         groups=users as alice kv put a --value 1; groups=users as alice kv get a",
    );
    assert_eq!(told, "refused\n1\n");
}

#[test]
fn a_daemon_of_a_unit_is_left_to_systemctl() {
    let users = Users::new();
    let told = with_service(
        &users,
        "660",
        "echo 0::/system.slice/kv.service > /run/cgroup; mount --bind /run/cgroup /proc/\\$\\$/cgroup",
        "groups=users as alice kv daemon status | jq -r .unit
         for what in stop restart; do groups=users as alice kv daemon $what 2>&1 | tail -n 1; done
         groups=users as alice kv daemon stop --all 2>&1 | grep -o systemctl.*",
    );
    assert_eq!(
        told,
        "kv.service\nhint: sudo systemctl stop kv.socket kv.service\nhint: sudo systemctl restart kv.service\n\
         systemctl stop kv.socket kv.service\n"
    );
}
