//! The words of commands: values, keys that look like options, suggestions, and messages that control no terminal.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::on_terminal;
use crate::support::{Kv, wait_until};

#[test]
fn a_value_is_a_word_an_option_a_file_or_stdin() {
    let kv = Kv::new();
    kv.ok(r"kv init; printf '[1]' >json; printf 'a\n\n' >text; printf '\xef\xbb\xbf{}' >mark; printf '\xef\xbb\xbfx' >text-mark");
    for (put, stored) in [
        ("kv put k 5", "5"),
        ("kv put k -5", "-5"),
        (r#"kv put k '{"a": 1}'"#, r#"{"a":1}"#),
        ("kv put --key k 5", "5"),
        ("kv put 5 --key k", "5"),
        ("kv set k 5 --version -1", "5"),
        ("echo 6 | kv put k -", "6"),
        ("echo 6 | kv put k --value -", "6"),
        ("echo 6 | kv put k --file -", "6"),
        ("echo 6 | kv put k", "6"),
        ("kv put k --file json", "[1]"),
        ("printf hi | kv put k --text -", r#""hi""#),
        (r"printf 'hi\n' | kv put k --text-file -", r#""hi\n""#),
        ("kv put k --text-file text", r#""a\n\n""#),
        ("kv put k --text hello", r#""hello""#),
        (r#"kv put k '"-"'"#, r#""-""#),
        ("kv put k --file mark", "{}"),
        ("kv put k <mark", "{}"),
        ("kv put k --text-file text-mark", "\"\u{feff}x\""),
        ("kv put -5 1; kv put k 1; kv get -5 --raw", "1\n1"),
    ] {
        assert_eq!(kv.ok(&format!("{put} && kv get k --raw")), format!("{stored}\n"), "{put}");
    }
    kv.ok(r"printf '\xef\xbb\xbf{}' | kv patch k; printf '\xef\xbb\xbf' | kv mutate; echo '{}' | kv patch k -; kv patch k '{}'");
    for (put, told) in [
        ("kv put k hello", "hint: a text is given with --text: kv put k --text hello\n"),
        ("kv put 'a b' \"it's\"", r"kv put 'a b' --text 'it'\''s'"),
        ("kv put k --value hello", "kv put k --text hello\n"),
        ("echo hello | kv put k", "--text-file PATH"),
        ("kv put k 5 --value 6", "one value too many"),
        ("kv put k 5 --text 6", "one value too many"),
        ("kv put --key k a b", "one value too many"),
        ("kv put k --text a --text-file text", "cannot be used with"),
        (r"printf 'a\xff' | kv put k --text-file -", "stdin is not UTF-8 (at byte 1)"),
        ("kv put k --text-file nowhere", "nowhere cannot be read: No such file"),
        ("kv put k --file .", ". cannot be read: Is a directory"),
    ] {
        let (code, stderr) = kv.fails(put);
        assert!(code == 2 && stderr.contains(told), "{put}: {code} {stderr}");
    }
    // The hint works.
    let (_, stderr) = kv.fails("kv put 'a b' \"it's\"");
    let hint = stderr.split("--text: ").nth(1).unwrap();
    assert_eq!(kv.ok(&format!("{}; kv get 'a b' --text", hint.trim())), "it's\n");
}

#[test]
fn a_json_patch_is_not_taken_for_a_value() {
    let kv = Kv::new();
    kv.ok("kv init; kv put k '{\"a\":1}'");
    let patch = r#"[{"op":"replace","path":"/a","value":2}]"#;
    let (code, stderr) = kv.fails(&format!("kv patch k '{patch}'"));
    assert!(
        code == 2 && stderr.contains("--format json-patch") && stderr.contains("--format merge"),
        "{stderr}"
    );
    assert_eq!(kv.ok("kv get k --raw"), "{\"a\":1}\n");
    assert_eq!(kv.ok(&format!("kv patch k '{patch}' --format json-patch; kv get k --raw")), "{\"a\":2}\n");
    assert_eq!(kv.ok(&format!("kv patch k '{patch}' --format merge; kv get k --raw")), format!("{patch}\n"));
    for array in
        ["[]", "[1]", r#"[{"op":1,"path":"/a"}]"#, r#"[{"path":"/a"}]"#, r#"[{"op":"test","path":"/a"},3]"#]
    {
        assert_eq!(kv.ok(&format!("kv patch k '{array}'; kv get k --raw")), format!("{array}\n"));
    }
}

#[test]
fn commands_have_the_names_that_other_tools_gave_them() {
    let kv = Kv::new();
    let version = concat!("kv ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(kv.ok("kv version"), version);
    assert_eq!(kv.ok("kv --version"), version);
    assert_eq!(kv.ok("kv init; kv set a 1; kv ls --keys-only --output text; kv del a; kv rm a"), "a\n1\n0\n");
    assert!(kv.ok("kv help ls").starts_with("Print records in key order"));
    for (command, tip) in [
        ("kv gte a", "a similar subcommand exists: 'get'"),
        ("kv lokc list", "a similar subcommand exists: 'lock'"),
        ("kv delete k --al", "a similar argument exists: '--all'"),
        ("kv put a --versoin 5", "a similar argument exists: '--version'"),
        ("kv --type sqllite list", "a similar value exists: 'sqlite'"),
        ("kv list --output jsn", "a similar value exists: 'json'"),
        ("kv put a --type User --value 1", "the type of a record is --of-type User"),
    ] {
        let (code, stderr) = kv.fails(command);
        assert!(code == 2 && stderr.contains("tip: ") && stderr.contains(tip), "{command}: {stderr}");
    }
    assert!(!kv.fails("kv frobnicate").1.contains("tip:"));
}

/// A tip names what there is: neither an option of another meaning, nor -- where that begins a program.
#[test]
fn tips_do_not_mislead() {
    let kv = Kv::new();
    for (command, tip) in [
        ("kv watch a b", Some("there is 'kv watch --prefix PREFIX'")),
        ("kv history a b", Some("there is 'kv stream get --prefix PREFIX'")),
        ("kv history a --prefix b", Some("there is 'kv stream get --prefix PREFIX'")),
        ("kv get --prefix a", Some("there is 'kv get prefix PREFIX'")),
        ("kv list --prefix a", Some("there is 'kv list PREFIX'")),
        ("kv count --of-type a", Some("there is 'kv count type TYPE'")),
        ("kv delete --range a b", Some("there is 'kv delete range FROM TO'")),
        ("kv watch --prefx a", Some("a similar argument exists: '--prefix'")),
        ("kv watch --frob", None),
        ("kv ttl a b", None),
    ] {
        let (code, stderr) = kv.fails(command);
        let tips: Vec<&str> = stderr.lines().filter_map(|line| line.trim().strip_prefix("tip: ")).collect();
        assert!(code == 2 && tips == tip.as_slice(), "{command}: {stderr}");
        assert!(!stderr.contains("--profile"), "{command}: {stderr}");
    }
}

#[test]
fn several_keys_are_several_words() {
    let kv = Kv::new();
    kv.ok("kv init; for key in a b c key prefix; do kv put --key $key 1; done");
    assert_eq!(kv.ok("kv count; kv count all"), "5\n5\n");
    assert_eq!(kv.ok("kv delete a b --dry-run 2>/dev/null; kv delete a b nosuch; kv rm c key"), "2\n2\n2\n");
    assert_eq!(kv.ok("kv delete key prefix; kv count"), "1\n0\n");
    for words in ["key", "prefix", "range a", "prefix a b", "a --all"] {
        let (code, stderr) = kv.fails(&format!("kv delete {words}"));
        assert!(code == 2 && stderr.contains("kv delete KEY…"), "{words}: {stderr}");
    }
}

#[test]
fn every_command_that_writes_one_record_prints_its_version_on_request() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a 1");
    for (command, version) in [
        ("kv put a 2", "2"),
        ("kv patch a 3", "3"),
        ("kv incr a", "4"),
        ("kv expire a 1h", "5"),
        ("kv persist a", "6"),
        ("kv update a -- cat", "7"),
        ("kv revert a --to 1", "8"),
        ("kv rename a b", "1"),
        ("kv copy-key b c", "1"),
        ("kv copy-key b c --overwrite", "2"),
    ] {
        let command = command.replace(" --", " --print-version --");
        let command =
            if command.contains("--print") { command } else { format!("{command} --print-version") };
        assert_eq!(kv.ok(&command), format!("{version}\n"), "{command}");
    }
}

#[test]
fn a_duration_has_one_notation_everywhere() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a 1 --ttl none; kv put n 1");
    let accepted = [
        "kv put a 1 --ttl",
        "kv patch a 1 --ttl",
        "kv incr n --ttl",
        "kv expire a",
        "kv lock acquire l o --duration",
        "kv lock acquire l o --wait",
        "kv stream retain --age",
        "kv watch --limit 1 --first --since",
        "kv --idle-timeout",
    ];
    for command in accepted {
        let (command, end) = match command {
            "kv --idle-timeout" => (command, " config show"),
            command => (command, ""),
        };
        let command = command.replace(" --first", "");
        for time in ["90", "90s", "1h30m", "1.5h"] {
            kv.ok(&format!("{command} {time}{end}"));
        }
        if !command.contains("--wait") {
            for time in ["7d", "1w"] {
                kv.ok(&format!("{command} {time}{end}"));
            }
        }
        for time in ["soon", "1mo", "-1s"] {
            let (code, stderr) = kv.fails(&format!("{command} {time}{end}"));
            assert_eq!(code, 2, "{command} {time}: {stderr}");
        }
    }
    for command in ["kv put a 1 --ttl none", "kv patch a 1 --ttl none", "kv expire a none"] {
        assert_eq!(kv.ok(&format!("kv expire a 1h; {command}; kv ttl a")), "none\n", "{command}");
    }
}

#[test]
fn a_key_may_look_like_an_option() {
    let kv = Kv::new();
    kv.ok("kv init; kv put -5 --value 1; kv put --key=-k 2; kv put --value 3 -- -x");
    assert_eq!(
        kv.ok("kv get -5; kv get --key=-k; kv get -- -x; kv get prefix -5 --count; kv count prefix -5"),
        "1\n2\n3\n1\n1\n"
    );
    // Each tip, followed, does what was meant.
    for (command, tip, followed, printed) in [
        ("kv get -k", "use '-- -k', behind all options", "kv get -- -k", "2\n"),
        ("kv get -k --raw", "use '-- -k', behind all options", "kv get --raw -- -k", "2\n"),
        ("kv get --key -k", "use '--key=-k'", "kv get --key=-k", "2\n"),
        ("kv put -- -k --value 4", "options stand in front of '--'", "kv put --value 4 -- -k", ""),
        ("kv delete -k", "use '-- -k', behind all options", "kv delete -- -k", "1\n"),
    ] {
        let (code, stderr) = kv.fails(command);
        assert!(code == 2 && stderr.contains(tip), "{command}: {stderr}");
        assert_eq!(kv.ok(followed), printed, "{followed}");
    }
    assert!(kv.fails("kv consumer list --prefix -x").1.contains("use '--prefix=-x'"));
    assert_eq!(kv.ok("kv delete -5"), "1\n");
}

#[test]
fn numbers_and_times_have_one_notation() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a 1; kv put b 1");
    for command in [
        "kv list 0 1_000",
        "kv list --limit 1_000 --offset 0",
        "kv delete --all --dry-run --limit 1_000 --offset 1_0",
        "kv put a 1 --version -1 --revision -1",
        "kv stream trim 0_1",
        "kv consumer commit c 0_2",
        "kv lock acquire l me --duration 5",
        "kv lock acquire l me --duration 5s --wait 0",
        "kv lock acquire l me --duration 1h30m --wait 1",
        "kv --idle-timeout 1_000 list",
        "kv --idle-timeout 16m40s list",
        "kv benchmark put 1_0 1",
    ] {
        kv.ok(command);
    }
    for command in [
        "kv list --limit 1k",
        "kv delete --all --limit 1.5",
        "kv stream trim -1",
        "kv lock acquire l me --duration 0",
        "kv lock acquire l me --duration 5x",
        "kv lock acquire l me --duration -5",
        "kv benchmark put 0",
        "kv benchmark put 1 1_001",
    ] {
        assert_eq!(kv.fails(command).0, 2, "{command}");
    }
}

#[test]
fn a_terminal_is_told_what_a_command_waits_for() {
    let kv = Kv::new();
    kv.ok("kv init; kv put seen 1");
    let words = |what: &str| format!("reading {what} from the terminal; end with Ctrl-D\n");
    let json = words("JSON");
    for (command, typed, shown) in [
        ("kv put k; kv get k --raw", "5\n", format!("{json}5\n")),
        ("kv put k --value -; kv get k --raw", "6\n", format!("{json}6\n")),
        ("kv put k --text -; kv get k --raw", "x\n", format!("{}\"x\\n\"\n", words("a text"))),
        ("kv patch k; kv get k --raw", "{}\n", format!("{json}{{}}\n")),
        (
            "kv mutate",
            "{\"op\":\"delete\",\"key\":\"k\"}\n",
            format!("{json}[\n  {{\"deleted\":1,\"revision\":6}}\n]\n"),
        ),
        (
            "kv rpc",
            "{\"op\":\"count\"}\n",
            format!(
                "{}{{\"ok\":true,\"seq\":6,\"count\":1}}\n",
                words("requests, one JSON object on each line,")
            ),
        ),
    ] {
        assert_eq!(on_terminal(&kv, 80, command, typed), shown, "{command}");
    }
    // Nothing is told where nothing is read, or where it is not a terminal.
    assert_eq!(on_terminal(&kv, 80, "kv put k 1; echo 2 | kv put k", ""), "");
    assert!(on_terminal(&kv, 80, "kv watch --after 0 --limit 1", "").starts_with("watching from seq 1\n"));
    assert_eq!(kv.shell("kv watch --after 0 --limit 1").stderr, b"");
}

/// A message with words of the user holds no character that controls a terminal, nor a line that looks like one of kv.
#[test]
fn messages_do_not_control_the_terminal() {
    let kv = Kv::new();
    kv.ok("kv init");
    let bad = "$'x\\e[31m\\nhint: rm -rf\\u202e'";
    for command in [
        "kv {}",
        "kv put {} --value 1 --version 7",
        "kv put k {}",
        "kv get {}",
        "kv get a {}",
        "kv get --{}",
        "kv list --limit {}",
        "kv list --output {}",
        "kv --type {} list",
        "kv --profile {} list",
        "kv lock acquire l o --duration {}",
        "kv lock release {} {}",
        "kv put k 1 --fence {}",
        "kv daemon {}",
        "kv completions {}",
        "kv --connection {} list",
    ] {
        let command = command.replace("{}", bad);
        let output = kv.shell(&format!("{command} 2>&1 >/dev/null"));
        let told = String::from_utf8(output.stdout).unwrap();
        let shown =
            on_terminal(&kv, 200, &format!("kv --color never {} >/dev/null; true", &command[3..]), "");
        for text in [&told, &shown] {
            assert!(!text.contains(['\x1b', '\u{202e}']), "{command}: {text:?}");
            assert!(!text.lines().any(|line| line.starts_with("hint: rm")), "{command}: {text}");
        }
    }
}

/// Processes that share a file for their messages do not mix them.
#[test]
fn each_message_is_one_write() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a 1; kv put b 1");
    for command in [
        "kv frobnicate",
        "kv list --output jsn",
        "kv get nobody",
        "kv put k hello",
        "kv --color always frobnicate",
        "kv list --limit 1",
        "kv lock",
    ] {
        // A datagram is what one write has sent.
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut shell = kv.command("bash");
        shell.args(["-c", &format!("{command} >/dev/null")]).stderr(OwnedFd::from(theirs));
        shell.status().unwrap();
        drop(shell);
        let mut message = [0; 10_000];
        let length = ours.recv(&mut message).unwrap();
        let whole = kv.shell(&format!("{command} 2>&1 >/dev/null")).stdout;
        assert_eq!(String::from_utf8_lossy(&message[..length]), String::from_utf8_lossy(&whole), "{command}");
    }
}

#[test]
fn an_interrupted_benchmark_leaves_no_record() {
    let kv = Kv::new();
    kv.ok("kv init; kv put kept 1");
    for (mode, signal, code) in [("auto", "INT", 130), ("auto", "TERM", 143), ("never", "INT", 130)] {
        for kind in ["put 5000000 10", "get 1000000 1 10", "patch 1000000 3", "mixed 5000000 10"] {
            let mut command = kv.command("kv");
            command.args([&format!("--daemon={mode}"), "benchmark"]).args(kind.split(' '));
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let benchmark = command.spawn().unwrap();
            wait_until("a record of the benchmark", || kv.ok("kv count all") != "1\n");
            kv.ok(&format!("kill -{signal} {}", benchmark.id()));
            let output = benchmark.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{mode} {kind}: {stderr}");
            assert!(
                stderr.starts_with("interrupted: ") && stderr.ends_with(" of the benchmark removed\n"),
                "{stderr}"
            );
            assert_eq!(output.stdout, b"", "{mode} {kind}");
            assert_eq!(kv.ok("kv count all"), "1\n", "{mode} {kind}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_told_in_plain_words() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    for (text, words) in [
        ("kv incr a x", "\"x\" is not a number"),
        ("kv consumer stream c --retries x -- true", "is not a whole number"),
        ("kv daemon logs -n x", "is not a whole number"),
        (
            r#"printf '%s\n' '{"op":"check","key":"b","version":0}' '' '{"op":"put","key":"b","value":1,"version":"x"}' | kv mutate"#,
            "line 3: put: version: invalid type: string \"x\", expected a whole number",
        ),
        (
            r#"echo '{"op":"put","key":"b"' | kv mutate"#,
            "line 1: a mutation is a JSON object: it ends inside an object",
        ),
        (r#"echo '"x"' | kv import"#, "line 1: invalid type: string \"x\", expected an object"),
        (r#"kv patch a '[{"op":"foo"}]' --format json-patch"#, "operation 0: unknown name `foo`"),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(code == 2 && stderr.contains(words), "{text}: {stderr}");
        let foreign = ["u64", "i64", "struct", "EOF", "column", "digit", "variant"];
        assert!(!foreign.iter().any(|word| stderr.contains(word)), "{text}: {stderr}");
    }
}

#[test]
fn who_types_an_import_is_told_what_it_waits_for() {
    let kv = Kv::new();
    kv.ok("kv init");
    let shown = super::on_terminal(&kv, 80, "kv import", "{\"key\":\"a\",\"value\":1}\n\u{4}");
    assert!(shown.contains("reading records as lines of JSON from the terminal"), "{shown}");
    assert!(shown.contains("1 created"), "{shown}");
}
