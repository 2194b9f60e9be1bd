# A check in a virtual machine: a member of the group uses the store of the service, and nobody else can.
{ testers, module }:
testers.runNixOSTest {
  name = "kv-service";

  nodes.machine = {
    imports = [ module ];
    services.kv.enable = true;
    users.users.alice = {
      isNormalUser = true;
      extraGroups = [ "kv" ];
    };
    users.users.mallory.isNormalUser = true;
  };

  testScript = ''
    machine.wait_for_unit("kv.service")
    socket = "--socket /run/kv/kv.sock"
    machine.succeed(f"runuser -u alice -- kv {socket} put greeting --text hello")
    assert machine.succeed(f"runuser -u alice -- kv {socket} get greeting --text") == "hello\n"
    machine.fail(f"runuser -u mallory -- kv {socket} get greeting")
  '';
}
