//! The flake: every output is evaluated, against a stub of nixpkgs. Nothing is built.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{command, is_skipped, output, tree};

/// A copy of the files that a flake consists of: those that git knows.
fn copy() -> TempDir {
    let copy = TempDir::new().unwrap();
    let script = "git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t \"$1\"";
    output(command("/bin/bash").args(["-euc", script, "copy"]).arg(copy.path()));
    copy
}

fn path(directory: &Path) -> String {
    format!("path:{}", directory.display())
}

/// Evaluates all outputs of a flake for all systems, in the place of nixpkgs the stub; what nix says when it fails.
fn check(flake: &Path) -> Result<(), String> {
    let mut check = command("tests/packages/nix");
    check.args(["flake", "check", "--no-build", "--no-write-lock-file", "--override-input", "nixpkgs"]);
    check.arg(path(&tree().join("tests/packages/nixpkgs-stub"))).arg(path(flake));
    let output = check.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}

#[test]
fn every_output_is_evaluated() {
    if is_skipped("every_output_is_evaluated") {
        return;
    }
    let flake = copy();
    check(flake.path()).unwrap();
}

/// What is wrong is seen: a misspelled name, a missing argument, a value of another type, a file that is not there.
#[test]
fn mistakes_fail() {
    if is_skipped("mistakes_fail") {
        return;
    }
    let mistakes = [
        ("flake.nix", "legacyPackages", "legacyPackage"),
        ("flake.nix", "{ inherit kv; }", "{ }"),
        ("flake.nix", "./packaging/nix/shell.nix", "./packaging/nix/shel.nix"),
        ("flake.nix", "final: prev:", "final:"),
        ("packaging/nix/package.nix", "cargoLock.lockFile", "cargoLock.lockfile"),
        ("packaging/nix/package.nix", "cargoTestFlags", "cargoTestFlag"),
        ("packaging/nix/package.nix", "../../migrations", "../../migration"),
        ("packaging/nix/package.nix", "lib.licenses.mit", "lib.licenses.MIT"),
        ("packaging/nix/docker-image.nix", "fakeRootCommands", "fakeRootCommand"),
        ("packaging/nix/docker-image.nix", "WorkingDir", "Workdir"),
        ("packaging/nix/docker-image.nix", "tag = kv.version", "tag = kv.versoin"),
        ("packaging/nix/shell.nix", "netcat-openbsd", "netcat_openbsd"),
        ("packaging/nix/format.nix", "${kv.src}", "${kv.source}"),
        ("packaging/nix/module.nix", "systemd.sockets", "systemd.socket"),
        ("packaging/nix/module.nix", "socketConfig.SocketGroup", "socketConfig.SocketGroups"),
        ("packaging/nix/module.nix", "types.enum", "types.oneof"),
        ("packaging/nix/module.nix", "default = \"sqlite\"", "default = \"SQLite\""),
        ("packaging/nix/module.nix", "isSystemUser = true", "isSystemUser = \"yes\""),
        ("packaging/nix/service-test.nix", "services.kv.enable", "services.kv.enabled"),
        ("packaging/nix/service-test.nix", "testScript =", "script ="),
    ];
    let flake = copy();
    for (file, right, wrong) in mistakes {
        let file = flake.path().join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(right), "{right} is not in {}", file.display());
        std::fs::write(&file, text.replace(right, wrong)).unwrap();
        assert!(check(flake.path()).is_err(), "{wrong} is taken for {right}");
        std::fs::write(&file, text).unwrap();
    }
}

/// It is what nix itself would write, and pins nixpkgs as flake.nix asks for it: otherwise nix would ask the network.
#[test]
fn the_lock_is_that_of_nix() {
    if is_skipped("the_lock_is_that_of_nix") {
        return;
    }
    let flake = copy();
    let mut metadata = command("tests/packages/nix");
    let told = output(metadata.args(["flake", "metadata", "--json"]).arg(path(flake.path())));
    let told: Value = serde_json::from_str(&told).unwrap();
    let written = std::fs::read_to_string(tree().join("flake.lock")).unwrap();
    assert_eq!(format!("{:#}\n", told["locks"]), written);
    assert_eq!(told["locks"]["nodes"]["nixpkgs"]["original"]["ref"], "nixos-26.05");
}

