//! Whether the settings can be used, and who else can read a password in them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kv::store::Result;

use super::Finding;
use crate::cli::connect;
use crate::cli::settings::{Options, Origin, Settings};

const ABOUT: &str = "settings";

/// Variables that kv sets for the programs that it runs, and those of its tests.
const OTHER_VARIABLES: [&str; 3] = ["KV_LOCK_", "KV_CHANGE_", "KV_TEST_"];

pub(super) fn findings(settings: &Result<Settings>) -> Vec<Finding> {
    let mut findings = unknown_variables();
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            findings.push(Finding::problem(ABOUT, error));
            return findings;
        }
    };
    let address = match connect::address(settings) {
        Ok(address) => address,
        Err(error) => {
            findings.push(Finding::problem(ABOUT, &error));
            return findings;
        }
    };
    findings.push(Finding::ok(
        ABOUT,
        format!("the store is {} {address} ({})", address.kind().as_str(), settings.connection.origin),
    ));
    if address.has_password() {
        let file = settings.connection_file.as_ref().map(|file| file.value.as_path());
        let profile = match &settings.connection.origin {
            Origin::Profile { file, .. } => Some(file.as_path()),
            _ => None,
        };
        findings.extend(file.or(profile).filter(|file| is_open(file)).map(|file| {
            Finding::warning(
                ABOUT,
                format!("other users can read {}, which holds a password", file.display()),
                format!("chmod 600 {}", file.display()),
            )
        }));
        if settings.connection.origin == Origin::CommandLine && settings.connection_file.is_none() {
            findings.push(Finding::warning(
                ABOUT,
                "the password is on the command line, which every user of the machine can read",
                "put the connection string into a file: --connection-file FILE",
            ));
        }
    }
    findings
}

/// Whether other users than its owner can read a file.
fn is_open(file: &Path) -> bool {
    const OTHERS: u32 = 0o044;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & OTHERS != 0)
}

/// Variables that look like settings and are none: a misspelled one would silently do nothing.
fn unknown_variables() -> Vec<Finding> {
    let known: Vec<String> = Options::names().iter().map(|name| Options::variable_of(name)).collect();
    let is_unknown = |name: &String| {
        name.starts_with("KV_")
            && !known.contains(name)
            && !OTHER_VARIABLES.iter().any(|prefix| name.starts_with(prefix))
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = names.filter(is_unknown).collect();
    unknown.sort_unstable();
    let finding = |name: &String| {
        let hint = format!("there are: {}", known.join(", "));
        Finding::warning(ABOUT, format!("kv does not read the variable {name}"), hint)
    };
    unknown.iter().map(finding).collect()
}
