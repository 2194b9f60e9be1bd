//! What people see on a terminal: tables, colours and the pager; and that a pipe sees nothing of it.

use unicode_width::UnicodeWidthChar;

use crate::support::Kv;

fn on_terminal(kv: &Kv, columns: usize, command: &str) -> String {
    super::on_terminal(kv, columns, command, "")
}

fn prepared() -> Kv {
    let kv = Kv::with(&[("TERM", "xterm"), ("LC_ALL", "C.UTF-8"), ("TZ", "Asia/Tokyo"), ("PAGER", "cat")]);
    kv.ok(r#"
        kv init
        kv put user/1 --value '{"name":"Ada"}' --of-type User
        kv put '鍵/日本語のとても長い名前のキー' --text '値値値値値値値値値値値値値値値値値値値値値値値値値値'
        kv put '👩‍👩‍👧/family' --text "$(printf '👩‍👩‍👧%.0s' {1..60})"
        kv put $'esc\e[31m\nape' --text $'\u202e bidi'
        kv put long --text "$(printf 'x%.0s' {1..300})"
        kv put "$(printf 'k%.0s' {1..300})" --value 12
        kv lock acquire deploy alice >/dev/null
        kv consumer commit mailer 2 >/dev/null
        "#);
    kv
}

/// The columns of a line where a terminal shows each character by itself.
fn width(line: &str) -> usize {
    line.chars().filter_map(UnicodeWidthChar::width).sum()
}

#[test]
fn tables_fit_the_terminal_and_escape_what_controls_it() {
    let kv = prepared();
    let commands =
        ["kv list", "kv get type User", "kv get user/1 long", "kv stream get", "kv list --keys-only"];
    for columns in [60, 80, 200] {
        for command in commands {
            let shown = on_terminal(&kv, columns, &format!("kv --color never {}", &command[3..]));
            assert!(shown.lines().count() > 1, "{command}");
            for line in shown.lines() {
                assert!(
                    width(line) <= columns && !line.contains(char::is_control),
                    "{columns}: {line:?}\n{shown}"
                );
                assert_eq!(line, line.trim_end());
            }
            assert!(!shown.contains('\u{202e}'), "{shown}");
        }
        let shown = on_terminal(&kv, columns, "kv --color never list");
        let headings: Vec<&str> = shown.lines().next().unwrap().split_whitespace().collect();
        let expected: &[&str] = match columns {
            60 => &["KEY", "VERSION", "UPDATED", "TYPE", "VALUE"],
            _ => &["KEY", "VERSION", "UPDATED", "TYPE", "SIZE", "VALUE"],
        };
        assert_eq!(headings, expected, "{shown}");
        let user = shown.lines().find(|line| line.starts_with("user/1 ")).unwrap();
        let value = if columns == 60 { "{\"name\":\"Ada…" } else { "{\"name\":\"Ada\"}" };
        assert!(user.contains("  User  ") && user.ends_with(value), "{shown}");
        // The cells of a column begin below each other, whatever stands before them.
        let place = |line: &str, word: &str| width(&line[..line.find(word).unwrap()]);
        let updated = place(shown.lines().next().unwrap(), "UPDATED");
        for line in shown.lines().skip(1) {
            assert_eq!(place(line, "  1  20") + 5, updated, "{columns}\n{shown}");
        }
    }
}

#[test]
fn times_are_those_of_the_clock_of_the_user() {
    let kv = prepared();
    let shown = on_terminal(&kv, 80, "kv list user/");
    let updated = kv.ok("date -d \"$(kv list user/ | jq -r '.[0].updated')\" '+%Y-%m-%d %H:%M'");
    assert!(shown.contains(updated.trim()), "{updated} {shown}");
    let utc = on_terminal(&kv, 80, "TZ=UTC kv list user/");
    assert_ne!(utc, shown);
}

#[test]
fn locks_and_consumers_are_tables_with_times_that_are_left() {
    let kv = prepared();
    let locks = on_terminal(&kv, 80, "kv --color never lock list");
    assert!(locks.starts_with("NAME    FENCE  EXPIRES  OWNER\ndeploy      1   9m "), "{locks}");
    assert!(locks.ends_with("s  alice\n"), "{locks}");
    let consumers = on_terminal(&kv, 80, "kv --color never consumer list");
    let words: Vec<Vec<&str>> = consumers.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["NAME", "POSITION", "LAG", "AGE", "EXPIRES", "HOLDER"], "{consumers}");
    // How old the oldest change is that waits depends on the machine.
    assert_eq!(
        (&words[1][..3], &words[1][words[1].len() - 2..]),
        (&["mailer", "2", "4"][..], &["-", "-"][..])
    );
    let changes = on_terminal(&kv, 80, "kv --color never consumer get mailer 1 2>/dev/null");
    assert!(changes.starts_with("SEQ  ACTION  KEY") && changes.contains("\n  3  create  "), "{changes}");
    // The headings of a table without rows tell that there are none.
    assert_eq!(
        on_terminal(&kv, 80, "kv --color never lock list --prefix x"),
        "NAME  FENCE  EXPIRES  OWNER\n"
    );
}

