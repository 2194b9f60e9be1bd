//! The examples of the help are true.

use super::{commands, section};
use crate::support::{Kv, wait_until};

/// What the examples expect to be there.
const PREPARED: &str = r#"
    kv init
    kv put hello --text world
    kv put user/1 --value '{"name":"Ada"}' --of-type User
    kv put user/2 --value '{"name":"Bob"}' --of-type User
    kv lock acquire deploy alice >acquired
    kv consumer commit mailer 1 >committed
    kv backup backup.db
    kv export records.ndjson
    echo '{"op":"put","key":"imported","value":1}' >mutations.ndjson
    echo '{"id":1,"op":"count"}' >requests.ndjson
    mkdir -p .config/kv .local/share/man/man1
    echo '[profiles.notes]' >.config/kv/config.toml
    echo "connection = '$HOME/notes.db'" >>.config/kv/config.toml
"#;

#[test]
fn examples_are_true() {
    let kv = Kv::new();
    for command in commands(&kv) {
        let help = kv.ok(&format!("COLUMNS=80 kv {command} --help"));
        let kv = Kv::new();
        if !command.is_empty() {
            kv.ok(PREPARED);
        }
        for example in section(&help, "Examples:") {
            // The program under test may be where a service does not see it.
            let example = example.replace("daemon install", "daemon install --program /usr/bin/kv");
            match command.as_str() {
                "daemon run" => runs_until_it_is_stopped(&kv, &example),
                _ => drop(kv.ok(&format!("set -o pipefail; {example}"))),
            }
        }
    }
}

/// A daemon in the foreground serves the store until it is told to end.
fn runs_until_it_is_stopped(kv: &Kv, example: &str) {
    kv.ok("kv daemon stop");
    let mut daemon = kv.command("bash").args(["-c", &format!("exec {example}")]).spawn().unwrap();
    wait_until("the daemon", || kv.shell("kv --daemon=require count all").status.success());
    kv.ok("kv daemon stop");
    assert!(daemon.wait().unwrap().success(), "{example}");
}
