# The packages of nixpkgs for one system. Every attribute of a derivation is evaluated.
{ system }:
let
  lib = import ./lib.nix;
  derive =
    attributes:
    derivation (
      {
        inherit system;
        builder = "/bin/sh";
      }
      // attributes
    );
  package = name: derive { inherit name; };
  callPackage =
    file: overrides:
    let
      function = if builtins.isPath file then import file else file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) packages // overrides);

  importCargoLock =
    {
      lockFile ? null,
      outputHashes ? { },
      allowBuiltinFetchGit ? false,
    }:
    map (crate: crate.name) (lib.importTOML lockFile).package;

  packages =
    lib.genAttrs [
      "cacert"
      "cargo"
      "clippy"
      "curl"
      "git"
      "go"
      "installShellFiles"
      "jq"
      "netcat-openbsd"
      "nmap"
      "nodejs"
      "openssl"
      "perl"
      "pgbouncer"
      "postgresql"
      "procps"
      "python3"
      "redis"
      "rust-analyzer"
      "rustc"
      "rustfmt"
      "socat"
      "sqlite"
      "strace"
      "util-linux"
    ] package
    // {
      inherit callPackage lib;

      stdenv = {
        buildPlatform.canExecute = platform: platform.system == system;
        hostPlatform.system = system;
      };

      runCommand =
        name: attributes: script:
        derive (attributes // { inherit name script; });

      mkShell =
        {
          inputsFrom ? [ ],
          packages ? [ ],
          shellHook ? "",
        }:
        derive {
          name = "shell";
          inherit inputsFrom packages shellHook;
        };

      rustPlatform.buildRustPackage =
        {
          pname,
          version,
          src,
          cargoLock,
          nativeBuildInputs ? [ ],
          buildInputs ? [ ],
          buildFeatures ? [ ],
          cargoBuildFlags ? [ ],
          cargoTestFlags ? [ ],
          checkFlags ? [ ],
          doCheck ? true,
          env ? { },
          postInstall ? "",
          meta,
        }:
        let
          inherit (meta)
            description
            license
            mainProgram
            platforms
            ;
        in
        assert builtins.elem system platforms && license.spdxId != "";
        derive {
          name = "${pname}-${version}";
          inherit
            pname
            version
            src
            nativeBuildInputs
            buildInputs
            buildFeatures
            cargoBuildFlags
            cargoTestFlags
            checkFlags
            doCheck
            postInstall
            description
            mainProgram
            ;
          cargoDeps = importCargoLock cargoLock;
        }
        // {
          inherit meta;
        };

      dockerTools.buildLayeredImage =
        {
          name,
          tag ? null,
          fromImage ? null,
          contents ? [ ],
          config ? { },
          created ? "1970-01-01T00:00:01Z",
          maxLayers ? 100,
          extraCommands ? "",
          fakeRootCommands ? "",
          enableFakechroot ? false,
          compressor ? "gz",
        }:
        derive {
          name = "${name}.tar.${compressor}";
          inherit
            tag
            contents
            extraCommands
            fakeRootCommands
            ;
          config = builtins.toJSON (imageConfig config);
        };

      testers.runNixOSTest =
        {
          name,
          nodes,
          testScript,
        }:
        derive {
          name = "vm-test-${name}";
          inherit testScript;
          nodes = map (node: builtins.toJSON (evalModules [ node ])) (builtins.attrValues nodes);
        }
        // {
          inherit testScript;
        };
    };

  # As the specification of OCI's images has it, of which nixpkgs checks nothing.
  imageConfig =
    {
      Cmd,
      Entrypoint ? [ ],
      Env ? [ ],
      User,
      Volumes ? { },
      WorkingDir ? "/",
    }@config:
    config;

  evalModules = import ./module-system.nix {
    inherit lib;
    pkgs = packages;
  };
in
packages // { inherit evalModules; }
