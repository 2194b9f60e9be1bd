//! The settings of a command: the command line, the environment, credentials and files of profiles.

mod files;
mod precedence;

use serde_json::Value;

use crate::support::Kv;

/// A user with a file of profiles.
fn with_profiles(text: &str) -> Kv {
    let kv = Kv::new();
    let directory = kv.directory.path().join(".config/kv");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.toml"), text).unwrap();
    kv
}

/// The value of a setting and where it comes from, as `kv config show` tells them for a command line.
#[track_caller]
fn setting(kv: &Kv, before: &str, options: &str, name: &str) -> (Option<String>, Option<String>) {
    let shown: Value =
        serde_json::from_str(&kv.ok(&format!("{before} kv {options} config show --output json"))).unwrap();
    let all = shown["settings"].as_array().unwrap();
    let found = all.iter().find(|setting| setting["name"] == name).unwrap();
    let text = |field: &str| found[field].as_str().map(str::to_owned);
    (text("value"), text("from"))
}
