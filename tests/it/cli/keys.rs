//! The life of one key: what it was, what it becomes, and waiting for that.

use std::process::Stdio;

use crate::support::{Kv, wait_until};

fn prepared() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1 --of-type T; kv put a --value '{\"n\":2}'; kv delete a; kv put a --value 3; kv put b --value 9");
    kv
}

#[test]
fn a_record_is_printed_as_it_was_and_goes_back() {
    let kv = prepared();
    for (revision, expected) in [(1, "1\n"), (2, "{\n  \"n\": 2\n}\n"), (4, "3\n"), (5, "3\n")] {
        assert_eq!(kv.ok(&format!("kv get a --at {revision}")), expected);
    }
    assert_eq!(kv.ok("kv get a --at 1 --output record | jq -c '[.version, .type]'"), "[1,\"T\"]\n");
    let (code, error) = kv.fails("kv get a --at 3");
    assert_eq!((code, error.as_str()), (3, "kv: there is no key \"a\" at seq 3 (not_found)\n"));
    let (code, error) = kv.fails("kv get a --at 6");
    assert_eq!((code, error.contains("hint: the last change is 5")), (7, true), "{error}");
    let (code, error) = kv.fails("kv consumer commit mailer 6");
    assert_eq!((code, error.contains("hint: kv stream seq prints the last one")), (7, true), "{error}");
    assert_eq!(kv.fails("kv get a b --at 1").0, 2);

    kv.ok("kv revert a --to 1");
    assert_eq!(kv.ok("kv get a --output record | jq -c '[.value, .version, .type]'"), "[1,2,\"T\"]\n");
    assert_eq!(kv.ok("kv revert a --to 1 2>&1"), "a: nothing was changed, because it is as it was then\n");
    assert_eq!(kv.ok("kv stream seq"), "6\n", "what is so already is not written again");
    let (code, error) = kv.fails("kv revert a --to 3");
    assert!(
        code == 3 && error.contains("a did not exist at seq 3") && error.contains("--allow-delete"),
        "{error}"
    );
    assert_eq!(
        kv.ok("kv revert a --to 3 --allow-delete 2>&1"),
        "a: it was removed, because it did not exist at seq 3\n"
    );
    assert_eq!(kv.fails("kv get a").0, 3);
    assert_eq!(
        kv.ok("kv revert a --to 3 2>&1"),
        "a: nothing was changed, because it did not exist then either\n"
    );
    assert_eq!(kv.ok("kv stream seq"), "7\n", "what is so already is not written again");
    kv.ok("kv stream trim 5");
    let (code, error) = kv.fails("kv revert a --to 2");
    assert!(code == 7 && error.contains("(trimmed)"), "{error}");
    assert_eq!(kv.fails("kv revert b").0, 2);
}

#[test]
fn a_history_tells_that_its_beginning_was_trimmed() {
    let kv = prepared();
    assert_eq!(kv.ok("kv history a 2>&1 >/dev/null"), "");
    kv.ok("kv stream trim 1");
    let told = kv.ok("kv history a 2>&1 >/dev/null");
    assert_eq!(told, "the stream begins with change 2: what was before it was trimmed\n");
}

#[test]
fn changes_are_printed_from_a_time_on_and_the_last_ones() {
    let kv = prepared();
    let seqs = |options: &str| {
        kv.ok(&format!("kv stream get {options} --output ndjson 2>told | jq -c .seq | paste -sd' '"))
    };
    assert_eq!(seqs("--last 2"), "4 5\n");
    assert_eq!(seqs("--last 2 --prefix a"), "3 4\n");
    assert_eq!(seqs("--last 9 --limit 2"), "1 2\n");
    // The words on stderr give exactly the rest.
    let rest = kv.ok("sed 's/there is more: //' told");
    assert_eq!(kv.ok(&format!("{} | jq -c .seq | paste -sd' '", rest.trim())), "3 4 5\n");
    assert_eq!(seqs("--since 1h"), "1 2 3 4 5\n");
    let third = kv.ok("kv stream get 3 1 --output ndjson | jq -r .time");
    assert!(seqs(&format!("--since {}", third.trim())).contains("3 4 5"));
    for options in ["--last 1 --since 1h", "1 --last 1", "--last 1 --after 1", "--since 1h --reverse"] {
        assert_eq!(kv.fails(&format!("kv stream get {options}")).0, 2, "{options}");
    }
}

