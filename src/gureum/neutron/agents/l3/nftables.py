"""nftables and connection tracking of a router namespace.

Owns: reading the table, applying one atomic batch, cutting connections of an address.
Must not: decide what is wanted (nat.py does).
"""

import json

from gureum.core.runner import Runner
from gureum.neutron.agents.l3 import nat
from gureum.neutron.agents.plumbing.netns import inside

_TIMEOUT_S = 20.0
_NOTHING_DELETED = 1


class RouterNat:
    """Translation in router namespaces."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def found(self, namespace: str) -> nat.FoundTable | None:
        """Return the table as it is, or None when there is none."""
        args = ["nft", "-j", "list", "ruleset", nat.FAMILY]
        done = self._runner.run(inside(namespace, args), timeout_s=_TIMEOUT_S)
        return nat.parse(json.loads(done.stdout))

    def converge(self, namespace: str, want: nat.NatTable) -> set[str]:
        """Make the table as wanted; return the floating addresses whose connections must end."""
        found = self.found(namespace)
        commands = nat.batch(found, want)
        if commands:
            self._runner.run(
                inside(namespace, ["nft", "-j", "-f", "-"]),
                timeout_s=_TIMEOUT_S,
                input=json.dumps({"nftables": commands}).encode(),
            )
        return nat.gone(found, want)

    def differs(self, namespace: str, want: nat.NatTable) -> bool:
        """Return whether the table is not as wanted; changes nothing."""
        return bool(nat.batch(self.found(namespace), want))

    def cut(self, namespace: str, address: str) -> None:
        """End the connections that use an outside address, in both directions."""
        for side in ("--orig-dst", "--reply-dst"):
            self._runner.run(
                inside(namespace, ["conntrack", "-D", side, address]),
                timeout_s=_TIMEOUT_S,
                ok_codes=(0, _NOTHING_DELETED),
            )
