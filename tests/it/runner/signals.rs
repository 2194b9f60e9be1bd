//! Signals reach a program once, however they are sent, and keep the settings of the process that started kv.

use super::{forget, with_each_runner, with_one_change};
use crate::support::{Kv, wait_until};

/// Runs a scenario of signals.py with the arguments of a runner, and answers its output.
fn told(kv: &Kv, way: &str, runner: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/runner/signals.py");
    kv.ok(&format!("timeout -s KILL 60 python3 {script} {way} {runner}"))
}

#[test]
fn a_signal_to_kv_or_to_its_group_reaches_the_program_once() {
    with_each_runner(|kv, runner| {
        let names = ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "CONT", "WINCH"];
        let expected = names.map(|name| format!("kill {name} 1\nkillpg {name} 1\n")).concat();
        assert_eq!(told(kv, "by_kill", runner), format!("{expected}exit code 7\n"), "{runner}");
    });
}

#[test]
fn a_signal_of_the_terminal_reaches_the_program_once() {
    with_each_runner(|kv, runner| {
        let expected = "Ctrl-C 1\nCtrl-\\ 1\na new size 1\nhang-up 1\nexit code 7\n";
        assert_eq!(told(kv, "by_terminal", runner), expected, "{runner}");
    });
}

#[test]
fn a_shell_stops_continues_and_ends_the_program_as_any_job() {
    with_each_runner(|kv, runner| {
        let expected = "Ctrl-Z and fg, twice: 2\nCtrl-C 1\nkill %1 1\n";
        assert_eq!(told(kv, "by_shell", runner), expected, "{runner}");
    });
}

#[test]
fn timeout_tells_the_program_once() {
    with_each_runner(|kv, runner| assert_eq!(told(kv, "by_timeout", runner), "timeout 1\n", "{runner}"));
}

/// The signals that end a process which does nothing about them, with the exit codes of a shell.
const ENDS: [(&str, i32); 7] =
    [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131), ("USR1", 138), ("USR2", 140), ("ALRM", 142)];

/// kv itself ends as the program does, and the lock is free again.
#[test]
fn a_signal_that_ends_the_program_ends_kv() {
    with_each_runner(|kv, runner| {
        for (signal, code) in ENDS {
            // A shell lets its jobs in the background ignore some of them.
            let printed = kv.ok(&format!(
                "ulimit -c 0; env --default-signal {runner} sh -c 'echo > begun; exec sleep 60' & run=$!; \
                 until [ -e begun ]; do sleep 0.01; done; kill -{signal} $run; wait $run; echo $?; rm begun; \
                 kv lock status j | jq .held"
            ));
            assert_eq!(printed, format!("{code}\nfalse\n"), "{signal} {runner}");
        }
    });
}

/// Also before there is a program, and where there is none.
#[test]
fn a_signal_ends_a_command_that_waits_or_prints() {
    for (signal, code) in ENDS {
        let kv = with_one_change();
        kv.ok("kv lock acquire j other; kv watch --after 0 --limit 1");
        std::thread::scope(|scope| {
            for command in [
                "lock run j -- true",
                "watch",
                "consumer stream p",
                "watch -- true",
                "consumer stream q --from now -- true",
            ] {
                let kv = &kv;
                scope.spawn(move || {
                    // Ready once it hears of the last signal, which ends nothing.
                    let output = kv.shell(&format!(
                        "ulimit -c 0; env --default-signal kv {command} > {signal}-$$ & run=$!; \
                         caught() {{ grep -q 'SigCgt:.*[89a-f][0-9a-f]\\{{6\\}}$' /proc/$run/status; }}; \
                         until caught || ! [ -e /proc/$run ]; do sleep 0.01; done; \
                         kill -CONT $run; kill -WINCH $run; kill -{signal} $run; wait $run; echo $?"
                    ));
                    let printed = String::from_utf8_lossy(&output.stdout);
                    assert_eq!(printed, format!("{code}\n"), "{signal} {command}: {output:?}");
                });
            }
        });
        assert_eq!(kv.ok("kv daemon status | jq .attached"), "0\n");
    }
}

/// The standard signals in a field of `/proc/PID/status`. What lies behind them belongs to the C library.
fn standard_signals(line: &str) -> (&str, u64) {
    let (field, digits) = line.split_once(":\t").unwrap();
    (field, u64::from_str_radix(digits, 16).unwrap() & 0x7fff_ffff)
}

