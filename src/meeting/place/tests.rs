//! Directories that a daemon may and may not use.

use std::fs::{DirBuilder, Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

use super::own::Bases;
use super::peer::{check_server, own_uid};
use super::*;

/// The file name of a socket.
const NAME: &str = "0123456789abcdef.sock";

fn directory_with_mode(mode: u32) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
    directory
}

fn own_place(directory: &Path) -> Place {
    Place {
        socket: directory.join("kv/0.sock"),
        system_socket: None,
        unit_sockets: Vec::new(),
        guard: Guard::Own,
    }
}

#[test]
fn a_name_has_16_hex_digits_of_the_hash() {
    // The start of sha256("").
    assert_eq!(store_name(""), "e3b0c44298fc1c14");
    assert_ne!(store_name("sqlite:/a"), store_name("sqlite:/b"));
}

#[test]
fn the_first_private_runtime_directory_is_taken() {
    let private = directory_with_mode(0o700);
    let open = directory_with_mode(0o755);
    let (nowhere, state) = (Path::new("/nowhere"), private.path().join("state"));
    let choose = |runtime: &Path| {
        let runtime = Some(runtime.as_os_str());
        Bases { runtime, users: nowhere, state: Some(&state), shared: nowhere }.choose(NAME.len()).unwrap()
    };
    assert_eq!(choose(private.path()), private.path().join("kv"));
    assert_eq!(choose(open.path()), state.join("kv"));
    assert_eq!(choose(Path::new("")), state.join("kv"));
    assert_eq!(choose(Path::new(".")), state.join("kv"));
    let link = open.path().join("link");
    std::os::unix::fs::symlink(private.path(), &link).unwrap();
    assert_eq!(choose(&link), state.join("kv"));
    let none = Bases { runtime: None, users: nowhere, state: None, shared: nowhere };
    let error = none.choose(NAME.len()).unwrap_err();
    assert!(error.hint.unwrap().contains("XDG_RUNTIME_DIR"));
}

#[test]
fn the_directory_of_the_user_needs_no_variable() {
    let users = directory_with_mode(0o755);
    let mine = users.path().join(own_uid().to_string());
    DirBuilder::new().mode(0o700).create(&mine).unwrap();
    let nowhere = Path::new("/nowhere");
    let bases = Bases { runtime: None, users: users.path(), state: None, shared: nowhere };
    assert_eq!(bases.choose(NAME.len()).unwrap(), mine.join("kv"));
}

#[test]
fn where_a_path_is_too_long_or_cannot_be_made_a_shorter_one_of_our_own_is_taken() {
    let base = directory_with_mode(0o700);
    let (nowhere, shared) = (Path::new("/nowhere"), Path::new("/tmp"));
    let ours = shared.join(format!("kv-{}", own_uid()));
    let choose = |runtime: Option<&Path>, state: Option<&Path>| {
        let runtime = runtime.map(Path::as_os_str);
        Bases { runtime, users: nowhere, state, shared }.choose(NAME.len()).unwrap()
    };
    let long = base.path().join("x".repeat(100));
    DirBuilder::new().mode(0o700).create(&long).unwrap();
    assert_eq!(choose(Some(&long), Some(base.path())), base.path().join("kv"));
    assert_eq!(choose(Some(&long), Some(&long)), ours);
    assert_eq!(choose(None, None), ours);
    std::fs::write(base.path().join("file"), "").unwrap();
    assert_eq!(choose(None, Some(&base.path().join("file/state"))), ours);
    // The error for an existing directory that cannot be used names a remedy.
    std::fs::write(base.path().join("kv"), "").unwrap();
    assert_eq!(choose(None, Some(base.path())), base.path().join("kv"));
    // Nothing is created where other users could remove it.
    let open = directory_with_mode(0o777);
    Bases { runtime: None, users: nowhere, state: None, shared: open.path() }.choose(NAME.len()).unwrap_err();
}

#[test]
fn another_users_runtime_directory_is_ignored() {
    // Only root can make one; elsewhere the other tests stand for it.
    let directory = directory_with_mode(0o700);
    if std::os::unix::fs::chown(directory.path(), Some(12_345), None).is_ok() {
        let error = check_private(directory.path()).unwrap_err();
        assert!(error.message.contains("belongs to user 12345"), "{error}");
        assert!(error.hint.unwrap().contains("chown"));
        let error = create_private(&directory.path().join("state/kv")).unwrap_err();
        assert!(error.message.contains("belongs to user 12345"), "{error}");
        assert!(!directory.path().join("state").exists());
    }
}

#[test]
fn the_own_directory_is_created_private() {
    let base = directory_with_mode(0o755);
    let place = own_place(base.path());
    place.ensure().unwrap();
    place.ensure().unwrap();
    assert_eq!(base.path().join("kv").metadata().unwrap().mode() & 0o777, 0o700);
}

