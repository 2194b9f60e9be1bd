# A check that every Rust file is formatted.
{
  runCommand,
  cargo,
  rustfmt,
  kv,
}:
runCommand "kv-format"
  {
    nativeBuildInputs = [
      cargo
      rustfmt
    ];
  }
  ''
    cd ${kv.src}
    cargo fmt --check
    touch $out
  ''