#[test]
fn expiries_and_filters_are_shown_where_there_are_some() {
    let kv = prepared();
    let headings = |command: &str| {
        let shown = on_terminal(&kv, 120, &format!("kv --color never {command}"));
        shown.lines().next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!headings("list user/").contains(&"EXPIRES".to_owned()));
    assert!(!headings("consumer list").contains(&"FILTER".to_owned()));
    kv.ok("kv put user/2 1 --ttl 10m; kv consumer commit filtered 1 --prefix user/ --of-type User");
    assert!(headings("list user/").contains(&"EXPIRES".to_owned()));
    let shown = on_terminal(&kv, 120, "kv --color never list user/");
    let cells = |shown: &str, key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap();
        line.split("  ")
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(cells(&shown, "user/1")[5], "-", "{shown}");
    assert!(["9m 5", "10m "].iter().any(|left| cells(&shown, "user/2")[5].starts_with(left)), "{shown}");
    let shown = on_terminal(&kv, 120, "kv --color never consumer list");
    assert_eq!(cells(&shown, "filtered").last().unwrap(), "prefix user/, type User", "{shown}");
    assert_eq!(cells(&shown, "mailer").last().unwrap(), "-", "{shown}");
}

/// Several changes of a key come in one minute.
#[test]
fn the_time_of_a_change_has_seconds() {
    let kv = prepared();
    let shown = on_terminal(&kv, 100, "kv --color never history user/1");
    let time = kv.ok("date -d \"$(kv history user/1 | jq -r '.[0].time')\" '+%Y-%m-%d %H:%M:%S'");
    assert!(shown.contains(time.trim()), "{shown}");
}

#[test]
fn a_terminal_shows_states_as_tables_and_a_pipe_gets_json() {
    let kv = prepared();
    for (command, table) in [
        ("lock status deploy", "NAME    FENCE  EXPIRES  OWNER\ndeploy      1  "),
        ("lock acquire deploy alice", "NAME    FENCE  EXPIRES  OWNER\ndeploy      1  "),
        ("lock status nosuch", "nobody holds nosuch\n"),
        ("consumer status mailer", "NAME    POSITION  LAG  "),
        ("stream retain", "AGE  COUNT  KEPT FOR CONSUMERS\nany    any  no\n"),
        ("stream retain --age 1h --count 5 --keep-for-consumers", "AGE  COUNT  KEPT FOR CONSUMERS\n 1h  "),
    ] {
        let shown = on_terminal(&kv, 80, &format!("kv --color never {command}"));
        assert!(shown.starts_with(table), "{command}: {shown}");
        let piped = kv.ok(&format!("kv {command}"));
        assert!(piped.starts_with('{') && piped.lines().count() == 1, "{command}: {piped}");
        let explicit = on_terminal(&kv, 200, &format!("kv {command} --output json"));
        assert!(explicit.starts_with('{'), "{command}: {explicit}");
    }
    let shown = on_terminal(&kv, 80, "kv --color never stream retain");
    assert_eq!(shown, "AGE  COUNT  KEPT FOR CONSUMERS\n 1h      5  yes\n");
}

/// Whatever the paths and sentences in them are; a word alone may be wider.
#[test]
fn reports_fit_the_terminal() {
    let kv = prepared();
    let place = "a directory of a long name/and one below it of another long name";
    kv.ok(&format!("mkdir -p '{place}'; kv --connection '{place}/data.db' init"));
    for columns in [60, 80, 200] {
        for command in
            ["daemon list", "config show", "doctor", "consumer list", "lock list", "history user/1"]
        {
            let command = format!("kv --color never --connection '{place}/data.db' {command}");
            let shown = on_terminal(&kv, columns, &format!("{command} 2>/dev/null"));
            for line in shown.lines() {
                let is_word = !line.trim().contains(' ');
                assert!(width(line) <= columns || is_word, "{columns}: {line:?}\n{shown}");
            }
        }
        let shown = on_terminal(&kv, columns, "kv --color never daemon list");
        assert!(shown.lines().any(|line| line.contains("name/data.db ")), "{columns}: {shown}");
    }
    kv.ok(&format!("kv --connection '{place}/data.db' daemon stop"));
}