/// Side by side with commands that everybody knows, in what the program sees.
#[test]
fn signals_that_were_ignored_or_blocked_stay_so_for_the_program() {
    let signals = "grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status";
    with_each_runner(|kv, runner| {
        for outer in [
            "nohup",
            "env --default-signal",
            "env --ignore-signal=HUP,INT,QUIT,TERM,USR1,USR2,ALRM,CONT,WINCH,TSTP,TTIN,TTOU,XFSZ,PROF",
            "env --block-signal=HUP,TERM,USR1,PROF",
            "env --ignore-signal=INT --block-signal=INT,QUIT",
        ] {
            let seen = |inner: &str| kv.ok(&format!("{outer} {inner} {signals} < /dev/null 2> /dev/null"));
            let (expected, found) = (seen("flock file"), seen(runner));
            let standard = |text: &'_ str| {
                text.lines().map(|line| format!("{:x?}", standard_signals(line))).collect::<Vec<_>>()
            };
            assert_eq!(standard(&found), standard(&expected), "{outer} {runner}");
            forget(kv);
        }
        // As under timeout, a program can see its children end. A pipe without a reader ends it.
        let outer = "env --ignore-signal=CHLD,PIPE";
        let found = kv.ok(&format!("{outer} {runner} grep ^SigIgn /proc/self/status"));
        assert_eq!(standard_signals(found.trim()), ("SigIgn", 0), "{runner}");
        forget(kv);
        assert_eq!(kv.shell(&format!("{outer} {runner} sh -c 'exit 7'")).status.code(), Some(7), "{runner}");
    });
}

#[test]
fn a_hang_up_passes_by_what_was_started_with_nohup() {
    with_each_runner(|kv, runner| {
        for outer in ["flock file", runner] {
            let printed = kv.ok(&format!(
                "rm -f begun go; \
                 nohup {outer} sh -c 'echo > begun; until [ -e go ]; do sleep 0.01; done; exit 7' 2> /dev/null & run=$!; \
                 until [ -e begun ]; do sleep 0.01; done; kill -HUP $run $(pgrep -P $run sh); touch go; wait $run; echo $?"
            ));
            assert_eq!(printed, "7\n", "{outer}");
        }
    });
    // What prints goes on printing.
    let kv = with_one_change();
    for command in ["watch --after 0 --limit 2", "consumer stream p --limit 3"] {
        let printed = kv.ok(&format!(
            "rm -f seen; nohup kv {command} > seen 2> /dev/null & run=$!; until [ -s seen ]; do sleep 0.01; done; \
             kill -HUP $run; kv put a --value 1; wait $run; echo $?"
        ));
        assert_eq!(printed, "0\n", "{command}");
    }
}

#[test]
fn a_program_is_told_to_end_when_kv_is_killed() {
    with_each_runner(|kv, runner| {
        kv.ok(&format!(
            "{runner} sh -c 'trap \"echo > told; exit\" TERM; echo $$ > begun; while :; do sleep 0.01; done' & run=$!; \
             until [ -s begun ]; do sleep 0.01; done; pgrep -P $run signal-witness > witness; \
             kill -9 $run; wait $run; [ $? = 137 ]"
        ));
        // A process that was not reaped yet may still be visible.
        let ended = "ended() { ! [ -e /proc/$1 ] || grep -q '^State:.*Z' /proc/$1/status; }; \
                     [ -e told ] && ended $(cat begun) && ended $(cat witness)";
        wait_until("the end of the program", || kv.shell(ended).status.success());
    });
}

/// The binary may be replaced or removed while kv runs.
#[test]
fn a_program_is_run_by_the_binary_that_runs_already() {
    let kv = with_one_change();
    let printed = kv.ok("cp $(command -v kv) own; ./own watch --after 0 --limit 2 -- sh -c 'echo $KV_CHANGE_SEQ' > seen & run=$!; \
         until [ -s seen ]; do sleep 0.01; done; rm own; kv put b --value 1; wait $run; echo $?; cat seen");
    assert_eq!(printed, "0\n1\n2\n");
}

/// Without the witness signals are still passed on, and a new one distinguishes the next ones again.
#[test]
fn the_witness_of_signals_may_be_stopped_or_killed() {
    let kv = with_one_change();
    for signal in ["STOP", "KILL"] {
        let printed = kv.ok(&format!(
            "rm -f heard begun; kv lock run j -- sh -c 'trap \"echo USR1 >> heard\" USR1; echo > begun; while :; do sleep 0.01; done' & run=$!; \
             until [ -e begun ]; do sleep 0.01; done; kill -{signal} $(pgrep -P $run signal-witness); \
             kill -USR1 $run; until [ -s heard ]; do sleep 0.01; done; \
             until pgrep -P $run -r S signal-witness > witness; do sleep 0.01; done; cat heard; kill $run; wait $run; echo $?"
        ));
        assert_eq!(printed, "USR1\n143\n", "{signal}");
    }
}

/// A program in a group of its own gets nothing by the group of kv.
#[test]
fn a_program_that_left_the_group_is_told_too() {
    let kv = with_one_change();
    let printed = kv.ok("python3 -c '
import os, signal, subprocess, sys, time
program = \"import os, time; os.setpgid(0, 0); open(\\\"begun\\\", \\\"w\\\").close(); time.sleep(60)\"
kv = subprocess.Popen([\"kv\", \"lock\", \"run\", \"j\", \"--\", sys.executable, \"-c\", program], start_new_session=True)
while not os.path.exists(\"begun\"): time.sleep(0.01)
os.killpg(kv.pid, signal.SIGTERM)
print(kv.wait(10))'");
    assert_eq!(printed, "143\n");
}
