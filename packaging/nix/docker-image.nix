# A container image with `kv` as its command, run by an unprivileged user.
{
  dockerTools,
  runCommand,
  cacert,
  kv,
}:
let
  # By name and number, since the image has no other accounts.
  accounts = runCommand "kv-accounts" { } ''
    mkdir -p $out/etc
    echo 'user:x:1000:1000:user:/home/user:/bin/false' >$out/etc/passwd
    echo 'user:x:1000:' >$out/etc/group
    echo 'user:!:1::::::' >$out/etc/shadow
  '';
in
dockerTools.buildLayeredImage {
  name = "kv";
  tag = kv.version;
  contents = [
    kv
    accounts
    # For servers whose certificates are public.
    cacert
  ];
  # The store is in /data; the socket of a daemon is below the home.
  fakeRootCommands = ''
    install -d -m 1777 tmp
    install -d -m 700 -o 1000 -g 1000 data home/user
  '';
  config = {
    Cmd = [ "kv" ];
    User = "user:user";
    WorkingDir = "/data";
    Volumes."/data" = { };
    Env = [ "SSL_CERT_FILE=/etc/ssl/certs/ca-bundle.crt" ];
  };
}
