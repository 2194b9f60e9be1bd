//! The files of a service: those of the folder `systemd/`, and one that names the store.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use kv::environment::variable;
use kv::store::{Address, Code, EngineKind, Error, Result};

use super::super::super::arguments::{Engine, usage};
use super::super::super::settings::Settings;
use super::super::connect;
use super::manager::Manager;

/// The path of kv in the files of the folder `systemd/`.
const PROGRAM: &str = "/usr/bin/kv";

/// The store of the unit of the system when nobody names another one.
const SYSTEM_STORE: &str = "/var/lib/kv/data.db";

/// What stands in front of the store in the file that names it.
const STORE_LINE: &str = "# The store: ";

/// Directories that the service of the system does not see, and what to do instead.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// A file of a service.
pub(super) struct UnitFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Whether only its owner may read it.
    is_secret: bool,
}

impl UnitFile {
    /// The file with its path above it, without a secret.
    pub(super) fn shown(&self) -> String {
        let text = if self.is_secret { "(the connection string)\n" } else { &self.text };
        format!("# {}\n{text}", self.path.display())
    }

    /// Whether a secret is there that others than its owner may read.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_secret && self.path.metadata().is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
    }

    /// Writes the file, with the directories above it. A reader sees the old file or the new one.
    pub(super) fn write(&self) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        let temporary = self.path.with_added_extension("kv-new");
        let _ = std::fs::remove_file(&temporary);
        let mode = if self.is_secret { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(self.text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)
    }
}

/// Whether kv makes this directory, and so removes it when it is empty.
pub(super) fn is_own(directory: &Path) -> bool {
    directory.file_name().is_some_and(|name| name == "kv.service.d" || name == "kv")
}

/// The paths of the files of a service.
pub(super) struct UnitFiles {
    user: bool,
    units: PathBuf,
    /// The directory of configurations: `/etc`, or that of the user.
    configuration: PathBuf,
}

impl UnitFiles {
    /// # Errors
    /// `unavailable` for a user without a home.
    pub(super) fn new(user: bool, root: Option<&Path>) -> Result<UnitFiles> {
        let below = |path: &str| root.map_or_else(|| Path::new("/").join(path), |root| root.join(path));
        if !user {
            return Ok(UnitFiles { user, units: below("etc/systemd/system"), configuration: below("etc") });
        }
        if root.is_some() {
            return Ok(UnitFiles { user, units: below("etc/systemd/user"), configuration: below("etc") });
        }
        let given = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = variable("HOME").map(|home| PathBuf::from(home).join(".config"));
        let configuration = given.or(home).ok_or_else(|| {
            Error::new(Code::Unavailable, "this user has no home for units").hint("set HOME")
        })?;
        Ok(UnitFiles { user, units: configuration.join("systemd/user"), configuration })
    }

    /// The service itself.
    pub(super) fn main(&self) -> PathBuf {
        self.units.join("kv.service")
    }

    fn store(&self) -> PathBuf {
        self.units.join("kv.service.d/store.conf")
    }

    fn server(&self) -> PathBuf {
        self.units.join("kv.service.d/server.conf")
    }

    /// The file with the connection string of a store on a server.
    pub(super) fn connection(&self) -> PathBuf {
        self.configuration.join("kv/connection")
    }

    pub(super) fn sysusers(&self) -> PathBuf {
        self.configuration.join("sysusers.d/kv.conf")
    }

    pub(super) fn tmpfiles(&self) -> PathBuf {
        self.configuration.join("tmpfiles.d/kv.conf")
    }

    /// The files that only some stores need.
    pub(super) fn of_stores(&self) -> [PathBuf; 3] {
        [self.store(), self.server(), self.connection()]
    }

