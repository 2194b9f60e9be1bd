# The service `kv`: a store for the members of a group. The units are those of the package, with their hardening.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.kv;
  isOnServer = cfg.engine != "sqlite";
in
{
  options.services.kv = {
    enable = lib.mkEnableOption "the key-value store kv";

    package = lib.mkPackageOption pkgs "kv" { };

    engine = mkOption {
      type = types.enum [
        "sqlite"
        "rqlite"
        "postgres"
      ];
      default = "sqlite";
      description = "Where the store is: in the file /var/lib/kv/data.db, or on servers of rqlite or PostgreSQL.";
    };

    connectionFile = mkOption {
      type = types.nullOr types.externalPath;
      default = null;
      example = "/run/secrets/kv-connection";
      description = "File with the connection string of a store on a server. Only root needs to be able to read it.";
    };

    group = mkOption {
      type = types.str;
      default = "kv";
      description = "Group whose members may use the store.";
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        RUST_LOG = "debug";
      };
      description = "Environment variables of the daemon.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = isOnServer == (cfg.connectionFile != null);
        message = "services.kv.connectionFile is for an engine on a server, and needed there.";
      }
    ];

    environment.systemPackages = [ cfg.package ];

    users.groups.${cfg.group} = { };
    users.users.kv = {
      isSystemUser = true;
      inherit (cfg) group;
      home = "/var/lib/kv";
    };
    systemd.tmpfiles.settings.kv."/run/kv".d = {
      mode = "0750";
      user = "kv";
      inherit (cfg) group;
    };

    systemd.packages = [
      cfg.package
    ]
    # Read before the settings below, which are in overrides.conf.
    ++ lib.optional isOnServer (
      pkgs.runCommand "kv-server.conf" { } ''
        install -D -m 644 ${cfg.package}/share/kv/server.conf $out/lib/systemd/system/kv.service.d/00-server.conf
      ''
    );

    systemd.sockets.kv = {
      wantedBy = [ "sockets.target" ];
      socketConfig.SocketGroup = cfg.group;
    };

    systemd.services.kv = {
      wantedBy = [ "multi-user.target" ];
      environment = lib.mkMerge [
        cfg.environment
        (lib.mkIf isOnServer { KV_TYPE = cfg.engine; })
      ];
      serviceConfig = lib.mkMerge [
        { Group = cfg.group; }
        (lib.mkIf isOnServer { LoadCredential = "kv.connection:${cfg.connectionFile}"; })
      ];
    };
  };
}
