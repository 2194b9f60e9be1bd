# What flake.nix uses of nixpkgs, for its evaluation where nixpkgs cannot be had. Functions take the arguments that those of
# nixpkgs take, and no others; what does not exist there does not exist here. The derivations build nothing.
{
  outputs =
    { self }:
    {
      lib = import ./lib.nix;
      legacyPackages = self.lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ] (system: import ./packages.nix { inherit system; });
    };
}
