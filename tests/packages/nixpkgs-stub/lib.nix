# The functions of nixpkgs' lib.
let
  inherit (builtins)
    all
    attrValues
    elem
    fromTOML
    isAttrs
    isBool
    isList
    isString
    listToAttrs
    pathExists
    readFile
    substring
    ;
  type = name: check: { inherit name check; };
in
rec {
  genAttrs = names: make: listToAttrs (map (name: { inherit name; value = make name; }) names);
  importTOML = path: fromTOML (readFile path);
  optional = condition: item: if condition then [ item ] else [ ];
  optionalString = condition: text: if condition then text else "";

  licenses.mit.spdxId = "MIT";
  platforms.linux = [
    "x86_64-linux"
    "aarch64-linux"
  ];

  # A set of files is the list of their paths, each of which must exist.
  fileset = {
    unions = paths: map (path: if pathExists path then path else throw "${toString path} does not exist") paths;
    toSource = { root, fileset }: builtins.deepSeq fileset root;
  };

  # Modules: module-system.nix evaluates what these say.
  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkDefault = content: { _type = "override"; priority = 1000; inherit content; };
  mkOption =
    {
      type,
      default ? throw "an option without a value",
      example ? null,
      description,
    }:
    {
      _type = "option";
      inherit type default;
    };
  mkEnableOption = name: mkOption { type = types.bool; default = false; description = "Whether to enable ${name}."; };
  mkPackageOption = pkgs: name: { }: mkOption { type = types.package; default = pkgs.${name}; description = name; };

  types = {
    bool = type "bool" isBool;
    str = type "str" isString;
    package = type "package" (value: value.type or null == "derivation");
    externalPath = type "externalPath" (
      value: isString value && substring 0 1 value == "/" && substring 0 11 value != "/nix/store/"
    );
    enum = values: type "enum" (value: elem value values);
    nullOr = inner: type "nullOr ${inner.name}" (value: value == null || inner.check value);
    listOf = inner: type "listOf ${inner.name}" (value: isList value && all inner.check value) // { isList = true; };
    attrsOf =
      inner: type "attrsOf ${inner.name}" (value: isAttrs value && all inner.check (attrValues value)) // { inherit inner; };
    # A set with these members and no others.
    submodule = options: type "submodule" isAttrs // { inherit options; };
  };
}
