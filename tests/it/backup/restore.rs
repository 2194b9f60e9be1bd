//! `kv restore`: another store in the place of this one, or nothing.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kv::Client;
use kv::store::{Put, Store as _};

use super::back_to;
use crate::support::{Kv, json, runtime, wait_until};

/// A store with a backup of an earlier time beside it.
fn store() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv put b --value 1; kv lock acquire deploy me; kv consumer commit mail 1");
    kv.ok("kv backup b.db; kv put a --value 2; kv put c --value 1; kv delete b; kv consumer commit mail 4");
    kv
}

fn keys(kv: &Kv, connection: &str) -> String {
    let list = format!(
        "kv --connection {connection} list 0 -1 --keys-only --output ndjson | jq -r . | paste -sd ' '"
    );
    kv.ok(&list).trim_end().to_owned()
}

/// The stores that were replaced, the last one last.
fn kept(kv: &Kv) -> Vec<String> {
    let names = kv.ok("ls -tr | grep 'before-restore-[0-9TZ]*\\(-[0-9]*\\)\\?$' || true");
    names.lines().map(str::to_owned).collect()
}

fn epoch(kv: &Kv) -> String {
    kv.ok("kv daemon status | jq -r .epoch")
}

/// What a restore that was refused must leave: the store as it was, and nothing beside it.
#[track_caller]
fn is_untouched(kv: &Kv) {
    assert_eq!(keys(kv, "data.db"), "a c");
    assert_eq!(kv.ok("ls | grep -e restore || true"), "");
    kv.ok("kv check");
}

#[track_caller]
fn refused(kv: &Kv, text: &str, code: i32, told: &str) {
    let (found, stderr) = kv.fails(text);
    assert!(found == code && stderr.contains(told), "{text}: {found} {stderr}");
}

#[test]
fn a_restore_brings_the_backup_back_and_keeps_the_store_of_before() {
    for mode in ["auto", "never"] {
        let kv = store();
        let before = epoch(&kv);
        let pid = kv.daemon_pid();
        if mode == "never" {
            kv.ok("kv daemon stop");
        }
        let told = kv.ok(&format!("kv --daemon={mode} restore b.db 2>&1"));
        let kept = kept(&kv);
        assert_eq!(
            told,
            format!(
                "restored from b.db: 2 records, up to change 2\nthe store of before is kept beside it as {}\n",
                kept[0]
            )
        );
        assert_eq!(keys(&kv, "data.db"), "a b");
        assert_eq!(kv.ok("kv get a; kv stream seq; kv consumer status mail | jq .position"), "1\n2\n1\n");
        assert_eq!(keys(&kv, &format!("'file:{}?mode=ro' --daemon=never", kept[0])), "a c");
        assert_ne!(epoch(&kv), before, "it is another history");
        assert_eq!(kv.daemon_pid() == pid, mode == "auto", "the daemon goes on");
        kv.ok("kv check; kv put new --value 1");
        assert_eq!(
            kv.ok("ls -A | grep -v -e '^run$' -e before-restore"),
            "b.db\ndata.db\ndata.db-shm\ndata.db-wal\ndata.db.kv-lock\n"
        );
        // The one that was kept is a backup like any other.
        kv.ok(&format!("kv restore {}", kept[0]));
        assert_eq!(keys(&kv, "data.db"), "a c");
    }
}

#[test]
fn a_backup_comes_through_a_pipe_too() {
    let kv = store();
    kv.ok("kv backup - | kv restore -");
    assert_eq!(keys(&kv, "data.db"), "a c");
    kv.ok("kv restore - < b.db");
    assert_eq!(keys(&kv, "data.db"), "a b");
    assert_eq!(kept(&kv).len(), 2, "none was overwritten");
}

