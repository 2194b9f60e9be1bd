//! What a daemon tells its service manager.

use super::stand_in::{Manager, Reports};
use crate::support::{Kv, wait_until};

#[test]
fn the_manager_hears_of_the_life_of_the_daemon() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let (manager, mut reports) = (Manager::listen(&kv), Reports::listen(&kv));
    let variables =
        format!("export NOTIFY_SOCKET={} WATCHDOG_USEC=300000 WATCHDOG_PID=$$", reports.path.display());
    let service = manager.start(&kv, &variables);
    let store = format!("serves sqlite:{}/data.db to", kv.directory.path().canonicalize().unwrap().display());
    reports.wait_for(&format!("STATUS={store} no client"));
    assert_eq!(reports.heard()[..2], ["READY=1".to_owned(), format!("STATUS={store} no client")]);
    let mut client = kv.command("bash").args(["-c", "exec kv rpc < <(sleep 1000)"]).spawn().unwrap();
    reports.wait_for(&format!("STATUS={store} 1 client"));
    reports.wait_for("WATCHDOG=1");
    reports.wait_for("WATCHDOG=1");
    client.kill().unwrap();
    client.wait().unwrap();
    reports.wait_for(&format!("STATUS={store} no client"));
    let (code, stderr) = service.end(&kv);
    assert_eq!(code, 0, "{stderr}");
    let heard = reports.heard();
    let stopping = heard.iter().position(|line| line == "STOPPING=1").expect("it stops");
    assert!(heard[stopping..].iter().all(|line| line != "WATCHDOG=1" && line != "READY=1"), "{heard:?}");
    assert_eq!(heard.iter().filter(|line| *line == "READY=1").count(), 1);
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let (manager, mut reports) = (Manager::listen(&kv), Reports::listen(&kv));
    let variables =
        format!("export NOTIFY_SOCKET={} WATCHDOG_USEC=1000 WATCHDOG_PID=1", reports.path.display());
    let service = manager.start(&kv, &variables);
    reports.wait_for("READY=1");
    kv.ok("for i in 1 2 3; do kv put a --value $i; done");
    service.end(&kv);
    wait_until("the end", || reports.heard().contains(&"STOPPING=1".to_owned()));
    assert!(!reports.heard().contains(&"WATCHDOG=1".to_owned()));
}

/// strace makes each read of the file take longer than the daemon has time for an answer.
#[test]
fn a_daemon_whose_store_does_not_answer_does_not_feed_the_watchdog() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let (manager, mut reports) = (Manager::listen(&kv), Reports::listen(&kv));
    let variables = format!("export NOTIFY_SOCKET={} WATCHDOG_USEC=300000", reports.path.display());
    let service = manager.start(&kv, &variables);
    reports.wait_for("WATCHDOG=1");
    let mut slow = kv
        .command("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=pread64",
            "-e",
            "inject=pread64:delay_enter=20s",
            "-p",
        ])
        .arg(service.pid().to_string())
        .spawn()
        .unwrap();
    // Three times as long as the time within which the manager wants to be told.
    let mut heard = 0;
    wait_until("silence", || {
        let before = std::mem::replace(&mut heard, reports.heard().len());
        std::thread::sleep(std::time::Duration::from_millis(900));
        before == reports.heard().len() && before > 0
    });
    slow.kill().unwrap();
    slow.wait().unwrap();
    kv.ok(&format!("kill -9 {}", service.pid()));
}
