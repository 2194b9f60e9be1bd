# What tests look at in the outputs of the flake in a directory, besides that all of them can be evaluated.
directory:
let
  nixpkgs = (import ./nixpkgs-stub/flake.nix).outputs { self = nixpkgs; };
  self = (import "${directory}/flake.nix").outputs { inherit self nixpkgs; };
  pkgs = nixpkgs.legacyPackages.x86_64-linux;
  evaluate = modules: pkgs.evalModules ([ self.nixosModules.default ] ++ modules);
  service = settings: evaluate [ { services.kv = { enable = true; } // settings; } ];
  fails = settings: !(builtins.tryEval (service settings)).success;
  summary = config: {
    units = config.systemd;
    inherit (config) users;
    programs = map (package: package.name) config.environment.systemPackages;
  };
in
{
  package = {
    inherit (self.packages.x86_64-linux.default) name postInstall;
  };
  overlay = (self.overlays.default (pkgs // { kv = throw "it is made of itself"; }) pkgs).kv.name;
  image = builtins.fromJSON self.packages.aarch64-linux.docker-image.config;
  script = self.checks.x86_64-linux.service.testScript;
  off = summary (evaluate [ ]);
  file = summary (service { });
  server = summary (service {
    engine = "rqlite";
    connectionFile = "/run/secrets/connection";
    group = "staff";
    environment.RUST_LOG = "debug";
  });
  refused = map fails [
    { engine = "mysql"; }
    { engine = "postgres"; }
    { connectionFile = "/run/secrets/connection"; }
    { engine = "postgres"; connectionFile = "/nix/store/x-connection"; }
    { environment.RUST_LOG = 1; }
    { conectionFile = "/run/secrets/connection"; }
  ];
}