#[test]
fn the_history_of_a_key_is_a_listing() {
    let kv = prepared();
    let seqs = |options: &str| kv.ok(&format!("kv history a {options} --output ndjson | jq -c .seq"));
    assert_eq!(seqs(""), "1\n2\n3\n4\n");
    assert_eq!(seqs("--reverse"), "4\n3\n2\n1\n");
    assert_eq!(seqs("--reverse --limit 2 2>/dev/null"), "4\n3\n");
    assert_eq!(seqs("--reverse --after 3"), "2\n1\n");
    assert_eq!(seqs("--reverse --after 1"), "");
    assert_eq!(seqs("--after 3"), "4\n");
    assert_eq!(seqs("--offset 1 --limit 1 2>/dev/null"), "2\n");
    assert_eq!(kv.ok("kv history a --count"), "4\n");
    assert_eq!(kv.ok("kv history nosuch"), "[]\n");
    // The words on stderr give exactly the rest.
    for options in ["--limit 2", "--reverse --limit 1"] {
        let told = kv.ok(&format!("kv history a {options} --output ndjson 2>&1 >/dev/null"));
        let rest = told.strip_prefix("there is more: ").unwrap();
        let first = kv.ok(&format!("kv history a {options} --output ndjson 2>/dev/null"));
        let whole = kv.ok(&format!(
            "kv history a {} --output ndjson",
            options.split(" --limit").next().unwrap().replace("--limit 2", "")
        ));
        assert_eq!(first + &kv.ok(rest), whole, "{rest}");
    }
}

#[test]
fn a_record_gets_another_key_in_one_step() {
    let kv = prepared();
    kv.ok("kv put t --value '1.50' --of-type T");
    kv.ok("kv rename t 'new key'");
    assert_eq!(kv.fails("kv get t").0, 3);
    assert_eq!(kv.ok("kv get 'new key' --raw"), "1.50\n");
    assert_eq!(kv.ok("kv get 'new key' --output record | jq -r .type"), "T\n");
    assert_eq!(
        kv.ok("kv stream get --output ndjson | tail -2 | jq -sc '[.[0].tx == .[1].tx, .[].action]'"),
        "[true,\"create\",\"delete\"]\n"
    );
    kv.ok("kv expire 'new key' 1h; kv rename 'new key' t; kv rename t 'new key'");
    assert_eq!(
        kv.ok("kv ttl 'new key' --output json | jq '.ttl_ms > 3500000'"),
        "true\n",
        "the expiry moves along"
    );
    kv.ok("kv copy-key 'new key' c");
    assert_eq!(kv.ok("kv get c 'new key' --output ndjson | grep -c '\"value\":1.50}'"), "2\n");
    for command in ["rename", "copy-key"] {
        let (code, error) = kv.fails(&format!("kv {command} c b"));
        assert!(
            code == 4 && error.contains("under \"b\" already") && error.contains("--overwrite"),
            "{error}"
        );
        assert_eq!(kv.fails(&format!("kv {command} nosuch x")).0, 3);
        assert_eq!(kv.fails(&format!("kv {command} c c")).0, 2);
    }
    assert_eq!(kv.ok("kv get b"), "9\n", "nothing was lost");
    kv.ok("kv put b --value 9 --of-type Other; kv copy-key a b --overwrite");
    assert_eq!(
        kv.ok("kv get b --output record | jq -c '[.value, .type]'"),
        "[3,null]\n",
        "nothing of the other record is left"
    );
}

