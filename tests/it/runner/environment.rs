//! The environment of a program: the store, and the descriptors and arguments of the process that started kv.

use super::{forget, with_each_runner, with_one_change};

/// Wherever the program goes, and however the store was named.
#[test]
fn a_program_uses_the_store_of_the_command_that_runs_it() {
    with_each_runner(|kv, runner| {
        kv.ok("mkdir there; cd there; kv init; kv put a --value 1");
        let here = kv.directory.path().canonicalize().unwrap();
        let own_socket = format!("sqlite auto {}/run/own.sock", here.display());
        let words = runner.strip_prefix("kv ").unwrap();
        for (directory, kv_there, named, said) in [
            (".", "kv", "kv", "sqlite auto "),
            ("there", "kv", "kv --connection there/data.db", "sqlite auto "),
            ("there", "kv", "KV_CONNECTION=there/data.db kv", "sqlite auto "),
            ("there", "kv", "kv --daemon never --connection file:there/data.db", "sqlite never "),
            (".", "kv", "KV_DAEMON=require KV_TYPE=sqlite kv", "sqlite require "),
            (
                "run",
                "kv --connection ../data.db --socket own.sock",
                "kv daemon stop; cd run; kv --connection ../data.db --socket own.sock",
                own_socket.as_str(),
            ),
        ] {
            kv.ok(&format!(
                "cd {directory}; {kv_there} consumer delete c 2> /dev/null; {kv_there} delete said > /dev/null"
            ));
            kv.ok(&format!(
                "{named} {words} sh -c 'cd /; kv put said --text \"$KV_TYPE $KV_DAEMON $KV_SOCKET\"'"
            ));
            let printed = kv.ok(&format!("cd {directory}; {kv_there} get said --text"));
            assert_eq!(printed, format!("{said}\n"), "{named} {words}");
        }
        kv.ok("cd run; kv --connection ../data.db --socket own.sock daemon stop");
    });
}

/// A helper process of kv must not keep a pipe or a lock of another process open.
#[test]
fn the_witness_of_signals_holds_nothing_open() {
    let kv = with_one_change();
    let printed = kv.ok("exec 9< /dev/null; kv lock run j -- sleep 60 & run=$!; \
         until pgrep -P $run sleep; do sleep 0.01; done > child; witness=$(pgrep -P $run signal-witness); \
         for fd in /proc/$witness/fd/*; do readlink $fd; done | sed 's/:.*//' | sort | tr '\\n' ' '; \
         kill $run; wait $run; echo $?; [ -e /proc/$witness ] || echo gone");
    assert_eq!(printed, "/dev/null anon_inode pipe pipe 143\ngone\n");
}

#[test]
fn the_words_of_a_program_are_passed_on_as_they_are() {
    with_each_runner(|kv, runner| {
        let words = "printf '%s|' $'\\xff' '' --x -- 'a  b'";
        assert_eq!(kv.ok(&format!("{runner} {words} | od -An -c | tr -d ' \\n'")), "377||--x|--|ab|");
        // A script without a line that names its interpreter is run by sh, as execvp(3) does.
        forget(kv);
        kv.ok("printf 'echo $0 $1\\n' > script; chmod +x script");
        assert_eq!(kv.ok(&format!("{runner} ./script word")), "./script word\n");
    });
}

#[test]
fn a_program_ends_as_it_does_under_the_commands_that_everybody_knows() {
    with_each_runner(|kv, runner| {
        kv.ok("echo data > no-program");
        for program in [
            "true",
            "sh -c 'exit 7'",
            "sh -c 'exit 255'",
            "sh -c 'kill -9 $$'",
            "sh -c 'kill -USR1 $$'",
            "sh -c 'kill -INT $$'",
            "/no/such/program",
            "no-such-program",
            "./no-program",
            "/tmp",
        ] {
            let code = |outer: &str| kv.shell(&format!("{outer} {program}; exit $?")).status.code();
            let expected = code("env");
            assert_eq!(code("nohup"), expected, "{program}");
            assert_eq!(code(runner), expected, "{runner} {program}");
            forget(kv);
        }
        let (code, stderr) = kv.fails(&format!("{runner} no-such-program"));
        let message = "kv: no-such-program cannot be run: No such file or directory (os error 2)\n";
        assert_eq!((code, stderr.as_str()), (127, message));
    });
}

/// Also when kv has to start the daemon, which must not have them.
#[test]
fn a_program_has_the_descriptors_of_whoever_started_kv() {
    with_each_runner(|kv, runner| {
        kv.ok("echo nine > nine");
        for (program, expected) in
            [("diff <(echo a) <(echo a) && echo same", "same\n"), ("sh -c 'cat <&9'", "nine\n")]
        {
            for before in ["kv daemon stop", "kv daemon start"] {
                forget(kv);
                let printed = kv.ok(&format!("{before}; exec 9< nine; {runner} {program}"));
                assert_eq!(printed, expected, "{runner} {program} after {before}");
            }
        }
    });
}
