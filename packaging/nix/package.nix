# The program, its manual pages, its completions and the units of its service.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
}:
let
  manifest = (lib.importTOML ../../Cargo.toml).package;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  # What is built: a change of a document or a test builds nothing anew.
  src = lib.fileset.toSource {
    root = ../../.;
    fileset = lib.fileset.unions [
      ../../Cargo.lock
      ../../Cargo.toml
      ../../benches
      ../../docs/protocol.md
      ../../examples
      ../../migrations
      ../../rustfmt.toml
      ../../src
      ../../systemd
    ];
  };
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];

  # The other tests need servers, or what the sandbox of a build forbids.
  cargoTestFlags = [ "--lib" ];
  checkFlags = [ "--skip=explained" ];

  postInstall = ''
    install -D -m 644 -t $out/lib/systemd/system systemd/kv.service systemd/kv.socket
    install -D -m 644 -t $out/lib/systemd/user systemd/user/kv.service systemd/user/kv.socket
    install -D -m 644 -t $out/share/kv systemd/kv.service.d/server.conf
    substituteInPlace $out/lib/systemd/*/kv.service $out/share/kv/server.conf \
      --replace-fail /usr/bin/kv $out/bin/kv
  ''
  # The program itself writes these, so it has to run here.
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    mkdir manual
    $out/bin/kv manual manual
    installManPage manual/*
    for shell in bash fish zsh; do
      $out/bin/kv completions $shell >kv.$shell
    done
    installShellCompletion kv.bash kv.fish kv.zsh
  '';

  meta = {
    inherit (manifest) description;
    license = lib.licenses.mit;
    mainProgram = "kv";
    platforms = lib.platforms.linux;
  };
}