    /// Every file that a service may have.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let mut all = vec![self.units.join("kv.socket"), self.main()];
        all.extend(self.of_stores());
        if !self.user {
            all.extend([self.sysusers(), self.tmpfiles()]);
        }
        all
    }

    /// The files for this store.
    ///
    /// # Errors
    /// `bad_request` when the service could not see the program or the store.
    pub(super) fn wanted(&self, program: &Path, store: &Store) -> Result<Vec<UnitFile>> {
        if !self.user {
            let hint = format!(
                "sudo install -m 755 {program} /usr/local/bin/kv && sudo /usr/local/bin/kv daemon install",
                program = program.display()
            );
            check_seen("kv is at", program, &hint)?;
        }
        let program = quoted(
            program.to_str().ok_or_else(|| usage("the path of kv is not UTF-8", "install it elsewhere"))?,
        );
        let (service, socket, server) = if self.user {
            (
                include_str!("../../../../systemd/user/kv.service"),
                include_str!("../../../../systemd/user/kv.socket"),
                include_str!("../../../../systemd/user/kv.service.d/server.conf"),
            )
        } else {
            (
                include_str!("../../../../systemd/kv.service"),
                include_str!("../../../../systemd/kv.socket"),
                include_str!("../../../../systemd/kv.service.d/server.conf"),
            )
        };
        let file = |path, text: &str| UnitFile { path, text: text.to_owned(), is_secret: false };
        let mut wanted = vec![
            file(self.units.join("kv.socket"), socket),
            file(self.main(), &service.replace(PROGRAM, &program)),
        ];
        match store {
            Store::OfUnit => {}
            Store::File(address, path) => {
                if !self.user {
                    let hint = "choose a directory for it such as /srv/kv, or use --user";
                    check_seen("the store is at", path, hint)?;
                }
                wanted.push(file(self.store(), &store_text(address, path, self.user)?));
            }
            Store::Server(kind, connection) => {
                let text = server.replace(PROGRAM, &program);
                wanted.push(file(
                    self.server(),
                    &text.replace("KV_TYPE=postgres", &format!("KV_TYPE={}", kind.as_str())),
                ));
                if let Some(connection) = connection {
                    let (path, text) = (self.connection(), connection.clone());
                    wanted.push(UnitFile { path, text, is_secret: true });
                }
            }
        }
        if !self.user {
            wanted.push(file(self.sysusers(), include_str!("../../../../systemd/sysusers.d/kv.conf")));
            wanted.push(file(self.tmpfiles(), include_str!("../../../../systemd/tmpfiles.d/kv.conf")));
        }
        Ok(wanted)
    }

    /// The store of the service that is installed, for people.
    pub(super) fn installed_store(&self) -> String {
        let named = std::fs::read_to_string(self.store()).unwrap_or_default();
        let named = named.lines().find_map(|line| line.strip_prefix(STORE_LINE)).map(str::to_owned);
        named.unwrap_or_else(|| match (self.server().exists(), self.user) {
            (true, _) => "it is on a server".to_owned(),
            (false, false) => SYSTEM_STORE.to_owned(),
            (false, true) => "kv/data.db in the state directory of each user".to_owned(),
        })
    }
}

/// The store of a service.
pub(super) enum Store {
    /// The one that the unit itself names.
    OfUnit,
    /// A file, by its address and its path.
    File(Address, PathBuf),
    /// One on a server, with the content of the file that holds its connection string; none where every user has such a file.
    Server(EngineKind, Option<String>),
}

