# A check that the Rust files of the package are formatted.
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
