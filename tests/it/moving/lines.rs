//! Files that are cut, wrong or empty; conflicts of each kind.

use crate::support::Kv;

const GOOD: &str = r#"{"key":"good","value":1}"#;

fn new() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init");
    kv
}

/// What an import of these bytes told, and its exit code.
fn import(kv: &Kv, bytes: &[u8], options: &str) -> (i32, String) {
    std::fs::write(kv.directory.path().join("in"), bytes).unwrap();
    let output = kv.shell(&format!("kv import {options} in"));
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_line_that_cannot_be_used_is_named_and_nothing_is_passed_over() {
    let kv = new();
    let long = format!(r#"{{"key":"long","value":"{}"}}"#, "x".repeat(8 * 1_024 * 1_024));
    let longer = format!(r#"{{"key":"longer","value":"{}"}}"#, "x".repeat(17 * 1_024 * 1_024));
    for (line, told) in [
        (&b"{\"key\":\"k\"}"[..], "missing field `value`"),
        (b"{\"key\":\"k\",\"value\":1,\"verison\":2}", "unknown field `verison`"),
        (b"{\"key\":\"k\",\"value\":", "it ends where a value is expected"),
        (b"{\"key\":\"\",\"value\":1}", "key"),
        (b"{\"key\":\"a\\u0000b\",\"value\":1}", "NUL"),
        (b"{\"key\":\"k\",\"value\":1,\"version\":0}", "version is a number from 1"),
        (b"{\"key\":\"k\",\"value\":1,\"version\":-1}", "-1"),
        (b"{\"key\":\"k\",\"value\":1,\"created\":\"monday\"}", "RFC 3339"),
        (b"{\"key\":\"k\",\"value\":\"\\ud800\"}", "surrogate"),
        (b"[", "--output ndjson"),
        (b"{\"key\":\"\xff\",\"value\":1}", "UTF-8"),
        (b"hello", "expected"),
        (b"3", "expected an object"),
        (b"{\"key\":\"k\",\"value\":1,\"version\":\"x\"}", "expected a whole number"),
        (b"{\"kv_export\":9}", "format 9"),
        (b"{\"kv_end\":1,\"records\":0,\"seq\":0}", "has not begun"),
        (long.as_bytes(), "8388610 bytes"),
        (longer.as_bytes(), "more than"),
    ] {
        let text = [GOOD.as_bytes(), b"\n", line, b"\n", GOOD.as_bytes()].concat();
        let (code, error) = import(&kv, &text, "");
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]);
        assert_eq!(code, 2, "{shown}: {error}");
        assert!(error.contains("kv: line 2: ") || error.contains("more than"), "{shown}: {error}");
        assert!(error.contains(told), "{shown}: {error}");
        // It would have been in one batch with that line; a large record is one by itself.
        let good = u8::from(told == "8388610 bytes");
        assert_eq!(kv.ok("kv count all"), format!("{good}\n"), "{shown}");
        kv.ok("kv delete good || true");
    }
}

/// 1,500 good lines are more than one batch.
#[test]
fn what_stands_before_a_wrong_line_is_counted() {
    let kv = new();
    let good: String = (0..1_500).map(|number| format!("{{\"key\":\"{number}\",\"value\":1}}\n")).collect();
    let (code, told) = import(&kv, (good + "{}\n").as_bytes(), "");
    assert_eq!(code, 2, "{told}");
    assert!(told.starts_with("ended at line 1000: 1000 created, "), "{told}");
    assert!(told.contains("kv: line 1501: missing field"), "{told}");
    assert_eq!(kv.ok("kv count all"), "1000\n");
}

#[test]
fn texts_of_other_systems_are_read() {
    let kv = new();
    for text in ["", "\n\n", "\u{feff}", "\r\n"] {
        assert_eq!(import(&kv, text.as_bytes(), "").0, 0, "{text:?}");
    }
    let text = format!("\u{feff}{GOOD}\r\n\r\n  {{ \"value\" : [1, 2] , \"key\" : \"spaced\" }}  \r\n");
    assert_eq!(
        import(&kv, text.as_bytes(), ""),
        (0, "2 created, 0 updated, 0 unchanged, 0 skipped, 0 expired\n".to_owned())
    );
    assert_eq!(kv.ok("kv get spaced --raw"), "[1,2]\n");
    kv.ok("kv list --output ndjson >list; kv --connection new.db init; kv --connection new.db import <list; kv diff data.db new.db");
    kv.ok("kv --connection new.db import - <list; cat list list | kv --connection new.db import");
}

/// Everything that is there is imported, and then told as an error.
#[test]
fn a_file_that_is_cut_is_an_error() {
    let kv = new();
    kv.ok("for key in a b c; do kv put $key --value 1; done; kv export whole; kv --connection new.db init");
    kv.ok("head -n 3 whole >cut; sed 3d whole >hole; head -c -20 whole >torn; cat whole whole >twice; cat cut whole >after");
    for (file, told, count) in [
        ("cut", "cut is cut: it ends behind line 3", 2),
        ("hole", "line 4: the export should have 3 records and 0 changes, and has 2 and 0", 2),
        ("after", "line 4: another export begins here", 0),
        ("torn", "torn is cut: it ends inside line 5", 3),
    ] {
        kv.ok("kv --connection new.db delete prefix '' --all");
        let (code, error) = kv.fails(&format!("kv --connection new.db import {file}"));
        assert_eq!((code, error.contains(told)), (2, true), "{file}: {error}");
        assert_eq!(kv.ok("kv --connection new.db count all"), format!("{count}\n"), "{file}: {error}");
    }
    kv.ok("kv --connection new.db import twice; kv diff data.db new.db");
    let (code, error) = kv.fails("kv import missing");
    assert_eq!((code, error.contains("missing cannot be read")), (2, true), "{error}");
}

#[test]
fn a_conflict_fails_is_skipped_or_overwritten() {
    let kv = new();
    kv.ok("kv put a --value 1; kv put b --value 2");
    let text = br#"{"key":"0","value":0}
{"key":"a","value":9,"version":5}
{"key":"gone","value":9,"expires":"2001-01-01T00:00:00Z"}
"#;
    let (code, told) = import(&kv, text, "--dry-run");
    assert_eq!((code, told.contains("kv: line 2: a is there already, at version 1")), (4, true), "{told}");
    let (code, told) = import(&kv, text, "");
    assert_eq!(code, 4, "{told}");
    assert!(
        told.contains("kv: line 2: a is there already, at version 1") && told.contains("--on-conflict skip"),
        "{told}"
    );
    assert_eq!(kv.ok("kv count all; kv get a --raw"), "2\n1\n");
    for (mode, summary) in [
        ("skip", "1 created, 0 updated, 0 unchanged, 1 skipped, 1 expired\n"),
        ("overwrite", "0 created, 1 updated, 1 unchanged, 0 skipped, 1 expired\n"),
        ("fail", "0 created, 0 updated, 2 unchanged, 0 skipped, 1 expired\n"),
    ] {
        let dry = import(&kv, text, &format!("--dry-run --on-conflict {mode}"));
        assert_eq!(dry, (0, format!("would be: {summary}")), "{mode}");
        assert_eq!(import(&kv, text, &format!("--on-conflict {mode}")), (0, summary.to_owned()), "{mode}");
    }
    assert_eq!(kv.ok("kv get a --raw; kv get a --output record | jq .version"), "9\n5\n");
}

#[test]
fn stores_are_named_by_words() {
    let kv = new();
    kv.ok("kv put a --value 1; mkdir -p .config/kv");
    kv.ok(r#"printf "[profiles.work]\nconnection = '$HOME/work.db'\n" >.config/kv/config.toml"#);
    kv.ok("kv copy --from data.db --to work && kv --profile work get a && kv diff work data.db && kv diff ./work.db file:data.db");
    for (command, told) in [
        ("kv copy --from data.db --to ./data.db", "both are the same store"),
        ("kv diff data.db 'file:data.db?mode=ro'", "both are the same store"),
        ("kv --connection other.db diff data.db work", "--connection says which store is meant"),
        ("kv diff data.db ''", "empty"),
    ] {
        let (code, error) = kv.fails(command);
        assert_eq!((code, error.contains(told)), (2, true), "{command}: {error}");
    }
    // A store that is not there is not made by who reads it.
    let (code, error) = kv.fails("kv copy --from typo.db --to new.db");
    assert_eq!((code, error.contains("typo.db")), (6, true), "{error}");
    assert_eq!(kv.ok("ls | grep -c -e typo.db -e new.db || true"), "0\n");
    // What the environment says is about another store.
    kv.ok("export KV_CONNECTION=elsewhere.db KV_TYPE=postgres KV_SOCKET=/nowhere; kv diff data.db work");
}
