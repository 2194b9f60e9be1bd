# What `scripts/test` and `scripts/bench` call, so that they install nothing. The tests of the packages need a Debian:
# KV_TEST_PACKAGES=skip leaves them out.
{
  mkShell,
  kv,
  cargo,
  clippy,
  rust-analyzer,
  rustc,
  rustfmt,
  curl,
  git,
  go,
  jq,
  netcat-openbsd,
  nmap,
  nodejs,
  openssl,
  perl,
  pgbouncer,
  postgresql,
  procps,
  python3,
  redis,
  socat,
  sqlite,
  strace,
  util-linux,
}:
mkShell {
  inputsFrom = [ kv ];
  packages = [
    cargo
    clippy
    rust-analyzer
    rustc
    rustfmt
    # The servers of the tests; the nodes of rqlite are built with Go.
    go
    pgbouncer
    postgresql
    redis
    # Programs that the tests run.
    curl
    git
    jq
    netcat-openbsd
    nmap
    nodejs
    openssl
    perl
    procps
    python3
    socat
    sqlite
    strace
    util-linux
  ];
}