#[test]
fn the_outputs_say_what_they_should() {
    if is_skipped("the_outputs_say_what_they_should") {
        return;
    }
    let flake = copy();
    let expression = format!("import ./tests/packages/outputs.nix \"{}\"", flake.path().display());
    let mut evaluate = command("tests/packages/nix");
    let outputs = output(evaluate.args(["eval", "--json", "--impure", "--expr"]).arg(expression));
    let outputs: Value = serde_json::from_str(&outputs).unwrap();

    let name = concat!("kv-", env!("CARGO_PKG_VERSION"));
    assert_eq!(outputs["package"]["name"], name);
    assert_eq!(outputs["overlay"], name);
    assert_eq!((&outputs["image"]["User"], &outputs["image"]["Cmd"]), (&json!("user:user"), &json!(["kv"])));

    // Without `enable` the module does nothing.
    let off = &outputs["off"];
    assert_eq!(
        (&off["units"]["packages"], &off["units"]["services"], &off["users"]["users"]),
        (&json!([]), &json!({}), &json!({}))
    );
    let file = &outputs["file"];
    assert_eq!(file["units"]["packages"].as_array().unwrap().len(), 1, "the units are those of the package");
    assert_eq!(file["units"]["services"]["kv"]["environment"], json!({}));
    assert_eq!(file["users"]["users"]["kv"]["group"], "kv");
    let server = &outputs["server"];
    let service = &server["units"]["services"]["kv"];
    assert_eq!(service["environment"], json!({"KV_TYPE": "rqlite", "RUST_LOG": "debug"}));
    assert_eq!(
        service["serviceConfig"],
        json!({"Group": "staff", "LoadCredential": "kv.connection:/run/secrets/connection"})
    );
    assert_eq!(server["units"]["sockets"]["kv"]["socketConfig"]["SocketGroup"], "staff");
    assert_eq!(server["units"]["packages"].as_array().unwrap().len(), 2, "and the settings for servers");
    assert!(
        outputs["refused"].as_array().unwrap().iter().all(|refused| refused == true),
        "{}",
        outputs["refused"]
    );

    runs_its_phase(flake.path(), outputs["package"]["postInstall"].as_str().unwrap());
    let script = outputs["script"].as_str().unwrap();
    output(command("/usr/bin/env").args([
        "python3",
        "-c",
        "import sys; compile(sys.argv[1], 'script', 'exec')",
        script,
    ]));
}

/// Runs the phase that installs what cargo does not, with the functions that it takes from nixpkgs.
fn runs_its_phase(sources: &Path, phase: &str) {
    let functions = r#"
        substituteInPlace() {
            local files=()
            while [ "$1" != --replace-fail ]; do files+=("$1"); shift; done
            for file in "${files[@]}"; do grep -q "$2" "$file"; sed -i "s|$2|$3|g" "$file"; done
        }
        installManPage() { install -D -t "$out/share/man/man1" "$@"; }
        installShellCompletion() { install -D -t "$out/completions" "$@"; }
    "#;
    let out = TempDir::new().unwrap();
    let bin = out.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kv"), bin.join("kv")).unwrap();
    let script = format!("{functions}\n{phase}");
    output(command("/bin/bash").args(["-euc", &script]).env("out", out.path()).current_dir(sources));
    for file in ["lib/systemd/system/kv.service", "lib/systemd/user/kv.service", "share/kv/server.conf"] {
        let text = std::fs::read_to_string(out.path().join(file)).unwrap();
        assert!(text.contains(bin.to_str().unwrap()) && !text.contains("/usr/bin"), "{file}\n{text}");
    }
    let server = std::fs::read_to_string(out.path().join("share/kv/server.conf")).unwrap();
    assert!(
        server.contains("\nLoadCredential=kv.connection:"),
        "the module replaces the credential of this name\n{server}"
    );
    assert!(out.path().join("share/man/man1/kv-put.1").exists());
    assert!(out.path().join("completions/kv.fish").exists());
}