impl Store {
    /// The store that the settings name.
    ///
    /// # Errors
    /// Those of its address; `bad_request` for a store in memory, and for one on a server that nobody has named.
    pub(super) fn named(settings: &Settings, manager: &Manager, files: &UnitFiles) -> Result<Store> {
        let is_named = settings.is_store_named;
        if let Engine::Sqlite = settings.engine.value {
            let is_of_one_user = manager.user && manager.root.is_none();
            if !is_named && !is_of_one_user {
                return Ok(Store::OfUnit);
            }
            let address = connect::shared_address(settings)?;
            let path = address.file().map(Path::to_owned).unwrap_or_default();
            let is_of_unit = !manager.user && path == Path::new(SYSTEM_STORE);
            return Ok(if is_of_unit { Store::OfUnit } else { Store::File(address, path) });
        }
        let (kind, path) = (connect::address(settings)?.kind(), files.connection());
        if manager.user && manager.root.is_some() {
            return Ok(Store::Server(kind, None));
        }
        let text = if is_named {
            Ok(format!("{}\n", connect::address(settings)?.connection()))
        } else {
            std::fs::read_to_string(&path)
        };
        let text = text.map_err(|error| {
            usage(
                &format!("nobody has named the store on the server: {}: {error}", path.display()),
                "name it with --connection, or write its connection string into that file",
            )
        })?;
        Ok(Store::Server(kind, Some(text)))
    }

    /// What its users have to know, in lines.
    pub(super) fn advice(&self, manager: &Manager) -> Vec<String> {
        let mut advice = Vec::new();
        if let Store::Server(_, None) = self {
            advice.push("each user names the store in ~/.config/kv/connection".to_owned());
        }
        if manager.user {
            if manager.root.is_none() {
                advice
                    .push("it ends with your last login, unless you run: loginctl enable-linger".to_owned());
            }
        } else {
            if let Store::File(_, path) = self {
                let directory = path.parent().unwrap_or(Path::new("/"));
                advice.push(format!(
                    "the user kv must be able to write there: sudo chown -R kv:kv {}",
                    directory.display()
                ));
            }
            advice.push("to let a user use the store: sudo usermod --append --groups kv USER".to_owned());
        }
        advice
    }
}

/// The file that names the store of a service.
fn store_text(address: &Address, path: &Path, user: bool) -> Result<String> {
    let not_utf8 = || usage("the path of the store is not UTF-8", "rename its directory");
    let directory = path.parent().unwrap_or(Path::new("/"));
    let directory = quoted(directory.to_str().ok_or_else(not_utf8)?);
    let connection = quoted(&format!("KV_CONNECTION={}", address.connection()));
    let shown = path.to_str().ok_or_else(not_utf8)?.escape_debug();
    // The service of a user sees every directory.
    let sees = if user { String::new() } else { format!("ReadWritePaths={directory}\n") };
    Ok(format!(
        "{STORE_LINE}{shown}\n\n[Unit]\nRequiresMountsFor={directory}\n\n[Service]\nEnvironment={connection}\n{sees}"
    ))
}

/// A word of a unit file: in quotes where it needs them (systemd.syntax(7)), and without specifiers.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%");
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+@%=:?&,~".contains(character);
    if word.chars().all(is_plain) {
        return word;
    }
    let escaped = word.chars().map(|character| match character {
        '"' | '\\' => format!("\\{character}"),
        _ if character.is_control() => format!("\\U{:08x}", u32::from(character)),
        _ => character.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// Checks that the service of the system sees a path: it has directories for temporary files of its own, and no homes.
fn check_seen(what: &str, path: &Path, hint: &str) -> Result<()> {
    match HIDDEN.iter().find(|hidden| path.starts_with(hidden)) {
        Some(hidden) => Err(usage(
            &format!("{what} {}, and a service of the system does not see {hidden}", path.display()),
            hint,
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_unit_is_taken_literally() {
        for (word, expected) in [
            ("/usr/bin/kv", "/usr/bin/kv"),
            ("/a b/50%.db", "\"/a b/50%%.db\""),
            ("/a\"\\\n", "\"/a\\\"\\\\\\U0000000a\""),
            ("file:/a%20b?mode=rw", "file:/a%%20b?mode=rw"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn a_service_of_the_system_sees_no_home() {
        assert!(check_seen("", Path::new("/home/alice/kv"), "").is_err());
        assert!(check_seen("", Path::new("/srv/home/kv"), "").is_ok());
    }
}
