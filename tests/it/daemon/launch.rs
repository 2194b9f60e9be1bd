//! A daemon does not depend on its first caller: it keeps neither its limits nor its descriptors.

use crate::support::{Kv, wait_until};

/// Starts a daemon from a shell text, which finds the command in `$start`, and answers what the system knows of it.
fn daemon_of(kv: &Kv, caller: &str) -> String {
    kv.ok(&format!(
        "kv daemon stop; start='kv put a --value 1'; {caller}; pid=$(kv daemon status | jq .pid); exec 2>&1; \
         cat /proc/$pid/limits /proc/$pid/oom_score_adj; \
         grep -E '^(Sig(Blk|Ign|Cgt)|Cpus_allowed_list|Umask)' /proc/$pid/status; \
         ps -o ni=,cls=,tty=,comm= -p $pid; readlink /proc/$pid/cwd /proc/$pid/fd/0 /proc/$pid/fd/1; \
         [ $(ps -o sid= -p $pid) != $(ps -o sid= -p $$) ] && echo a session of its own; \
         [ $(ps -o pgid= -p $pid) = $pid ] && echo a group of its own; \
         ! readlink /proc/$pid/fd/* | grep -vE '^(socket:|anon_inode:|/dev/null$)|/data.db|/run/kv/'"
    ))
}

#[test]
fn the_daemon_is_the_same_whoever_starts_it() {
    let kv = Kv::new();
    kv.ok("kv init; touch file");
    let expected = daemon_of(&kv, "$start");
    // Behind that would stand descriptors that are not a daemon's.
    assert!(expected.ends_with("a session of its own\na group of its own\n"), "{expected}");
    let mut callers = vec![
        "(ulimit -S -f 200 -n 40 -d 2000000 -t 100 -s 1000 -u $(($(ulimit -H -u) - 1)); exec $start)",
        "(ulimit -S -v 2000000; exec $start)",
        "(umask 0; exec setsid --wait taskset 1 $start)",
        "env --ignore-signal --block-signal $start",
        "env --ignore-signal=HUP,TERM,CHLD --block-signal=INT,TERM,USR1 $start",
        "$start <&- >&- 2>&-",
        "$start 7<file 8>>other 9< <(true) | cat",
        "(echo 500 > /proc/self/oom_score_adj; exec $start)",
        "script -qec \"$start\" /dev/null > terminal",
        "nohup $start 2> said",
    ];
    // Only root may take these back.
    if kv.ok("id -u").trim() == "0" {
        callers.extend([
            "nice -n 7 $start",
            "nice -n -7 $start",
            "chrt --idle 0 $start",
            "chrt --batch 0 $start",
        ]);
    }
    for caller in callers {
        assert_eq!(daemon_of(&kv, caller), expected, "{caller}");
    }
}

/// The caller that is met by a limit is another one than the caller that has it.
#[test]
fn a_soft_limit_on_file_sizes_is_nobody_elses() {
    let kv = Kv::new();
    kv.ok("kv init; kv daemon stop; (ulimit -S -f 200; kv put a --value 1)");
    kv.ok(
        "big=$(head -c 100000 /dev/zero | tr '\\0' x); for i in 1 2 3 4; do kv put big/$i --text $big; done",
    );
}

/// A process that waits for the end of a pipe, or for a lock, waits for the caller only.
#[test]
fn no_descriptor_of_the_caller_lives_on_in_the_daemon() {
    let kv = Kv::new();
    kv.ok("kv init; kv daemon stop; mkfifo pipe");
    let heard = kv
        .ok("timeout 10 cat pipe & (exec 8> pipe 9> lock; flock 9; kv daemon start; echo told >&8); wait $!");
    assert_eq!(heard, "told\n");
    kv.ok("flock -n lock true; kv daemon stop");
    assert_eq!(kv.ok("timeout 10 cat <(kv put a --value 1 --print-version 2>&1; exec sleep 0)"), "1\n");
    // From a session whose terminal goes away.
    kv.ok("kv daemon stop; script -qec 'kv put a --value 2' /dev/null");
    assert_eq!(kv.ok("kv --daemon=require get a"), "2\n");
}

/// Starting a daemon changes nothing for a command that is run afterwards.
#[test]
fn a_command_gets_the_descriptors_of_its_caller_also_where_the_daemon_was_started_for_it() {
    let kv = Kv::new();
    kv.ok("kv init");
    for run in
        ["kv lock run j --", "kv watch --after 0 --limit 1 --", "kv consumer stream c --from 0 --limit 1 --"]
    {
        kv.ok("kv put a --value 1; kv daemon stop");
        for _ in 0..2 {
            kv.ok("kv consumer delete c; kv daemon stop");
            let printed = kv.ok(&format!("{run} cat /dev/fd/7 /dev/fd/9 7< <(echo seven) 9< <(echo nine)"));
            assert_eq!(printed, "seven\nnine\n", "{run}");
        }
    }
}

/// A namespace cannot be left, and need not be: the same file is the same store.
#[test]
fn a_daemon_of_another_mount_namespace_serves_the_store_all_the_same() {
    let kv = Kv::new();
    let elsewhere = match kv.ok("id -u").trim() {
        "0" => "unshare --mount",
        _ => "unshare --user --map-current-user --mount",
    };
    kv.ok(&format!("kv init; kv daemon stop; {elsewhere} kv put a --value 1"));
    let pid = kv.daemon_pid();
    assert_eq!(kv.ok(&format!("kv put b --value 2; kv get a; {elsewhere} kv get b")), "1\n2\n");
    assert_eq!(kv.daemons(), [pid]);
    kv.ok("kv daemon stop");
    wait_until("the end", || kv.daemons().is_empty());
}
