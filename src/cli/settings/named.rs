//! The settings for a store that a word names: a command with several stores names each by a word.

use std::ffi::OsString;

use kv::store::Result;

use super::config_file::Profile;
use super::{
    ConfigFiles, ConnectionString, Options, Origin, Setting, Settings, StoreArguments, in_order, pick, usage,
};

impl Settings {
    /// Joins the options of the command line with what the other sources say, for the store that a word names: a profile, a URL,
    /// whose scheme tells the kind of database, or the path of a file.
    ///
    /// What the options say of a store is about another one. What the environment says is so too, but for certificates, which
    /// are for any server.
    ///
    /// # Errors
    /// As [`resolve`](Settings::resolve); `bad_request` when the word is empty.
    pub(in crate::cli) fn of_store(word: &str, command_line: &StoreArguments) -> Result<Settings> {
        if word.is_empty() {
            return Err(usage("the name of a store is empty", "name a path, a URL or a profile"));
        }
        let mut command_line =
            Options { values: command_line.clone(), origin: Origin::CommandLine }.without_store();
        let mut environment = Options::of_environment()?;
        let values = &mut environment.values;
        (values.engine, values.connection, values.connection_file, values.socket) = (None, None, None, None);
        let files = ConfigFiles::read(pick(&[&command_line, &environment], |values| &values.config))?;
        let is_profile = files.names().contains(&word);
        let named = is_profile.then(|| Setting { value: word.to_owned(), origin: Origin::CommandLine });
        let profile = files.profile(named.as_ref())?;
        if !is_profile {
            command_line.values.connection = Some(ConnectionString(OsString::from(word)));
        }
        let profile_options = profile.as_ref().map(Options::of_profile).transpose()?;
        let sources = in_order(command_line, environment, profile_options, is_profile);
        let used = profile.as_ref().filter(|_| is_profile).map(Profile::as_setting);
        Settings::join(&sources.iter().collect::<Vec<_>>(), files, used)
    }
}
