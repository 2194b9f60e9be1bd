//! The files by which a server and this side prove who they are, as a part of the connection string.

use std::path::Path;

use kv::store::Result;

use super::{Engine, Origin, Setting, Settings, usage};

impl Settings {
    /// Adds the certificates to a connection string.
    ///
    /// # Errors
    /// `bad_request` when the store is not on a server, or the string names certificates itself.
    pub(in crate::cli) fn with_certificates(&self, connection: &str) -> Result<String> {
        let names = match self.engine.value {
            Engine::Sqlite => [None; 3],
            Engine::Rqlite => [Some("ca"), Some("cert"), Some("key")],
            Engine::Postgres => [Some("sslrootcert"), Some("sslcert"), Some("sslkey")],
        };
        let given = [("ca", &self.ca), ("client-cert", &self.client_cert), ("client-key", &self.client_key)];
        let mut connection = connection.to_owned();
        for ((option, file), name) in given.into_iter().zip(names) {
            let Some(Setting { value: file, origin }) = file else { continue };
            match name {
                Some(name) => add(&mut connection, name, file, option, origin)?,
                // It is for the servers that other commands use.
                None if *origin == Origin::Environment => {}
                None => {
                    return Err(usage(
                        &format!(
                            "{} is for a store on a server, and this one is in a file",
                            origin.spell(option)
                        ),
                        "leave it out; --type names the kind of database",
                    ));
                }
            }
        }
        Ok(connection)
    }
}

/// Adds a file to a connection string, under the name that it has there.
fn add(connection: &mut String, name: &str, file: &Path, option: &str, origin: &Origin) -> Result<()> {
    let (_, query) = connection.split_once('?').unwrap_or_default();
    if query.split('&').any(|part| part.split('=').next() == Some(name)) {
        return Err(usage(
            &format!("{} is given, and the connection string has {name} too", origin.spell(option)),
            "leave one of them out",
        ));
    }
    let file = file
        .to_str()
        .ok_or_else(|| usage(&format!("{} is not UTF-8", origin.spell(option)), "rename the file"))?;
    let file = percent_encoding::utf8_percent_encode(file, percent_encoding::NON_ALPHANUMERIC);
    let separator = if connection.contains('?') { '&' } else { '?' };
    connection.push_str(&format!("{separator}{name}={file}"));
    Ok(())
}
