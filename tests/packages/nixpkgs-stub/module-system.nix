# evalModules of nixpkgs, without what nobody here needs: the configuration that follows from modules, all of it checked.
{ lib, pkgs }:
modules:
let
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    filter
    foldl'
    functionArgs
    head
    intersectAttrs
    isFunction
    isPath
    mapAttrs
    ;
  isOption = value: value._type or null == "option";

  # A module and those that it imports.
  collect =
    module:
    let
      loaded = if isPath module then import module else module;
      arguments = { inherit config lib pkgs; };
      set = if isFunction loaded then loaded (intersectAttrs (functionArgs loaded) arguments) else loaded;
      isShort = !(set ? config || set ? options);
      definitions = if isShort then removeAttrs set [ "imports" ] else set.config or { };
      unknown = if isShort then [ ] else attrNames (removeAttrs set [ "config" "imports" "options" ]);
    in
    assert unknown == [ ] || throw "a module has ${head unknown} beside config and options";
    [ { inherit definitions; options = set.options or { }; } ] ++ concatMap collect (set.imports or [ ]);
  collected = concatMap collect modules;

  # The values of a definition: none where a condition does not hold.
  values =
    definition:
    {
      "if" = if definition.condition then values definition.content else [ ];
      merge = concatMap values definition.contents;
      override = map (value: value // { inherit (definition) priority; }) (values definition.content);
      plain = [ { priority = 100; value = definition; } ];
    }
    .${definition._type or "plain"};

  # The value of one option, from its definitions.
  merge =
    path: type: default: definitions:
    let
      found = concatMap values definitions;
      highest = foldl' (least: value: if value.priority < least then value.priority else least) 9999 found;
      winners = map (value: value.value) (filter (value: value.priority == highest) found);
      checked = value: if type.check value then value else throw "${path} is no ${type.name}";
      members = builtins.zipAttrsWith (name: merge "${path}.${name}" type.inner null) (map checked winners);
    in
    if type ? options then
      tree path type.options winners
    else if type ? inner then
      if winners == [ ] then default else members
    else if winners == [ ] then
      checked default
    else if type ? isList then
      checked (concatLists winners)
    else if builtins.all (value: value == head winners) winners then
      checked (head winners)
    else
      throw "${path} is defined twice";

  # The sets of a definition. Conditions move to their members: names must not depend on the configuration.
  sets =
    definition:
    let
      content = sets definition.content;
      wrap = wrapped: map (mapAttrs (_: member: definition // { content = member; })) wrapped;
    in
    {
      "if" = wrap content;
      override = wrap content;
      merge = concatMap sets definition.contents;
      plain = [ definition ];
    }
    .${definition._type or "plain"};

  # The values of a tree of options. What no option declares is a mistake.
  tree =
    path: options: definitions:
    let
      found = concatMap sets definitions;
      unknown = filter (name: !(options ? ${name})) (concatMap attrNames found);
      of = name: map (set: set.${name}) (filter (set: set ? ${name}) found);
    in
    assert unknown == [ ] || throw "there is no option ${path}.${head unknown}";
    mapAttrs (
      name: option:
      if isOption option then
        merge "${path}.${name}" option.type option.default (of name)
      else
        tree "${path}.${name}" option (of name)
    ) options;

  union =
    left: right:
    left
    // mapAttrs (
      name: value:
      if left ? ${name} && !isOption value && !isOption left.${name} then union left.${name} value else value
    ) right;
  declared = foldl' union (import ./nixos-options.nix { inherit lib; }) (map (module: module.options) collected);
  config = tree "config" declared (map (module: module.definitions) collected);
  failed = filter (assertion: !assertion.assertion) config.assertions;
in
assert failed == [ ] || throw (head failed).message;
builtins.deepSeq config config
