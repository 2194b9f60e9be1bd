//! The service file and the password file of libpq.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Server, parameters, refused};
use crate::quote::shown;
use crate::store::error::Result;

/// The parameters of a service (<https://www.postgresql.org/docs/current/libpq-pgservice.html>).
pub(super) fn service(
    name: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(&'static str, String)>> {
    let own = variable("PGSERVICEFILE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".pg_service.conf")));
    let system = variable("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let files = own.into_iter().chain([PathBuf::from(system).join("pg_service.conf")]);
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        if let Some(section) = section(&text, name) {
            return section
                .map(|line| {
                    let (name, value) = line.split_once('=').ok_or_else(|| {
                        refused(&format!("{} has a line that is not NAME=VALUE", shown(&file)))
                    })?;
                    let (name, value) = (name.trim(), value.trim());
                    Ok(parameters::known(name, value)?.map(|name| (name, value.to_owned())))
                })
                .filter_map(Result::transpose)
                .collect();
        }
    }
    Err(refused(&format!("there is no service {name:?}"))
        .hint("services stand in ~/.pg_service.conf, or in the file that PGSERVICEFILE names"))
}

/// The lines under `[name]`.
fn section<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.find(|line| line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) == Some(name))?;
    Some(lines.take_while(|line| !line.starts_with('[')))
}

/// The password that a file has for a server (<https://www.postgresql.org/docs/current/libpq-pgpass.html>).
pub(super) fn password_in(file: &Path, server: &Server, user: &str, database: &str) -> Option<String> {
    let metadata = file.metadata().ok()?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!("{} is not used, because others may read it: chmod 600 it", shown(file));
        return None;
    }
    let is_default_socket = server.host == "/var/run/postgresql" || server.host == "/tmp";
    let host = if is_default_socket { "localhost" } else { &server.host };
    let port = server.port.to_string();
    let asked = [host, &port, database, user];
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [own @ .., password] = fields.as_slice() else { return None };
        let matches = own.len() == asked.len()
            && own.iter().zip(asked).all(|(field, asked)| field == "*" || field == asked);
        matches.then(|| password.clone())
    })
}

/// What stands between the colons; a backslash takes the next character literally.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            '\\' => fields[last].extend(characters.next()),
            ':' => fields.push(String::new()),
            character => fields[last].push(character),
        }
    }
    fields
}
