//! The manual pages.

use super::commands;
use crate::support::Kv;

#[test]
fn each_page_has_its_sections_and_is_formatted_without_a_warning() {
    let kv = Kv::new();
    let commands = commands(&kv);
    for command in &commands {
        let file = format!("manual/{}.1", format!("kv {command}").trim_end().replace(' ', "-"));
        for width in [60, 80] {
            let output = kv.shell(&format!("LC_ALL=C.UTF-8 MANWIDTH={width} man --warnings ./{file}"));
            let (page, warnings) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            assert!(output.status.success() && warnings.is_empty(), "{file}: {warnings}");
            let mut sections =
                vec!["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"];
            if command.is_empty() {
                sections.extend(["COMMANDS", "ENVIRONMENT", "FILES"]);
            }
            for section in sections {
                assert_eq!(page.lines().filter(|line| *line == section).count(), 1, "{section}\n{page}");
            }
            assert!(page.contains(format!("\n       kv {command}").trim_end()), "{page}");
            let longest = page.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width, "a line has {longest} columns\n{page}");
        }
    }
    let whole = kv.ok("LC_ALL=C.UTF-8 MANWIDTH=80 man ./manual/kv.1");
    for word in ["KV_CONNECTION_FILE", "/etc/kv/config.toml", "--idle-timeout", "kv-lock(1)"] {
        assert!(whole.contains(word), "{word} is missing\n{whole}");
    }
    // The global options are in one page alone.
    assert!(!kv.ok("cat manual/kv-put.1").contains("idle"));
}