#[test]
fn a_pipe_gets_the_same_bytes_as_ever() {
    let kv = prepared();
    for command in
        ["kv list", "kv get prefix user/", "kv get a b", "kv stream get", "kv lock list", "kv consumer list"]
    {
        let piped = kv.ok(&format!("{command} 2>/dev/null"));
        assert!(piped.starts_with('['), "{piped}");
        assert_eq!(kv.ok(&format!("{command} --output json 2>/dev/null")), piped);
        assert_eq!(on_terminal(&kv, 80, &format!("{command} 2>/dev/null | cat")), piped, "{command}");
        assert_eq!(on_terminal(&kv, 80, &format!("{command} --output json 2>/dev/null")), piped, "{command}");
    }
    let table = kv.ok("kv list --output table");
    assert!(
        table.starts_with("KEY ") && table.contains(&"x".repeat(300)) && !table.contains('\x1b'),
        "{table}"
    );
}

#[test]
fn colours_follow_the_conventions() {
    let kv = prepared();
    for (command, is_coloured) in [
        ("kv list", true),
        ("NO_COLOR=1 kv list", false),
        ("TERM=dumb kv list", false),
        ("NO_COLOR=1 kv --color always list", true),
        ("kv --color never list", false),
        ("KV_COLOR=never kv list", false),
        ("CLICOLOR=0 kv list", false),
        ("kv list | cat", false),
        ("CLICOLOR_FORCE=1 kv list --output table | cat", true),
        ("kv --color always list --output table | cat", true),
        ("kv --color always list --output json", false),
    ] {
        assert_eq!(on_terminal(&kv, 80, command).contains('\x1b'), is_coloured, "{command}");
    }
    assert_eq!(kv.fails("kv --color often list").0, 2);
    let profile = "mkdir -p .config/kv; printf 'profile = \"p\"\\n[profiles.p]\\ncolor = \"never\"\\npager = \"cat -n\"\\n' >.config/kv/config.toml";
    kv.ok(profile);
    let shown = on_terminal(&kv, 80, "env -u PAGER kv list user/");
    assert!(shown.starts_with("     1\tKEY") && !shown.contains('\x1b'), "{shown}");
}

#[test]
fn long_listings_are_shown_by_a_pager() {
    let kv = prepared();
    let is_paged = |command: &str| on_terminal(&kv, 80, command).starts_with("P:");
    for command in [
        "KV_PAGER='sed s/^/P:/' kv list",
        "PAGER='sed s/^/P:/' kv list",
        "kv --pager 'sed s/^/P:/' list --output ndjson",
        "PAGER=cat kv --pager 'sed s/^/P:/' get user/1 long",
        "KV_PAGER='sed s/^/P:/' kv stream get",
        "KV_PAGER='sed s/^/P:/' kv lock list",
    ] {
        assert!(is_paged(command), "{command}");
    }
    for command in [
        "KV_PAGER='sed s/^/P:/' kv list | cat",
        "KV_PAGER='sed s/^/P:/' kv --no-pager list",
        "KV_PAGER='sed s/^/P:/' kv --pager '' list",
        "KV_PAGER='sed s/^/P:/' PAGER=cat kv --pager cat list",
        "KV_PAGER='sed s/^/P:/' kv list --count",
        "KV_PAGER='sed s/^/P:/' kv get user/1",
    ] {
        assert!(!is_paged(command), "{command}");
    }
    // A pager that reads nothing ends the listing, and an error is not told to it.
    assert_eq!(on_terminal(&kv, 80, "kv --pager 'true' list; echo $?"), "0\n");
    let inner = "KV_PAGER='sed s/^/P:/' kv --connection nowhere.db list; echo $?";
    let shown = on_terminal(&kv, 80, inner);
    assert!(shown.starts_with("kv: ") && shown.ends_with("\n6\n"), "{shown}");
    // The words on the rest come when the pager has ended.
    let shown =
        on_terminal(&kv, 80, "kv --color never --pager 'sed s/^/P:/; sleep 0.2; echo end' list --limit 1");
    assert!(shown.ends_with("end\nthere is more: kv list --after $'esc\\U0000001b[31m\\nape'\n"), "{shown}");
}

/// Ctrl-C is for the pager, as with git(1): the screen stays that of the pager until the user leaves it.
#[test]
fn an_interrupt_does_not_take_the_pager_from_the_user() {
    let kv = prepared();
    let pager = "trap \"echo interrupted\" INT; cat; kill -INT 0; sleep 0.1; echo still here";
    let shown = on_terminal(&kv, 80, &format!("trap : INT; kv --pager '{pager}' list user/; echo $?"));
    assert!(shown.ends_with("still here\n0\n"), "{shown}");
}
