//! The variables that make a program of kv use the same store in any directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Result as IoResult, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use clap::ValueEnum as _;
use kv::environment::variable;
use kv::store::{Code, Error, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::connect;
use super::settings::{Options, Settings};

/// The variables for a program, which has to end before this value is dropped.
pub(super) struct Environment {
    variables: Vec<(String, OsString)>,
    /// The file that holds a connection string with a password.
    _secret: Option<File>,
}

impl Environment {
    /// # Errors
    /// As [`connect::address`]; `unavailable` when the system has no room for the file that holds a password.
    pub(super) fn new(settings: &Settings) -> Result<Environment> {
        let address = connect::address(settings)?;
        // What the variables of the caller say stands in these; an empty one is as if it was not there.
        let is_set = |name: &String| variable(name).is_some();
        let mut variables: Vec<_> =
            Options::variables_of_store().filter(is_set).map(|name| (name, OsString::new())).collect();
        let mut set = |name: &str, value: OsString| variables.push((name.to_owned(), value));
        let mut secret = None;
        if connect::is_asked_for(settings, &address) {
            set("KV_TYPE", address.kind().as_str().into());
            let connection = address.connection();
            // A process shows its environment to every other one of its user, and passes it on to what it starts.
            if !address.has_password() {
                set("KV_CONNECTION", connection.into());
            } else {
                let (file, path) = secret_file(&connection).map_err(|error| {
                    Error::new(
                        Code::Unavailable,
                        format!("the connection string cannot be handed over: {error}"),
                    )
                })?;
                set("KV_CONNECTION_FILE", path.into());
                secret = Some(file);
            }
        }
        if let Some(mode) = settings.daemon.value.to_possible_value() {
            set("KV_DAEMON", mode.get_name().into());
        }
        if let Some(socket) = settings.chosen_socket() {
            let absolute = std::path::absolute(socket)
                .map_err(|error| Error::new(Code::BadRequest, format!("{}: {error}", socket.display())))?;
            set("KV_SOCKET", absolute.into());
        }
        Ok(Environment { variables, _secret: secret })
    }

    /// The names and values; an empty value takes a variable away.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &OsString)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// A file in the memory of this process, and a path by which the other processes of its user can read it while it is open
/// (memfd_create(2), proc(5)).
fn secret_file(text: &str) -> IoResult<(File, PathBuf)> {
    let memory = memfd_create("kv-connection", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(text.as_bytes())?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Ok((file, path.into()))
}
