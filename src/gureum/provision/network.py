"""The outside of the cloud on one machine: the bridge of the provider network and a namespace beyond it.

Owns: the provider bridge, the namespace that stands for the outside world with its address, the veth pair
between them. Must not: touch the integration bridge or anything an agent makes.
"""

from dataclasses import dataclass

from gureum.core.runner import CommandError, Runner
from gureum.provision.ledger import Ledger
from gureum.provision.steps import StepFailed


@dataclass(frozen=True, slots=True)
class Outside:
    """Names and addresses of the outside. Interface names hold at most 15 characters.

    The addresses are of the ranges reserved for documentation, so they meet nobody's real network.
    """

    bridge: str = "br-ex"
    integration_bridge: str = "br-int"
    namespace: str = "external"
    device: str = "gureum-ext"
    peer: str = "gureum-ext-ns"
    cidr: str = "203.0.113.0/24"
    gateway: str = "203.0.113.1"
    prefix_length: int = 24
    pool: tuple[str, str] = ("203.0.113.10", "203.0.113.250")
    cidr_v6: str = "2001:db8:cafe::/64"
    gateway_v6: str = "2001:db8:cafe::1"

    @classmethod
    def named(cls, name: str) -> "Outside":
        """The outside of a cloud beside others; its bridges and namespace carry its name."""
        if not name:
            return cls()
        short = name[:8]
        return cls(
            bridge=f"{short}-br-ex",
            integration_bridge=f"{short}-br-int",
            namespace=f"{short}-external",
            device=f"{short}-ext",
            peer=f"{short}-extns",
        )


def make(runner: Runner, ledger: Ledger, outside: Outside, datapath: str) -> str:
    """Bring bridge, namespace and the pair between them about. Raises: StepFailed."""
    try:
        made = [
            _bridge(runner, ledger, outside, datapath),
            _namespace(runner, ledger, outside),
            _pair(runner, ledger, outside),
        ]
        _configure(runner, outside)
    except CommandError as error:
        raise StepFailed(f"the provider network could not be made: {error}") from error
    there = f"{outside.bridge}, namespace {outside.namespace} at {outside.gateway}"
    return there if any(made) else f"{there}: there"


def _bridge(runner: Runner, ledger: Ledger, outside: Outside, datapath: str) -> bool:
    done = runner.run(["ovs-vsctl", "br-exists", outside.bridge], timeout_s=20, check=False)
    if done.code != 0:
        ledger.note("bridges", outside.bridge)
    runner.run(
        ["ovs-vsctl", "--may-exist", "add-br", outside.bridge, "--", "set", "Bridge",
         outside.bridge, f"datapath_type={datapath}"],
        timeout_s=30,
    )  # fmt: skip
    runner.run(["ip", "link", "set", outside.bridge, "up"], timeout_s=10)
    return done.code != 0


def _namespace(runner: Runner, ledger: Ledger, outside: Outside) -> bool:
    listed = runner.run(["ip", "netns", "list"], timeout_s=10).stdout
    if outside.namespace in (line.split()[0] for line in listed.splitlines() if line):
        return False
    ledger.note("namespaces", outside.namespace)
    runner.run(["ip", "netns", "add", outside.namespace], timeout_s=10)
    return True


def _pair(runner: Runner, ledger: Ledger, outside: Outside) -> bool:
    near = runner.run(["ip", "link", "show", outside.device], timeout_s=10, check=False)
    far = runner.run(
        ["ip", "-n", outside.namespace, "link", "show", outside.peer], timeout_s=10, check=False
    )
    made = near.code != 0 or far.code != 0
    if made:
        remove_device(runner, outside.device)  # of a namespace that is gone
        ledger.note("devices", outside.device)
        runner.run(
            ["ip", "link", "add", outside.device, "type", "veth", "peer", "name", outside.peer,
             "netns", outside.namespace],
            timeout_s=10,
        )  # fmt: skip
    runner.run(
        ["ovs-vsctl", "--may-exist", "add-port", outside.bridge, outside.device], timeout_s=30
    )
    return made


def _configure(runner: Runner, outside: Outside) -> None:
    """Addresses and settings; each may be there already."""
    # A user-space switch hands on packets whose checksum the kernel left open: TCP would hang.
    runner.run(["ethtool", "-K", outside.device, "tx", "off"], timeout_s=10)
    runner.run(["ip", "link", "set", outside.device, "up"], timeout_s=10)
    inside = ["ip", "netns", "exec", outside.namespace]
    runner.run([*inside, "ethtool", "-K", outside.peer, "tx", "off"], timeout_s=10)
    for device in ("lo", outside.peer):
        runner.run([*inside, "ip", "link", "set", device, "up"], timeout_s=10)
    address = f"{outside.gateway}/{outside.prefix_length}"
    runner.run([*inside, "ip", "address", "replace", address, "dev", outside.peer], timeout_s=10)
    six = f"{outside.gateway_v6}/64"
    runner.run(
        [*inside, "ip", "-6", "address", "replace", six, "dev", outside.peer, "nodad"],
        timeout_s=10,
        check=False,  # a machine without IPv6 has no use for it
    )


def remove_namespace(runner: Runner, name: str) -> None:
    """Remove a namespace with what runs in it; one that is gone is fine."""
    listed = runner.run(["ip", "netns", "list"], timeout_s=10, check=False).stdout
    if name not in (line.split()[0] for line in listed.splitlines() if line):
        return
    pids = runner.run(["ip", "netns", "pids", name], timeout_s=10, check=False).stdout.split()
    if pids:
        runner.run(["kill", *pids], timeout_s=10, check=False)
    runner.run(["ip", "netns", "delete", name], timeout_s=20, check=False)


def remove_bridge(runner: Runner, name: str) -> None:
    """Remove a bridge with its ports; one that is gone is fine."""
    runner.run(["ovs-vsctl", "--timeout=10", "--if-exists", "del-br", name], timeout_s=30)


def remove_device(runner: Runner, name: str) -> None:
    """Remove a network device; one that is gone is fine."""
    runner.run(["ip", "link", "delete", name], timeout_s=10, check=False)
