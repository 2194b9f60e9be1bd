//! The Debian package, in a fresh Debian: installed, used, removed and purged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::{command, is_skipped, output};

/// A Debian that nobody has used, which is gone with this.
struct Root {
    process: Child,
    /// None once it is to end.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _directory: TempDir,
}

impl Root {
    /// With a copy of a file in /var/tmp.
    fn with(file: &Path) -> Root {
        let directory = TempDir::new().unwrap();
        let mut run = command("tests/packages/root");
        run.arg("run").arg(directory.path().join("root")).arg(file);
        let mut process = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let requests = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Root { process, requests, answers, _directory: directory }
    }

    /// Runs a line of bash as root; its exit code, and all that it printed.
    fn run(&mut self, script: &str) -> (i32, String) {
        writeln!(self.requests.as_mut().unwrap(), "{script}").unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "{script}\n{printed}");
            match line.strip_prefix("exit ") {
                Some(code) => return (code.trim_end().parse().unwrap(), printed),
                None => printed.push_str(&line),
            }
        }
    }

    /// What a line of bash prints, which must succeed.
    #[track_caller]
    fn ok(&mut self, script: &str) -> String {
        let (code, printed) = self.run(script);
        assert_eq!(code, 0, "{script}\n{printed}");
        printed
    }

    /// Everything that a package may leave behind: files, users and groups. What dpkg and its like keep for themselves changes.
    fn contents(&mut self) -> String {
        let own = [
            "/proc",
            "/dev",
            "/root",
            "/tmp",
            "/var/lib/dpkg",
            "/var/log",
            "/var/cache",
            "/etc/*-",
            "/etc/.pwd.lock",
        ];
        let own = own.map(|path| format!("-path '{path}' -prune")).join(" -o ");
        self.ok(&format!("find / \\( {own} \\) -o -print | sort; cat /etc/passwd /etc/group; cut -d: -f1 /etc/shadow /etc/gshadow"))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.requests = None;
        let ended = self.process.wait();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Makes the package, of the binary of these tests; the file is in a directory of its own.
fn package() -> (TempDir, std::path::PathBuf) {
    let made =
        output(command("scripts/package").arg("deb").env("KV_PACKAGE_BINARY", env!("CARGO_BIN_EXE_kv")));
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("kv.deb");
    std::fs::copy(made.trim_end(), &file).unwrap();
    (directory, file)
}

const INSTALL: &str = "dpkg --install /var/tmp/kv.deb";

#[test]
fn the_package_is_installed_used_and_purged() {
    if is_skipped("the_package_is_installed_used_and_purged") {
        return;
    }
    let (_directory, file) = package();
    holds_what_it_should(&file);
    let mut root = Root::with(&file);
    let before = root.contents();

    root.ok(INSTALL);
    assert_eq!(root.ok("getent passwd kv | cut -d: -f6; id -gn kv"), "/var/lib/kv\nkv\n");
    let wanted = "/etc/systemd/system/*.target.wants/kv.*";
    assert_eq!(root.ok(&format!("ls {wanted} | wc -l")), "2\n", "the service and its socket are enabled");
    documents_are_read(&mut root);

    // By a user, whose daemon starts by itself.
    root.ok("useradd --create-home alice");
    let as_alice = "runuser -u alice -- env HOME=/home/alice sh -euc";
    root.ok(&format!("{as_alice} 'cd; kv init; kv put greeting --text hello'"));
    assert_eq!(root.ok(&format!("{as_alice} 'cd; kv get greeting --text'")), "hello\n");
    root.ok(&format!("{as_alice} 'cd; kv daemon stop'"));
    root.ok("userdel --remove alice 2>&1; rm -rf /tmp/kv-*");

    // By the service, whose manager would make its directory.
    root.ok("install -d -o kv -g kv -m 700 /var/lib/kv && install -d -o kv -g kv -m 750 /run/kv");
    let as_service = "runuser -u kv -- env KV_CONNECTION=/var/lib/kv/data.db kv --daemon=never";
    root.ok(&format!("{as_service} init; {as_service} put greeting --text hello"));
    // By the profile of the package too.
    let by_profile = "runuser -u kv -- kv --profile service --daemon=never get greeting --text";
    assert_eq!(root.ok(by_profile), "hello\n");
    root.ok(&format!("cd /var/lib/kv; touch data.db.kv-lock mine; {INSTALL}; dpkg --remove kv"));
    assert_eq!(
        root.ok("ls /var/lib/kv; ls /usr/bin/kv 2>/dev/null || true"),
        "data.db\ndata.db.kv-lock\nmine\n"
    );
    root.ok(&format!("{INSTALL}; {as_service} get greeting"));

    root.ok("dpkg --purge kv");
    assert_eq!(root.ok("ls /var/lib/kv; id -un kv"), "mine\nkv\n", "what is not of kv stays, with its owner");
    root.ok(&format!("rm /var/lib/kv/mine; {INSTALL}; dpkg --purge kv"));
    assert_same_lines(&before, &root.contents());
}

/// Shows only what differs: the whole has thousands of lines.
#[track_caller]
fn assert_same_lines(before: &str, after: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let (before, after) = (lines(before), lines(after));
    let differences: Vec<_> = before.symmetric_difference(&after).collect();
    assert!(differences.is_empty(), "left or lost: {differences:#?}");
}

/// The fields and the files of the package.
fn holds_what_it_should(file: &Path) {
    let dpkg = |option: &str| output(Command::new("dpkg-deb").arg(option).arg(file));
    let fields = dpkg("--field");
    assert!(fields.contains(concat!("Version: ", env!("CARGO_PKG_VERSION"), "-1\n")), "{fields}");
    let depends = fields.lines().find(|line| line.starts_with("Depends: ")).unwrap();
    assert!(depends.contains("libc6 (>= ") && depends.contains("systemd"), "{depends}");

    let contents = dpkg("--contents");
    let files = [
        "/usr/bin/kv",
        "/usr/lib/systemd/system/kv.service",
        "/usr/lib/systemd/system/kv.socket",
        "/usr/lib/systemd/user/kv.service",
        "/usr/lib/systemd/user/kv.socket",
        "/usr/lib/sysusers.d/kv.conf",
        "/usr/lib/tmpfiles.d/kv.conf",
        "/usr/share/man/man1/kv.1.gz",
        "/usr/share/man/man1/kv-lock-run.1.gz",
        "/usr/share/bash-completion/completions/kv",
        "/usr/share/zsh/vendor-completions/_kv",
        "/usr/share/fish/vendor_completions.d/kv.fish",
        "/usr/share/doc/kv/copyright",
        "/usr/share/doc/kv/CHANGELOG.md",
        "/usr/share/doc/kv/docs/protocol.md",
        "/usr/share/doc/kv/examples/kv.service.d/server.conf",
    ];
    for file in files {
        assert!(
            contents.lines().any(|line| line.ends_with(&format!(" .{file}"))),
            "{file} is missing\n{contents}"
        );
    }
    assert!(
        contents.lines().all(|line| line.contains(" 0/0 ") || line.contains(" root/root ")),
        "{contents}"
    );
}

/// Manual pages and completions.
fn documents_are_read(root: &mut Root) {
    let page = root.ok("man --warnings -P cat kv 2>&1");
    assert!(page.starts_with("KV(1)") && !page.contains("warning"), "{page}");
    root.ok("for page in /usr/share/man/man1/kv*; do man --warnings -P cat $(basename $page .1.gz) 2>&1 | (! grep -i warning); done");
    let completed = root.ok(
        "set +u; . /usr/share/bash-completion/bash_completion; _completion_loader kv || true; complete -p kv >/dev/null; \
         COMP_LINE='kv st' COMP_POINT=5; _kv kv st kv; echo \"${COMPREPLY[@]}\"",
    );
    assert_eq!(completed, "stream\n");
}