#[test]
fn a_program_changes_a_value_and_loses_no_update() {
    let kv = prepared();
    kv.ok(r#"
        for worker in 1 2 3 4; do
            (for round in 1 2 3 4 5; do kv update counter -- jq '. + 1' || exit 1; done) &
            workers="$workers $!"
        done
        for worker in $workers; do wait $worker || exit 1; done
        "#);
    assert_eq!(kv.ok("kv get counter"), "20\n");
    kv.ok("kv expire counter 1h");
    assert_eq!(kv.ok("kv update counter --print-version -- cat"), "22\n");
    assert_eq!(kv.ok("kv ttl counter --output json | jq '.ttl_ms > 3500000'"), "true\n");
    kv.ok("kv put counter 3 --keep-ttl");
    assert_eq!(kv.ok("kv ttl counter --output json | jq '.ttl_ms > 3500000'"), "true\n");
    kv.ok("kv put counter 3");
    assert_eq!(kv.ok("kv ttl counter"), "none\n");
    assert_eq!(kv.ok("kv update new --print-version -- sh -c 'cat >&2; echo \"{\\\"k\\\":\\\"$KV_RECORD_KEY\\\",\\\"v\\\":$KV_RECORD_VERSION}\"' 2>seen; cat seen; kv get new --raw"), "1\nnull\n{\"k\":\"new\",\"v\":0}\n");
    let seq = kv.ok("kv stream seq");
    assert_eq!(kv.fails("kv update counter -- sh -c 'echo 1; exit 7'").0, 7);
    for (program, what) in
        [("true", "found nothing"), ("echo hello", "found `h`"), ("printf '\"\\xff\"'", "not UTF-8")]
    {
        let (code, error) =
            kv.fails(&format!("kv update counter -- sh -c '{}'", program.replace('\'', "'\\''")));
        assert!(code == 2 && error.contains("the output of the command"), "{error}");
        let _ = what;
    }
    assert_eq!(kv.fails("kv update counter -- sh -c 'head -c 17000000 /dev/zero | tr \"\\0\" 1'").0, 1);
    assert_eq!(kv.fails("kv update counter -- nosuchprogram").0, 127);
    assert_eq!(kv.ok("kv stream seq"), seq, "a program that fails stores nothing");
}

#[test]
fn a_key_is_waited_for() {
    let kv = prepared();
    // What is so already is answered at once.
    assert_eq!(kv.ok("kv wait a"), "3\n");
    assert_eq!(kv.ok("kv wait a --value 3.0 --raw"), "3\n");
    assert_eq!(kv.ok("kv wait a --jq '. == 3 and ([1,2] | map(. + 1) == [2,3])'"), "3\n");
    assert_eq!(kv.ok("kv wait nosuch --absent"), "");
    assert_eq!(kv.ok("kv put text --text hello; kv wait text --text --timeout 0"), "hello\n");
    assert_eq!(kv.fails("kv wait a --text").0, 2, "a number is not a text");
    // That it is not so yet is exit code 5, as of a lock that another owner holds; and what is there is told.
    for (options, told) in [
        ("nosuch", "there is no key \"nosuch\" (timeout)"),
        ("nosuch --value 4", "there is no key \"nosuch\" (timeout)"),
        ("a --value 4", "the value of \"a\" is 3, not 4 (timeout)"),
        ("a --absent", "\"a\" is still there (timeout)"),
        ("a --jq '.x?'", "the value of \"a\" is 3, for which the expression does not hold (timeout)"),
        ("a --jq false", "(timeout)"),
        ("a --jq error", "(timeout)"),
        ("a --jq empty", "(timeout)"),
    ] {
        for timeout in ["10ms", "0"] {
            let (code, error) = kv.fails(&format!("kv wait {options} --timeout {timeout}"));
            assert!(code == 5 && error.contains(told), "{options}: {error}");
        }
    }
    let (code, error) = kv.fails("kv watch a --limit 2 --timeout 1ms");
    assert!(code == 5 && error.starts_with("kv: 0 of 2 changes came within the time (timeout)\n"), "{error}");
    // A store that does not answer is not one that is waited for.
    kv.ok("kv lock acquire held alice");
    assert_eq!(kv.fails("kv lock acquire held bob --wait 1ms").0, 5);
    assert_eq!(kv.fails("kv --connection nowhere.db wait a --timeout 0").0, 6);
    for options in [
        "--jq '.['",
        "--jq nosuch",
        "--value hello",
        "--value 1 --absent",
        "--absent --raw",
        "--raw --text",
        "--timeout soon",
    ] {
        assert_eq!(kv.fails(&format!("kv wait a {options}")).0, 2, "{options}");
    }
    // An expression that does not end does not keep a signal from ending the command.
    assert_eq!(kv.fails("timeout -s INT 1 kv wait a --jq 'last(range(1e15)) > 1'; exit $?").0, 124);

    let waiting = |options: &str| {
        let mut command = kv.command("bash");
        command.args(["-c", &format!("exec kv wait {options}")]).stdout(Stdio::piped()).spawn().unwrap()
    };
    let attached = |count: usize| {
        wait_until("the commands wait", || {
            kv.ok("kv daemon status --output json | jq .attached").trim() == count.to_string()
        });
    };
    let commands = [
        ("job", "{\n  \"state\": \"new\"\n}\n"),
        ("job --jq '.state == \"done\"'", "{\n  \"state\": \"done\",\n  \"n\": 1\n}\n"),
        ("job --value '{\"n\":1e0, \"state\":\"done\"}' --raw", "{\"state\":\"done\",\"n\":1}\n"),
        ("a --absent", ""),
    ];
    let children: Vec<_> = commands.iter().map(|(options, _)| waiting(options)).collect();
    attached(4);
    kv.ok("kv put job2 --value 1; kv put job --value '{\"state\":\"new\"}'; kv put job --value '{\"state\":\"done\",\"n\":1}'; kv delete a");
    for (child, (options, expected)) in children.into_iter().zip(commands) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{options}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{options}");
    }
    // It goes on when the daemon is killed.
    let child = waiting("later");
    attached(1);
    kv.kill_daemon(kv.daemon_pid());
    kv.ok("kv put later --value 5");
    assert_eq!(child.wait_with_output().unwrap().stdout, b"5\n");
}
