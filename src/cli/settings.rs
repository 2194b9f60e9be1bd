//! The global settings of a command: from the command line, the environment, a credential, a profile, or the default.

mod certificates;
mod config_file;
mod connection;
mod named;
mod options;
mod origin;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kv::environment::variable;
use kv::limits;
use kv::store::Result;

pub(super) use self::config_file::ConfigFiles;
use self::config_file::Profile;
pub(super) use self::options::Options;
pub(super) use self::origin::Origin;
use super::arguments::{
    ColorMode, ConnectionString, DaemonMode, Engine, LogLevel, StoreArguments, spelled, usage,
};

/// A value, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// What the global options say, after all sources were joined.
///
/// A setting of the command line comes before one of the environment, that before one of a profile, and the default comes
/// last. What names the store is not mixed: when the command line or the environment name one, the profile that is used
/// by default says nothing about the store; and a profile that is named on the command line comes before the environment.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The file of profiles that was named.
    pub(super) config: Option<Setting<PathBuf>>,
    pub(super) engine: Setting<Engine>,
    /// Whether anything says which store is meant, besides its socket.
    pub(super) is_store_named: bool,
    pub(super) connection: Setting<ConnectionString>,
    /// The file that holds the connection string.
    pub(super) connection_file: Option<Setting<PathBuf>>,
    pub(super) ca: Option<Setting<PathBuf>>,
    pub(super) client_cert: Option<Setting<PathBuf>>,
    pub(super) client_key: Option<Setting<PathBuf>>,
    pub(super) socket: Option<Setting<PathBuf>>,
    pub(super) daemon: Setting<DaemonMode>,
    pub(super) idle_timeout: Setting<Duration>,
    pub(super) log_level: Option<Setting<LogLevel>>,
    pub(super) color: Setting<ColorMode>,
    /// The program that shows long listings on a terminal; an empty one means none.
    pub(super) pager: Option<Setting<String>>,
    pub(super) profile: Option<Setting<String>>,
    /// The files of profiles that were read.
    pub(super) files: ConfigFiles,
}

impl Settings {
    /// Joins the options of the command line with what the other sources say.
    ///
    /// # Errors
    /// `bad_request` when a variable, a file of profiles or a connection file holds something else than such a setting, or
    /// a profile is named that there is not; `unavailable` when a file cannot be read.
    pub(super) fn resolve(command_line: &StoreArguments) -> Result<Settings> {
        let command_line = Options { values: command_line.clone(), origin: Origin::CommandLine };
        let environment = Options::of_environment()?;
        let given = [&command_line, &environment];
        let files = ConfigFiles::read(pick(&given, |values| &values.config))?;
        let named = pick(&given, |values| &values.profile);
        let profile = files.profile(named.as_ref())?;
        let is_chosen = command_line.values.profile.is_some();
        let sources = in_order(
            command_line,
            environment,
            profile.as_ref().map(Options::of_profile).transpose()?,
            is_chosen,
        );
        Settings::join(&sources.iter().collect::<Vec<_>>(), files, profile.as_ref().map(Profile::as_setting))
    }

    /// The socket that is named instead of the one that belongs to the store.
    pub(super) fn chosen_socket(&self) -> Option<&Path> {
        self.socket.as_ref().map(|socket| socket.value.as_path())
    }

    fn join(sources: &[&Options], files: ConfigFiles, profile: Option<Setting<String>>) -> Result<Settings> {
        let engine = pick(sources, |values| &values.engine);
        let named = connection::named(sources)?;
        let is_store_named = named.is_some();
        let (engine, connection, connection_file) = match named {
            Some(named) => {
                let (connection, file) = named.read()?;
                (connection::engine(engine, &connection, sources)?, connection, file)
            }
            None => {
                let engine = engine.or_default(Engine::Sqlite);
                let connection = connection::default(engine.value);
                (engine, connection, None)
            }
        };
        Ok(Settings {
            config: pick(sources, |values| &values.config),
            is_store_named,
            connection,
            connection_file,
            ca: pick(sources, |values| &values.ca),
            client_cert: pick(sources, |values| &values.client_cert),
            client_key: pick(sources, |values| &values.client_key),
            socket: pick(sources, |values| &values.socket),
            daemon: pick(sources, |values| &values.daemon).or_default(DaemonMode::Auto),
            idle_timeout: pick(sources, |values| &values.idle_timeout).or_default(limits::IDLE_TIMEOUT),
            log_level: pick(sources, |values| &values.log_level),
            color: pick(sources, |values| &values.color).or_default(ColorMode::Auto),
            pager: pager(sources),
            engine,
            profile,
            files,
        })
    }
}

/// The sources in the order of their precedence.
fn in_order(
    command_line: Options,
    environment: Options,
    profile: Option<Options>,
    is_profile_chosen: bool,
) -> Vec<Options> {
    let credential = Options::of_credential(variable("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    let ambient = std::iter::once(environment).chain(credential);
    let before = std::iter::once(command_line);
    if is_profile_chosen {
        let names_store = profile.as_ref().is_some_and(Options::name_store);
        let ambient = ambient.map(|options| if names_store { options.without_store() } else { options });
        return before.chain(profile).chain(ambient).collect();
    }
    let mut sources: Vec<Options> = before.chain(ambient).collect();
    let names_store = sources.iter().any(Options::name_store);
    sources.extend(profile.map(|options| if names_store { options.without_store() } else { options }));
    sources
}

/// The first value that one of the sources has.
fn pick<T: Clone>(sources: &[&Options], value: impl Fn(&StoreArguments) -> &Option<T>) -> Option<Setting<T>> {
    sources.iter().find_map(|options| {
        let value = value(&options.values).clone()?;
        Some(Setting { value, origin: options.origin.clone() })
    })
}

/// The pager, as `--pager` names one and `--no-pager` refuses any.
fn pager(sources: &[&Options]) -> Option<Setting<String>> {
    let refused = sources.iter().find(|options| options.values.no_pager);
    let refused = refused.map(|options| Setting { value: String::new(), origin: options.origin.clone() });
    refused.or_else(|| pick(sources, |values| &values.pager))
}

/// A setting that may be missing.
trait OrDefault<T> {
    /// The setting, or else its default.
    fn or_default(self, default: T) -> Setting<T>;
}

impl<T> OrDefault<T> for Option<Setting<T>> {
    fn or_default(self, default: T) -> Setting<T> {
        self.unwrap_or(Setting { value: default, origin: Origin::Default })
    }
}