#[test]
fn an_open_directory_is_refused_with_the_command_that_closes_it() {
    let base = directory_with_mode(0o700);
    let place = own_place(base.path());
    place.ensure().unwrap();
    for mode in [0o755, 0o710, 0o701, 0o777, 0o500] {
        set_permissions(base.path().join("kv"), Permissions::from_mode(mode)).unwrap();
        let error = place.ensure().unwrap_err();
        assert_eq!((error.code, error.retry), (Code::Unavailable, false));
        assert_eq!(error.hint.unwrap(), format!("chmod 700 {}", base.path().join("kv").display()));
    }
}

#[test]
fn a_link_or_a_file_is_not_taken_for_a_directory() {
    let base = directory_with_mode(0o700);
    let real = directory_with_mode(0o700);
    std::os::unix::fs::symlink(real.path(), base.path().join("kv")).unwrap();
    own_place(base.path()).ensure().unwrap_err();
    std::fs::remove_file(base.path().join("kv")).unwrap();
    std::fs::write(base.path().join("kv"), "").unwrap();
    own_place(base.path()).ensure().unwrap_err();
}

#[test]
fn a_chosen_socket_stands_alone() {
    let base = directory_with_mode(0o755);
    let socket = base.path().join("my.sock");
    let place = Place::for_store("anything", Some(&socket)).unwrap();
    assert_eq!(place.candidates(), [socket.as_path()]);
    assert_eq!(place.life_lock(), base.path().join("my.sock.life-lock"));
    place.ensure().unwrap();
    let missing = Place::at(&base.path().join("no/my.sock")).unwrap().ensure().unwrap_err();
    assert!(missing.hint.unwrap().starts_with("mkdir"));
    Place::at(Path::new("/")).unwrap_err();
    assert!(Place::at(Path::new("relative.sock")).unwrap().socket().is_absolute());
}

#[test]
fn a_long_path_is_refused_with_its_length_and_the_setting() {
    let longest = format!("/{}", "x".repeat(limits::SOCKET_PATH_BYTES - 1));
    Place::at(Path::new(&longest)).unwrap();
    let error = Place::at(Path::new(&format!("{longest}x"))).unwrap_err();
    assert!(error.message.contains(&(limits::SOCKET_PATH_BYTES + 1).to_string()), "{error}");
    assert!(error.message.contains(&limits::SOCKET_PATH_BYTES.to_string()), "{error}");
    assert!(error.hint.unwrap().contains("KV_SOCKET"));
}

#[test]
fn the_server_must_be_ours_or_the_systems() {
    let directory = directory_with_mode(0o755);
    let socket = directory.path().join("0.sock");
    let (own, other) = (own_uid(), own_uid() + 4_711);
    check_server(&socket, None, own).unwrap();
    check_server(&socket, None, other).unwrap_err();
    // A directory of root vouches for any server, one of another user for that user only.
    let system = Some(directory.path());
    assert_eq!(check_server(&socket, system, other).is_ok(), own == 0);
    if std::os::unix::fs::chown(directory.path(), Some(other), None).is_ok() {
        check_server(&socket, system, other).unwrap();
        check_server(&socket, system, other + 1).unwrap_err();
    }
    for mode in [0o775, 0o757, 0o1777] {
        set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
        check_server(&socket, system, other).unwrap_err();
    }
}

#[test]
fn admission_is_for_the_own_user_and_root() {
    let rule = Admission::User(1_000);
    assert!(rule.admits(1_000) && rule.admits(0));
    assert!(!rule.admits(1_001));
}

#[test]
fn a_group_shares_a_socket_in_the_systems_directory_only() {
    let group = SocketGroup { name: "staff".to_owned(), gid: 50 };
    let place = Place::for_group("anything", None, group.clone()).unwrap();
    assert_eq!(place.socket().parent(), Some(Path::new(SYSTEM_DIRECTORY)));
    assert_eq!(place.admission(), Admission::Mode);
    let error = Place::for_group("anything", Some(Path::new("/tmp/kv.sock")), group).unwrap_err();
    assert_eq!(error.code, Code::BadRequest);
    let error = SocketGroup::find("no-such-group").unwrap_err();
    assert!(error.hint.unwrap().contains("groupadd"));
}

#[test]
fn a_directory_that_is_shared_lets_the_group_in_and_nobody_else() {
    let directory = directory_with_mode(0o750);
    let gid = directory.path().metadata().unwrap().gid();
    let group = SocketGroup { name: "staff".to_owned(), gid };
    check_shared(directory.path(), &group).unwrap();
    let other = SocketGroup { name: "other".to_owned(), gid: gid + 1 };
    check_shared(directory.path(), &other).unwrap_err();
    for mode in [0o700, 0o751, 0o755, 0o770] {
        set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
        let error = check_shared(directory.path(), &group).unwrap_err();
        assert!(error.hint.unwrap().contains("-m 750"), "{mode:o}");
    }
    assert!(check_shared(Path::new("/nowhere"), &group).unwrap_err().hint.unwrap().contains("install -d"));
}