#[test]
fn a_store_is_restored_where_none_is() {
    for mode in ["auto", "never"] {
        let kv = store();
        kv.ok(&format!("kv --connection other.db --daemon={mode} restore b.db"));
        assert_eq!(keys(&kv, "other.db"), "a b");
        assert_eq!(kv.ok("stat -c %a other.db"), "600\n");
        kv.ok("kv --connection other.db check; kv --connection other.db daemon stop");
        // A log that a store left which is gone is not played into it.
        kv.ok("cp data.db-wal gone.db-wal; touch gone.db-journal");
        kv.ok(&format!("kv --connection gone.db --daemon={mode} restore b.db"));
        assert_eq!(keys(&kv, "gone.db"), "a b");
        kv.ok("kv --connection gone.db check; kv --connection gone.db daemon stop");
        assert_eq!(
            kv.ok(
                "ls | grep -c -e '^gone.db.before-restore-.*-wal$' -e '^gone.db.before-restore-.*-journal$'"
            ),
            "2\n"
        );
        refused(
            &kv,
            &format!("kv --connection nowhere/x.db --daemon={mode} restore b.db"),
            2,
            "directory must exist",
        );
        refused(&kv, "kv --connection :memory: restore b.db", 1, "memory store");
        refused(&kv, "kv --connection 'file:data.db?mode=ro' restore b.db", 6, "mode=ro");
    }
}

#[test]
fn the_mode_of_the_store_is_that_of_the_next_one() {
    let kv = store();
    kv.ok("kv daemon stop; chmod 640 data.db; kv restore b.db");
    assert_eq!(kv.ok("stat -c %a data.db data.db.before-restore-*"), "640\n640\n");
}

