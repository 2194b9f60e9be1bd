//! The help of every command has the same parts in the same order, at any width.

use super::{commands, section};
use crate::support::Kv;

#[test]
fn every_help_has_the_same_shape() {
    let kv = Kv::new();
    for command in commands(&kv) {
        for width in [60, 80, 100] {
            let help = kv.ok(&format!("COLUMNS={width} kv {command} --help"));
            let told = format!("kv {command} --help at {width} columns:\n{help}");
            let sentence = help.split("\n\n").next().unwrap().replace('\n', " ");
            assert!(
                sentence.starts_with(char::is_uppercase) && !sentence.ends_with(['.', ',', ':']),
                "{told}"
            );
            assert!(sentence.len() <= 110 && !sentence.contains(". "), "{told}");
            assert!(help.contains(&format!("\n\nUsage: {}", format!("kv {command}").trim_end())), "{told}");

            let examples = section(&help, "Examples:");
            assert!(examples.len() == if command.is_empty() { 6 } else { 2 }, "{told}");
            let first = format!("kv {command}");
            assert!(examples.iter().all(|example| example.starts_with(first.trim_end())), "{told}");
            assert!(examples.windows(2).all(|two| two[0] != two[1]), "{told}");

            let headings: Vec<&str> =
                help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
            assert_eq!(headings.last(), Some(&"Global options:"), "{told}");
            let position = |heading| headings.iter().position(|found| *found == heading);
            assert!(position("Options:") < position("Examples:"), "{told}");
            let longest = help.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "a line has {longest} columns: {told}");
            assert!(help.lines().all(|line| line == line.trim_end()), "{told}");
        }
    }
}

/// A default tells its unit: a time has one, and other numbers say what they count.
#[test]
fn defaults_have_units() {
    let kv = Kv::new();
    for command in commands(&kv) {
        let help = kv.ok(&format!("COLUMNS=110 kv {command} --help"));
        let options = help.split("\n      --").skip(1).map(|option| option.split("\n\n").next().unwrap());
        for option in options.filter(|option| option.contains("<TIME>")) {
            let default = option.split("default: ").nth(1).unwrap_or("1s").trim_start();
            let has_unit = default.split([']', ')']).next().unwrap().ends_with(['s', 'm', 'h']);
            assert!(has_unit || default.starts_with("without"), "kv {command}: --{option}");
        }
    }
}

#[test]
fn the_short_help_fits_on_a_screen() {
    let kv = Kv::new();
    for command in commands(&kv).iter().filter(|command| !command.is_empty()) {
        let help = kv.ok(&format!("COLUMNS=80 kv {command} -h"));
        // These have many forms, or many options.
        let many = ["list", "stream get", "delete", "patch", "incr", "daemon"];
        let lines = match command.as_str() {
            "get" => 38,
            "put" | "watch" | "consumer stream" => 36,
            "history" | "stream trim" | "lock acquire" => 26,
            command if many.contains(&command) => 31,
            _ => 24,
        };
        assert!(help.lines().count() <= lines, "{} lines:\n{help}", help.lines().count());
        let last = help.lines().last().unwrap();
        assert_eq!(last, format!("Global options: kv {command} --help"));
        assert_eq!(section(&help, "Examples:").len(), 2, "{help}");
    }
    assert!(kv.ok("kv -h").ends_with("\nGlobal options: kv --help\n"));
    let (code, stderr) = kv.fails("kv lock");
    assert!(code == 2 && stderr.contains("Examples:"), "{stderr}");
    // What a program behind -- gets is its own.
    assert!(kv.ok("kv init; kv lock run x -- echo -h").contains("-h"));
    assert_eq!(kv.ok("kv help lock run"), kv.ok("kv lock run --help"));
}

#[test]
fn all_commands_stand_below_headings() {
    let kv = Kv::new();
    let help = kv.ok("COLUMNS=80 kv --help");
    let headings = ["Records:", "Changes and locks:", "Maintenance:", "Daemon:", "Settings:"];
    let listed: Vec<&str> = headings.iter().flat_map(|heading| section(&help, heading)).collect();
    for command in commands(&kv).iter().filter(|command| !command.is_empty() && !command.contains(' ')) {
        assert!(listed.iter().any(|line| line.starts_with(&format!("{command} "))), "{command}\n{help}");
    }
    assert_eq!(section(&help, "Exit codes:").len(), 10);
    assert!(help.contains("KV_CLIENT_CERT]"), "{help}");
    // A terminal is shown headings in bold, and no style is left elsewhere.
    assert!(!help.contains('\x1b'));
}
