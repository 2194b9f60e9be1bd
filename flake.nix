{
  description = "Key-value store on SQLite, rqlite and PostgreSQL, with a daemon that pushes changes";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      # kv is written for Linux: signalfd, renameat2, inotify.
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      packagesOf = pkgs: self.packages.${pkgs.stdenv.hostPlatform.system};
    in
    {
      packages = forEachSystem (pkgs: rec {
        kv = pkgs.callPackage ./packaging/nix/package.nix { };
        default = kv;
        docker-image = pkgs.callPackage ./packaging/nix/docker-image.nix { inherit kv; };
      });

      devShells = forEachSystem (pkgs: {
        default = pkgs.callPackage ./packaging/nix/shell.nix { inherit (packagesOf pkgs) kv; };
      });

      checks = forEachSystem (pkgs: {
        inherit (packagesOf pkgs) kv;
        format = pkgs.callPackage ./packaging/nix/format.nix { inherit (packagesOf pkgs) kv; };
        service = pkgs.callPackage ./packaging/nix/service-test.nix { module = self.nixosModules.default; };
      });

      overlays.default = final: prev: { kv = final.callPackage ./packaging/nix/package.nix { }; };

      nixosModules.default =
        { lib, pkgs, ... }:
        {
          imports = [ ./packaging/nix/module.nix ];
          services.kv.package = lib.mkDefault (packagesOf pkgs).kv;
        };
    };
}