fn follower(kv: &Kv, words: &str) -> Child {
    let mut command = kv.command("kv");
    command.args(words.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn whoever_follows_the_stream_is_told_that_it_is_another_one() {
    let kv = store();
    let mut followers = [
        follower(&kv, "watch --after 0"),
        follower(&kv, "watch"),
        follower(&kv, "consumer stream mail"),
        follower(&kv, "consumer stream other -- cat"),
    ];
    wait_until("all of them", || kv.ok("kv daemon status | jq .attached").trim() == "4");
    let mut seen = String::new();
    BufReader::new(followers[0].stdout.as_mut().unwrap()).read_line(&mut seen).unwrap();
    kv.ok("kv restore b.db");
    for follower in followers {
        let output = follower.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(7) && stderr.contains("(epoch_changed)"), "{stderr}");
        assert!(stderr.contains("hint: list the records again"), "{stderr}");
    }
    // The position came with the backup, and no session holds the consumer.
    assert_eq!(kv.ok("kv consumer status mail | jq -c '[.position, .holder]'"), "[1,null]\n");
    assert_eq!(kv.ok("kv consumer stream mail --limit 1 | jq .seq"), "2\n");
}

#[test]
fn a_cursor_of_before_is_refused_whenever_it_comes() {
    let kv = store();
    let before = epoch(&kv).trim().to_owned();
    kv.ok("kv restore b.db; kv daemon stop");
    let subscribe = format!(r#"{{"op":"subscribe","after":1,"epoch":"{before}"}}"#);
    assert_eq!(kv.ok(&format!("printf '%s\\n' '{subscribe}' '{{\"op\":\"bye\"}}' | kv rpc | jq -r 'select(.ok == false) | .error.code'")), "epoch_changed\n");
}

#[test]
fn no_fencing_token_is_given_twice_and_no_lock_outlives_the_store() {
    let kv = store();
    kv.ok("kv lock release deploy me");
    assert_eq!(kv.ok("kv lock acquire deploy you | jq .fence"), "2\n");
    let waiting = follower(&kv, "lock acquire deploy third --wait 60s");
    wait_until("the waiter", || kv.ok("kv daemon status | jq .attached").trim() == "1");
    kv.ok("kv restore b.db");
    let granted = waiting.wait_with_output().unwrap();
    assert!(
        String::from_utf8(granted.stdout).unwrap().contains("\"fence\":3"),
        "who waits gets it, with a new token"
    );
    kv.ok("kv lock release deploy third");
    for token in [1, 2, 3] {
        refused(&kv, &format!("kv put a --value 9 --fence deploy:{token}"), 4, "fenced");
    }
    assert_eq!(kv.ok("kv lock list; kv lock acquire other me | jq .fence"), "[]\n4\n");
    // Nor by going back and forth.
    kv.ok("kv restore b.db; kv restore $(ls -t data.db.before-restore-* | head -1)");
    assert_eq!(kv.ok("kv lock acquire deploy me | jq .fence"), "5\n");
    kv.ok("kv check");
}

#[test]
fn a_store_that_is_damaged_is_replaced_and_kept_with_its_log() {
    for damage in [
        "head -c 9000 /dev/urandom > data.db",
        "head -c 4096 /dev/urandom | dd of=data.db conv=notrunc status=none",
        ": > data.db",
        "head -c 40000 /dev/urandom | dd of=data.db bs=4096 seek=1 conv=notrunc status=none",
        "sqlite3 data.db 'drop table kv_meta'",
    ] {
        for mode in ["auto", "never"] {
            let kv = store();
            let pid = kv.daemon_pid();
            kv.ok("kv lock acquire late me > fence");
            kv.kill_daemon(pid);
            kv.ok(&format!("{damage}; kv --daemon={mode} restore b.db"));
            assert_eq!(keys(&kv, "data.db"), "a b", "{damage}");
            kv.ok("kv check");
            assert_eq!(kv.ok("ls | grep -c before-restore-.*Z$"), "1\n");
            let fence: u64 = kv.ok("kv lock acquire l me | jq .fence").trim().parse().unwrap();
            assert!(fence > 2, "{damage}: {fence}");
        }
    }
}

#[test]
fn what_is_no_sound_store_is_refused_and_changes_nothing() {
    let kv = store();
    kv.ok("echo text > text; : > empty.db; sqlite3 foreign.db 'create table t (x)'; mkdir folder; cp b.db newer.db");
    kv.ok("sqlite3 newer.db \"insert into kv_migration values (99, 'x', 0)\"");
    kv.ok("cp b.db hole.db; sqlite3 hole.db 'delete from kv_stream where seq = 1'");
    kv.ok("cp b.db trigger.db; sqlite3 trigger.db 'create trigger t after insert on kv_lock begin select 1; end'");
    kv.ok("cp b.db pages.db; head -c 4096 /dev/urandom | dd of=pages.db bs=4096 seek=3 conv=notrunc status=none");
    kv.ok("head -c 20000 b.db > short.db");
    for (words, code, told) in [
        ("nothing.db", 2, "No such file"),
        ("folder", 2, "not a regular file"),
        ("data.db", 2, "the store itself"),
        ("text", 1, "(unsupported)"),
        ("empty.db", 1, "(unsupported)"),
        ("foreign.db", 1, "holds no store"),
        ("newer.db", 1, "schema 99"),
        ("hole.db", 6, "change 1 is missing"),
        ("trigger.db", 6, "is damaged"),
        ("pages.db", 6, "is damaged"),
        ("short.db", 6, "shorter than it says"),
        ("- < text", 1, "(unsupported)"),
        ("- < /dev/null", 1, "(unsupported)"),
        ("- < hole.db", 6, "change 1 is missing"),
        ("- < short.db", 6, "is damaged"),
    ] {
        refused(&kv, &format!("kv restore {words}"), code, told);
        is_untouched(&kv);
    }
    refused(&kv, "kv --connection foreign.db restore b.db", 1, "tables of another application");
    refused(&kv, "kv --type postgres restore b.db", 1, "unsupported");
    kv.ok("kv --connection foreign.db daemon stop");
    assert_eq!(kv.ok("sqlite3 foreign.db .tables"), "t\n");
}

#[test]
fn an_older_backup_is_brought_up_to_date_and_that_is_told() {
    let kv = store();
    kv.ok(&format!("sqlite3 b.db '{}'", back_to(2)));
    let told = kv.ok("kv restore b.db 2>&1");
    assert!(told.starts_with("the backup had schema 2: it was brought up to date\n"), "{told}");
    assert_eq!(
        kv.ok("sqlite3 b.db 'select max(number) from kv_migration'"),
        "2\n",
        "the backup stays as it is"
    );
    assert_eq!(keys(&kv, "data.db"), "a b");
    kv.ok("kv check");
}

/// Another process that has the file open would go on with the store of before.
#[test]
fn a_store_that_another_process_uses_is_not_replaced() {
    let kv = store();
    let mut idle = kv.command("sqlite3").arg("data.db").stdin(Stdio::piped()).spawn().unwrap();
    let mut words = idle.stdin.take().unwrap();
    // It holds a descriptor and no lock.
    words.write_all(b"begin;\nrollback;\n.shell touch opened\nselect 1;\n.open data.db\nselect count(*) from kv_record;\n").unwrap();
    wait_until("the other program", || kv.directory.path().join("opened").exists());
    for mode in ["auto", "never"] {
        refused(&kv, &format!("kv --daemon={mode} restore b.db"), 6, "(busy)");
        is_untouched(&kv);
    }
    let (_, stderr) = kv.fails("kv restore b.db");
    assert!(stderr.contains(&format!("{} (sqlite3)", idle.id())), "{stderr}");
    words.write_all(b".quit\n").unwrap();
    idle.wait().unwrap();
    kv.ok("kv restore b.db");
    assert_eq!(keys(&kv, "data.db"), "a b");
}

#[test]
fn what_an_interrupted_restore_left_is_told_and_never_removed() {
    let kv = store();
    kv.ok("cp b.db data.db.kv-restore");
    let told = kv.ok("kv restore b.db 2>&1");
    assert!(
        told.contains(
            "a restore was interrupted before: what it left is kept as data.db.unfinished-restore-"
        ),
        "{told}"
    );
    kv.ok("cmp b.db data.db.unfinished-restore-*; test ! -e data.db.kv-restore");
    kv.ok("touch data.db.kv-restore; (flock 9; touch locked; while test -e locked && ! test -e enough; do sleep 0.05; done) 9< data.db.kv-restore > /dev/null 2>&1 & until test -e locked; do sleep 0.05; done");
    refused(&kv, "kv restore b.db", 6, "another restore of");
    kv.ok("touch enough");
}

#[test]
fn nothing_is_taken_that_this_user_did_not_stage() {
    let kv = store();
    let before = epoch(&kv);
    let socket = kv.ok("kv socket").trim().to_owned();
    let ask = |kv: &Kv| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"{\"op\":\"restore\",\"epoch\":\"e\"}\n").unwrap();
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply).unwrap();
        assert!(reply.contains("\"ok\":false") && !reply.contains("maybe"), "{reply}");
        assert_eq!(epoch(kv), before);
        kv.ok("kv check");
        reply
    };
    ask(&kv);
    for staged in ["cp b.db", "ln b.db", "ln -s b.db", "echo x >", "mkdir"] {
        kv.ok(&format!("{staged} data.db.kv-restore"));
        ask(&kv);
        kv.ok("rm -r data.db.kv-restore");
    }
}

