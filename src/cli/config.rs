//! `kv config`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kv::environment::variable;
use kv::store::Result;
use serde::Serialize;

use super::arguments::{Engine, spelled};
use super::format::{self, OutputFormat};
use super::output::Column;
use super::settings::{Options, Origin, Setting, Settings};
use super::{connect, output};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Print every setting of this command line, and where it comes from; passwords are hidden
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// A table for people, or JSON for programs
    #[arg(long, default_value = "table", value_name = "FORMAT", value_parser = OutputFormat::one_of(format::REPORT))]
    output: OutputFormat,
}

/// The settings in the form in which they are printed.
#[derive(Serialize)]
struct SettingsView<'a> {
    settings: Vec<SettingView>,
    /// The names of all profiles.
    profiles: Vec<&'a str>,
    /// The files of profiles that were read.
    files: &'a [PathBuf],
}

/// One setting in the form in which it is printed.
#[derive(Serialize)]
pub(super) struct SettingView {
    name: &'static str,
    /// None where nothing is set.
    value: Option<String>,
    from: Option<String>,
}

const COLUMNS: &[Column] = &[Column::word("SETTING"), Column::text("VALUE"), Column::text("FROM")];

impl Config {
    pub(super) fn run(self, settings: &Settings) -> Result<()> {
        let Config::Show(Show { output }) = self;
        let files = &settings.files;
        let view = SettingsView { settings: views(settings), profiles: files.names(), files: &files.read };
        match output {
            OutputFormat::Json => output::print_document(&view),
            _ => {
                let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                let row =
                    |view: &SettingView| vec![view.name.to_owned(), text(&view.value), text(&view.from)];
                output::print_table(COLUMNS, view.settings.iter().map(row).collect())?;
                output::note(&match view.files {
                    [] => format!("there is no file of profiles: {}", paths(&files.searched)),
                    read => format!("profiles: {} (in {})", view.profiles.join(", "), paths(read)),
                });
                Ok(())
            }
        }
    }
}

fn paths(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}

/// The options of this command line that say which store is meant and how to reach it, as words of another one. A password
/// is left out. There are none when the connection string cannot be used: then nobody knows where a password is in it.
pub(super) fn given(settings: &Settings) -> Vec<String> {
    words(settings, &["color", "pager"])
}

/// As [`given`], but only the options that say which store is meant.
pub(super) fn given_store(settings: &Settings) -> Vec<String> {
    words(settings, &["daemon", "idle-timeout", "log-level", "color", "pager"])
}

/// The options of this command line, but for some, as words of another one.
fn words(settings: &Settings, left_out: &[&str]) -> Vec<String> {
    if connect::address(settings).is_err() {
        return Vec::new();
    }
    let is_given = |view: &SettingView| {
        let is_needed = match view.name {
            // A file that holds the connection string is named instead of it.
            "connection" => settings.connection_file.is_none(),
            "type" => !is_sqlite_anyway(settings),
            name => !left_out.contains(&name),
        };
        is_needed && view.from == Some(Origin::CommandLine.to_string())
    };
    let option = |view: SettingView| {
        let value = view.value.unwrap_or_default();
        // The name of a file has no password, and stays as the user wrote it.
        let value = match (view.name, settings.engine.value, settings.connection.value.0.to_str()) {
            ("connection", Engine::Sqlite, Some(typed)) => typed.to_owned(),
            _ => value,
        };
        [format!("--{}", view.name), value]
    };
    let config = settings.config.as_ref().filter(|config| config.origin == Origin::CommandLine);
    let config = config.map(|config| ["--config".to_owned(), config.value.display().to_string()]);
    config.into_iter().chain(views(settings).into_iter().filter(is_given).map(option)).flatten().collect()
}

/// Whether a connection string on the command line is for SQLite without a word on the kind of the database.
fn is_sqlite_anyway(settings: &Settings) -> bool {
    let is_named = settings.connection.origin == Origin::CommandLine && settings.connection_file.is_none();
    is_named && settings.engine.value == Engine::Sqlite && variable(&Options::variable_of("type")).is_none()
}

/// Each setting, without passwords.
pub(super) fn views(settings: &Settings) -> Vec<SettingView> {
    fn view<T>(name: &'static str, setting: &Setting<T>, show: impl Fn(&T) -> String) -> SettingView {
        SettingView { name, value: Some(show(&setting.value)), from: Some(setting.origin.to_string()) }
    }
    fn optional<T>(
        name: &'static str,
        setting: Option<&Setting<T>>,
        show: impl Fn(&T) -> String,
    ) -> SettingView {
        let unset = SettingView { name, value: None, from: None };
        setting.map_or(unset, |setting| view(name, setting, show))
    }
    let path = |path: &PathBuf| path.display().to_string();
    let file = |name, setting: &Option<Setting<PathBuf>>| optional(name, setting.as_ref(), path);
    // The address shows no password. What cannot be read as an address may have one anywhere.
    let connection = connect::address(settings).map_or_else(
        |error| format!("(hidden, because it cannot be used: {})", error.message),
        |address| address.to_string(),
    );
    vec![
        optional("profile", settings.profile.as_ref(), String::clone),
        view("type", &settings.engine, spelled),
        view("connection", &settings.connection, |_| connection.clone()),
        file("connection-file", &settings.connection_file),
        file("ca", &settings.ca),
        file("client-cert", &settings.client_cert),
        file("client-key", &settings.client_key),
        file("socket", &settings.socket),
        view("daemon", &settings.daemon, spelled),
        view("idle-timeout", &settings.idle_timeout, |timeout| format!("{}s", timeout.as_secs())),
        optional("log-level", settings.log_level.as_ref(), spelled),
        view("color", &settings.color, spelled),
        optional("pager", settings.pager.as_ref(), String::clone),
    ]
}
