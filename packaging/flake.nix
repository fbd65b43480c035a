# nix run 'git+file:///path/to/procpool?dir=packaging' -- --version
#
# It is evaluated by packaging/test, with stand-ins for nixpkgs. It has not been built.
{
  description = "xargs with warm workers";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      eachSystem = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      manifest = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).package;
    in
    {
      packages = eachSystem (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = manifest.name;
          version = manifest.version;
          src = ../.;
          cargoLock.lockFile = ../Cargo.lock;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          buildFeatures = [ "nats" ];
          # The tests drive interpreters and programs that are not in the sandbox.
          doCheck = false;
          postInstall = ''
            installManPage man/procpool.1 man/procpool-from-parallel.7
            installShellCompletion --cmd procpool \
              --bash completions/procpool.bash --fish completions/procpool.fish --zsh completions/_procpool
          '';
          meta = {
            description = manifest.description;
            license = pkgs.lib.licenses.bsd3;
            mainProgram = "procpool";
          };
        };
      });

      devShells = eachSystem (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [ cargo rustc clippy rustfmt python3 nodejs perl ruby jq bc ];
        };
      });
    };
}
