//! Every listing gives everything by default, and each of its options does what it says or is refused.

use crate::support::Kv;

/// A store whose keys and types lists select from, with keys that a shell and a terminal read in ways of their own.
fn prepared() -> Kv {
    let kv = Kv::new();
    kv.ok(r#"
        kv init
        for key in a u/1 u/2 u/3 'u/it'"'"'s $x' $'u/n\nl' u/日本 -k z; do
            kv put --key="$key" --value "{\"n\":$((n += 1))}" --of-type T
        done
        "#);
    kv
}

/// The words of every command that prints a listing, and the keys that it prints.
const LISTINGS: [(&str, &[&str]); 6] = [
    ("list", &["-k", "a", "u/1", "u/2", "u/3", "u/it's $x", "u/n\nl", "u/日本", "z"]),
    ("list u/", &["u/1", "u/2", "u/3", "u/it's $x", "u/n\nl", "u/日本"]),
    ("get prefix u/", &["u/1", "u/2", "u/3", "u/it's $x", "u/n\nl", "u/日本"]),
    ("get range a u/3", &["a", "u/1", "u/2"]),
    ("get type T", &["-k", "a", "u/1", "u/2", "u/3", "u/it's $x", "u/n\nl", "u/日本", "z"]),
    ("get batch z u/1 a u/2", &["z", "u/1", "a", "u/2"]),
];

/// The keys that a command prints, one after the other.
fn keys(kv: &Kv, command: &str) -> Vec<String> {
    let printed = kv.ok(&format!("{command} --keys-only --null"));
    printed.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn each_option_means_the_same_for_every_listing() {
    let kv = prepared();
    for (words, all) in LISTINGS {
        let command = format!("kv {words}");
        let reversed: Vec<&str> = all.iter().rev().copied().collect();
        assert_eq!(keys(&kv, &command), all, "{words}");
        assert_eq!(keys(&kv, &format!("{command} --limit -1 --offset 0")), all, "{words}");
        assert_eq!(keys(&kv, &format!("{command} --offset 1 --limit 1")), all[1..2], "{words}");
        assert_eq!(keys(&kv, &format!("{command} --offset 1_0")), [""; 0], "{words}");
        assert_eq!(keys(&kv, &format!("{command} --limit 0")), [""; 0], "{words}");
        assert_eq!(keys(&kv, &format!("{command} --reverse")), reversed, "{words}");
        assert_eq!(keys(&kv, &format!("{command} --reverse --limit 2")), reversed[..2], "{words}");
        assert_eq!(keys(&kv, &format!("{command} --after '{}'", all[0])), all[1..], "{words}");
        let last = format!("{command} --reverse --after '{}' --limit 1", all[2]);
        assert_eq!(keys(&kv, &last), all[1..2], "{words}");
        for (options, count) in [
            ("", all.len()),
            ("--limit 2", 2),
            ("--offset 1", all.len() - 1),
            ("--offset 2 --limit 9", all.len() - 2),
            ("--offset 99", 0),
            (&format!("--after '{}'", all[0]), all.len() - 1),
            (&format!("--after '{}' --limit 1", all[0]), 1),
        ] {
            assert_eq!(
                kv.ok(&format!("{command} --count {options}")),
                format!("{count}\n"),
                "{words} {options}"
            );
        }
        let values = kv.ok(&format!("{command} --output ndjson | jq -r '.key + \"=\" + (.value.n | type)'"));
        assert_eq!(values.matches("=number").count(), all.len(), "{words}");
    }
    let positional = [
        "kv list 1 2",
        "kv list u/ 1 2",
        "kv get prefix u/ 1 2",
        "kv get type T 1 2",
        "kv get range u/ v 1 2",
    ];
    let expected = [&["a", "u/1"][..], &["u/2", "u/3"], &["u/2", "u/3"], &["a", "u/1"], &["u/2", "u/3"]];
    for (command, expected) in positional.iter().zip(expected) {
        assert_eq!(keys(&kv, command), expected, "{command}");
    }
}

#[test]
fn the_stream_has_the_same_options() {
    let kv = prepared();
    let seqs = |options: &str| {
        let printed = kv.ok(&format!("kv stream get {options} --output ndjson 2>/dev/null | jq .seq"));
        printed.lines().map(|line| line.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    for (options, expected) in [
        ("", 1..10),
        ("0 -1", 1..10),
        ("3", 3..10),
        ("3 2", 3..5),
        ("3 --limit 2", 3..5),
        ("--after 3", 4..10),
        ("--after 0 --limit 1", 1..2),
        ("--after 3 --offset 2 --limit 3", 6..9),
        ("--prefix u/ --limit 2 --offset 1", 3..5),
        ("--of-type T --after 8", 9..10),
        ("--of-type none", 1..1),
        ("--limit 0", 1..1),
    ] {
        assert_eq!(seqs(options), expected.clone().collect::<Vec<_>>(), "{options}");
        assert_eq!(
            kv.ok(&format!("kv stream get {options} --count")),
            format!("{}\n", expected.count()),
            "{options}"
        );
    }
    for (options, expected) in [
        ("--reverse", [9, 8, 7, 6, 5, 4, 3, 2, 1].as_slice()),
        ("--reverse --limit 2", &[9, 8]),
        ("--reverse --after 3", &[2, 1]),
        ("--reverse --after 1", &[]),
        ("--reverse --prefix u/ --offset 1 --limit 2", &[6, 5]),
    ] {
        assert_eq!(seqs(options), expected, "{options}");
        assert_eq!(
            kv.ok(&format!("kv stream get {options} --count")),
            format!("{}\n", expected.len()),
            "{options}"
        );
    }
    assert_eq!(keys(&kv, "kv stream get --prefix u/ --limit 2"), ["u/1", "u/2"]);
}

/// What stderr tells behind a limit is a command, and that prints the rest of the same listing.
#[test]
fn the_command_for_the_rest_gives_exactly_the_rest() {
    let kv = prepared();
    kv.ok(
        "kv --connection other.db init; for i in 1 2 3; do kv --connection other.db put $i --value $i; done",
    );
    let listings = LISTINGS.map(|(words, _)| words).into_iter().chain([
        "get a u/1 u/2",
        "list --connection other.db",
        "list --reverse",
        "get prefix u/ --reverse",
        "get range u/ u/日 --after u/2",
        "get prefix -",
        "get prefix ''",
        "get batch a nobody u/1 --reverse",
        "stream get",
        "stream get --after 2",
        "stream get --reverse",
        "stream get --reverse --prefix u/ --after 8",
        "history a",
        "stream get --prefix u/",
        "stream get --of-type T",
    ]);
    for words in listings {
        for options in ["--output ndjson", "--output ndjson --keys-only", "--keys-only --null"] {
            let whole = kv.ok(&format!("kv {words} {options} 2>/dev/null"));
            for limit in 1..4 {
                let mut found = String::new();
                let mut command = format!("kv {words} {options}");
                loop {
                    let output = kv.shell(&format!("{command} --limit {limit}"));
                    assert!(output.status.success(), "{command}: {output:?}");
                    found += &String::from_utf8(output.stdout).unwrap();
                    let stderr = String::from_utf8(output.stderr).unwrap();
                    match stderr.lines().find_map(|line| line.strip_prefix("there is more: ")) {
                        Some(rest) => command = rest.replacen(" -- ", &format!(" --limit {limit} -- "), 1),
                        None => break,
                    }
                    if command.contains(" -- ") {
                        command = command.replace(" --limit 1 --limit", " --limit");
                    }
                }
                assert_eq!(found, whole, "{words} {options} --limit {limit}");
            }
        }
    }
    // Nobody gave a limit, or nothing was left out.
    for command in [
        "kv list",
        "kv list 0 9",
        "kv list --limit 9",
        "kv stream get --limit 9",
        "kv get batch a z 2>&1 --limit 2",
    ] {
        assert_eq!(kv.shell(command).stderr, b"", "{command}");
    }
}

/// What an option cannot do for a command is a usage error.
#[test]
fn no_option_is_ignored() {
    let kv = prepared();
    let one = ["get a", "get key a", "get --key a"];
    let several = ["get prefix u/", "get range a b", "get type T", "get batch a z", "get a z"];
    let streams = ["stream get"];
    let of_lists = [
        "--limit 1",
        "--offset 1",
        "--after a",
        "--reverse",
        "--keys-only",
        "--count",
        "--null",
        "-0",
        "--output table",
    ];
    let of_one = ["--raw", "--text", "--print-version", "--output record"];
    let mut refused: Vec<String> = Vec::new();
    let mut add = |commands: &[&str], options: &[&str]| {
        for command in commands {
            refused.extend(options.iter().map(|option| format!("kv {command} {option}")));
        }
    };
    add(&one, &of_lists);
    add(&several, &of_one);
    add(&["list", "stream get"], &of_one);
    add(&several[..3], &["--all-or-fail"]);
    add(&streams, &["--after x", "1 --after 1", "1 2 3", "-1", "--all-or-fail"]);
    let lists: Vec<&str> = several.into_iter().chain(["list", "list u/", "stream get"]).collect();
    add(
        &lists,
        &[
            "--output text",
            "--null",
            "-0",
            "--keys-only --null --output json",
            "--keys-only --count",
            "--count --output json",
            "--count -0",
            "--limit x",
            "--limit 1.5",
            "--offset -1",
            "--output frob",
        ],
    );
    add(&["list 0 1", "get prefix u/ 0 1"], &["--limit 1", "--offset 1", "2"]);
    add(&["get batch a z"], &["--after nobody"]);
    for command in refused {
        let (code, stderr) = kv.fails(&command);
        assert_eq!(code, 2, "{command}: {stderr}");
        // It names the option that is wrong, or shows how words are written.
        let command = command.replace("-0", "--null");
        let mut options = command.split(' ').filter(|word| word.starts_with("--")).peekable();
        let names = options.peek().is_none() || options.any(|option| stderr.contains(option));
        assert!(names && (stderr.contains("hint: ") || stderr.contains("--help")), "{command}: {stderr}");
    }
}

#[test]
fn keys_are_plain_lines_for_a_shell() {
    let kv = prepared();
    assert_eq!(
        kv.ok("kv list u/ --keys-only --output text --limit 4 2>/dev/null"),
        "u/1\nu/2\nu/3\nu/it's $x\n"
    );
    let read = r#"kv list u/ --limit 3 --keys-only --output text 2>/dev/null | while IFS= read -r key; do kv get "$key" --raw; done"#;
    assert_eq!(kv.ok(read), "{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");
    assert_eq!(kv.ok("kv list u/ --keys-only -0 | xargs -0 kv get --count"), "6\n");
    let output = kv.shell("kv list u/ --keys-only --output text");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && stderr.contains(r#"the key "u/n\nl" has a line break"#),
        "{stderr}"
    );
    assert!(stderr.contains("hint: -0"), "{stderr}");
}

#[test]
fn missing_keys_of_a_batch_are_told() {
    let kv = prepared();
    for (command, code, told) in [
        ("kv get a nobody z", 0, "there is no key \"nobody\"\n"),
        ("kv get batch nobody", 0, "there is no key \"nobody\"\n"),
        ("kv get a z --all-or-fail", 0, ""),
        ("kv get a --all-or-fail", 0, ""),
        ("kv get nobody --all-or-fail", 3, "kv: there is no key \"nobody\" (not_found)\n"),
        ("kv get a x y --all-or-fail", 3, "kv: there is no key \"x\", \"y\" (not_found)\n"),
        // Those behind the limit were not asked for.
        ("kv get a z nobody --limit 1 2>&1 >/dev/null | grep -v more; true", 0, ""),
        (
            "kv get a $(seq 1 12)",
            0,
            "there is no key \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\", \"10\", nor 2 others\n",
        ),
    ] {
        let output = kv.shell(command);
        assert_eq!(output.status.code(), Some(code), "{command}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), told, "{command}");
    }
    assert_eq!(kv.ok("kv get a nobody z --output ndjson 2>/dev/null | jq -c .value.n"), "1\n9\n");
    // Keys beyond one request.
    assert_eq!(kv.ok("kv get $(seq -f x%g 1 1500) a --count 2>/dev/null"), "1\n");
}

#[test]
fn a_short_listing_of_a_long_store_is_not_silently_cut() {
    let kv = Kv::new();
    kv.ok("kv init; seq -f '{\"op\":\"put\",\"key\":\"k/%06g\",\"value\":1}' 1 2500 | split -l 1000 --filter='kv mutate >/dev/null'");
    for command in ["kv list", "kv get prefix k/", "kv get range k l", "kv stream get"] {
        assert_eq!(kv.ok(&format!("{command} | jq length")), "2500\n", "{command}");
        assert_eq!(kv.ok(&format!("{command} --count")), "2500\n", "{command}");
        assert_eq!(
            kv.ok(&format!("{command} --keys-only --output text | sort -u | wc -l")),
            "2500\n",
            "{command}"
        );
    }
}