#[test]
fn without_space_nothing_is_restored() {
    let kv = store();
    kv.ok("printf '\"%0300000d\"' 0 | kv put large; kv backup large.db; kv delete large; kv compact");
    for words in ["large.db", "- < large.db"] {
        refused(&kv, &format!("ulimit -f 100; kv restore {words}"), 6, "(store_full)");
        is_untouched(&kv);
    }
}

/// Puts one key after the other until it is stopped, and keeps the answer to each.
fn writer(
    socket: String,
    name: usize,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<[Vec<String>; 2]> {
    std::thread::spawn(move || {
        runtime().block_on(async {
            let store = Client::connect(socket.as_ref()).await.unwrap();
            let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let key = format!("{name}/{number}");
                match store.put(Put::new(&key, json("1"))).await {
                    Ok(_) => {
                        acknowledged.push(key);
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) if error.maybe => {}
                    Err(_) => refused.push(key),
                }
            }
            [acknowledged, refused]
        })
    })
}

#[test]
fn no_write_that_was_acknowledged_during_restores_is_in_neither_file() {
    let kv = store();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let socket = kv.ok("kv socket").trim().to_owned();
    let writer = |name| writer(socket.clone(), name, Arc::clone(&count), Arc::clone(&stop));
    let writers: Vec<_> = (0..4).map(writer).collect();
    for round in 1..=5 {
        wait_until("more writes", || count.load(Ordering::SeqCst) >= 20 * round);
        kv.ok("kv restore b.db");
    }
    stop.store(true, Ordering::SeqCst);
    let mut stored = Vec::new();
    for connection in kept(&kv).iter().map(String::as_str).chain(["data.db"]) {
        kv.ok(&format!("kv --connection {connection} check"));
        let list = kv.ok(&format!("kv --daemon=never --connection {connection} list 0 -1 --keys-only"));
        stored.extend(serde_json::from_str::<Vec<String>>(&list).unwrap());
    }
    let all: HashSet<_> = stored.iter().collect();
    for [acknowledged, refused] in writers.into_iter().map(|writer| writer.join().unwrap()) {
        assert!(acknowledged.iter().all(|key| all.contains(key)), "an acknowledged write is lost");
        assert!(!refused.iter().any(|key| all.contains(key)), "a refused write is there");
    }
}
