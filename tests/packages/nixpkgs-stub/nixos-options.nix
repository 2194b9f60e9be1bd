# The options of NixOS that the module sets, and directives of units that it overrides.
{ lib }:
let
  inherit (lib) mkOption;
  inherit (lib.types)
    attrsOf
    bool
    listOf
    package
    str
    submodule
    ;
  of = type: default: mkOption { inherit type default; description = ""; };
  string = of str "";
  strings = of (listOf str) [ ];
in
{
  assertions = of (listOf (submodule { })) [ ];
  environment.systemPackages = of (listOf package) [ ];
  users.groups = of (attrsOf (submodule { })) { };
  users.users = of (attrsOf (submodule {
    isNormalUser = of bool false;
    isSystemUser = of bool false;
    group = string;
    home = string;
    extraGroups = strings;
  })) { };
  systemd = {
    packages = of (listOf package) [ ];
    tmpfiles.settings = of (attrsOf (
      attrsOf (
        attrsOf (submodule {
          mode = string;
          user = string;
          group = string;
        })
      )
    )) { };
    sockets = of (attrsOf (submodule {
      wantedBy = strings;
      socketConfig = of (submodule { SocketGroup = string; }) { };
    })) { };
    services = of (attrsOf (submodule {
      wantedBy = strings;
      environment = of (attrsOf str) { };
      serviceConfig = of (submodule {
        Group = string;
        LoadCredential = string;
      }) { };
    })) { };
  };
}
