//! All daemons of a user: they are listed and ended wherever they were started from.

use serde_json::Value;

use crate::support::{Kv, is_alive, wait_until};

fn list(kv: &Kv, environment: &str) -> Vec<Value> {
    let listed: Vec<Value> =
        serde_json::from_str(&kv.ok(&format!("{environment} kv daemon list --output json"))).unwrap();
    // Other tests run beside this one, and daemons are found by the sockets that the system knows.
    let here = kv.directory.path().to_str().unwrap();
    let is_ours = |view: &Value| view["socket"].as_str().unwrap().starts_with(here);
    listed.into_iter().filter(is_ours).collect()
}

/// Three stores, from three environments, one of them with a socket of its choice.
fn start(kv: &Kv) -> Vec<u64> {
    kv.ok("mkdir -m 700 other home; \
           for name in a b c; do kv --daemon=never --connection $name.db init; done; \
           kv --connection a.db daemon start; \
           XDG_RUNTIME_DIR=$PWD/other kv --connection b.db daemon start; \
           kv --connection c.db --socket c.sock daemon start");
    let pid = |name: &str| {
        kv.ok(&format!("kv --connection {name}.db daemon status | jq .pid")).trim().parse().unwrap()
    };
    ["a", "b", "c"].map(pid).to_vec()
}

#[test]
fn every_daemon_is_listed_from_every_environment() {
    let kv = Kv::new();
    let pids = start(&kv);
    let held = std::os::unix::net::UnixStream::connect(kv.directory.path().join("c.sock")).unwrap();
    for environment in ["", "XDG_RUNTIME_DIR=$PWD/other", "env -i PATH=$PATH HOME=$PWD/home", "cd /; "] {
        let listed = list(&kv, environment);
        let stores: Vec<&str> = listed.iter().map(|view| view["store"].as_str().unwrap()).collect();
        let expected =
            ["a.db", "b.db", "c.db"].map(|name| kv.directory.path().join(name).display().to_string());
        assert_eq!(stores, expected, "{environment}");
        for (view, pid) in listed.iter().zip(&pids) {
            assert_eq!(view["pid"].as_u64(), Some(*pid), "{view}");
            assert_eq!(view["version"], env!("CARGO_PKG_VERSION"));
            assert!(view["uptime_s"].as_u64().unwrap() < 60 && view["answers"] == true, "{view}");
        }
        // Lists of tests that run beside this one connect to every daemon for a moment.
        wait_until("the clients of this test alone", || {
            let listed = list(&kv, environment);
            (&listed[0]["clients"], &listed[2]["clients"]) == (&Value::from(0), &Value::from(1))
        });
    }
    drop(held);
    let table = kv.ok("kv daemon list");
    let heading = table.lines().next().unwrap();
    assert_eq!(
        heading.split_whitespace().collect::<Vec<_>>(),
        ["STORE", "PID", "VERSION", "UPTIME", "CLIENTS", "SOCKET"]
    );
    let store = format!("{} ", kv.directory.path().join("c.db").display());
    let row = table.lines().find(|line| line.starts_with(&store)).unwrap();
    assert!(row.contains(&pids[2].to_string()) && row.ends_with("/c.sock"), "{table}");
}

/// A daemon that hangs cannot say which store it serves; the lock that it holds tells its process.
#[test]
fn a_daemon_that_hangs_is_listed_and_told_apart() {
    let kv = Kv::new();
    let pids = start(&kv);
    kv.ok(&format!("kill -STOP {}", pids[0]));
    let listed = list(&kv, "");
    assert_eq!(listed.len(), 3);
    let hung = listed.last().unwrap();
    assert!(hung["answers"] == false && hung["pid"].as_u64() == Some(pids[0]), "{hung}");
    let table = kv.ok("kv daemon list");
    assert!(
        table.lines().any(|line| line.contains("(does not answer)") && line.contains(&pids[0].to_string())),
        "{table}"
    );
    kv.ok(&format!("kill -CONT {}", pids[0]));
    wait_until("the answer", || list(&kv, "").iter().all(|view| view["answers"] == true));
}

/// Runs in namespaces of its own, so that it ends neither the daemons of other tests nor those of the user.
#[test]
fn stop_all_ends_every_daemon_that_answers_and_names_the_others() {
    let kv = Kv::new();
    let user = if kv.ok("id -u").trim() == "0" { "" } else { "--user --map-current-user --keep-caps" };
    let alone = format!(
        "unshare {user} --net --mount bash -c \"mount -t tmpfs -o mode=755 tmpfs /run; \
         [ ! -d /tmp/kv-$UID ] || mount -t tmpfs -o mode=700,uid=$UID tmpfs /tmp/kv-$UID; $0\""
    );
    let text = "for name in a b; do kv --connection $name.db init; kv --connection $name.db daemon status | jq .pid; done; \
                (exec kv --connection b.db watch > seen) & \
                until kv --connection b.db daemon status | jq -e '.attached == 1' > attached; do sleep 0.05; done; \
                kill -STOP $(kv --connection a.db daemon status | jq .pid); \
                kv daemon stop --all; echo $?; kill $!";
    let mut command = kv.command("bash");
    let output = command.env_remove("XDG_RUNTIME_DIR").args(["-c", &alone, text]).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let printed: Vec<u32> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    let [hung, ended, code] = printed[..] else { panic!("{stdout} {stderr}") };
    assert_eq!(code, 6, "{stderr}");
    for words in [
        format!("ended process {ended}, which served {}", kv.directory.path().join("b.db").display()),
        "starts the next daemon".to_owned(),
        format!("process {hung} at "),
        format!("kill -9 {hung}"),
    ] {
        assert!(stderr.contains(&words), "{words}: {stderr}");
    }
    assert!(is_alive(hung) && !is_alive(ended));
    kv.ok(&format!("kill -9 {hung}"));
}

/// A command that follows needs the store, and starts the next daemon: so the output names it.
#[test]
fn stop_tells_who_will_start_the_daemon_again() {
    let kv = Kv::new();
    kv.ok("kv init");
    assert_eq!(kv.ok("kv daemon stop 2>&1"), "", "nobody is there");
    let mut watch = kv.command("kv").arg("watch").stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the watch", || kv.ok("kv daemon status | jq .attached") == "1\n");
    let pid = kv.daemon_pid();
    let told = kv.ok("kv daemon stop 2>&1");
    assert!(
        told.contains(&format!("process {} kv", watch.id())) && told.contains("starts the next daemon"),
        "{told}"
    );
    assert!(!is_alive(pid));
    wait_until("the next daemon", || !kv.daemons().is_empty());
    watch.kill().unwrap();
    watch.wait().unwrap();
    wait_until("its end", || kv.ok("kv daemon status | jq .attached") == "0\n");
    assert_eq!(kv.ok("kv daemon stop 2>&1; kv daemon stop 2>&1"), "no daemon runs\n");
    assert_eq!(kv.daemons(), [0_u32; 0]);
}

/// `kv daemon run` is started on purpose; a daemon that a command has started makes way for it.
#[test]
fn a_daemon_in_the_foreground_takes_over_also_from_one_that_is_followed() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let seen = std::fs::File::create(kv.directory.path().join("seen")).unwrap();
    let mut watch = kv.command("kv").args(["watch", "--after", "0"]).stdout(seen).spawn().unwrap();
    let lines = || std::fs::read_to_string(kv.directory.path().join("seen")).unwrap().lines().count();
    wait_until("the first change", || lines() == 1);
    let spawned = kv.daemon_pid();
    // From another environment, where it has another socket.
    for (round, environment) in
        ["XDG_RUNTIME_DIR=$PWD/run", "XDG_RUNTIME_DIR=$PWD/other"].into_iter().enumerate()
    {
        kv.ok("mkdir -pm 700 other");
        let mut command = kv.command("bash");
        let mut daemon =
            command.args(["-c", &format!("{environment} exec kv daemon run 2> said")]).spawn().unwrap();
        wait_until("the daemon", || {
            let pid = kv.shell("kv --daemon=require daemon status | jq .pid").stdout;
            String::from_utf8(pid).unwrap().trim() == daemon.id().to_string()
        });
        assert!(!is_alive(spawned));
        assert!(kv.ok("cat said").contains("was ended"));
        kv.ok("kv put a --value 2");
        wait_until("the next change", || lines() == 2 + 2 * round);
        // Another one in the foreground does not.
        let (code, stderr) = kv.fails("kv daemon run");
        assert!(code == 6 && stderr.contains("another daemon serves this store"), "{code} {stderr}");
        assert_eq!(kv.daemon_pid(), daemon.id());
        kv.ok(&format!("kill {}", daemon.id()));
        assert!(daemon.wait().unwrap().success());
        // The watch starts the next one, which is taken over in the next round.
        wait_until("the next daemon", || !kv.daemons().is_empty());
        kv.ok("kv put a --value 3");
        wait_until("the last change", || lines() == 3 + 2 * round);
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
}
