"""What the simulated drivers do that can be delayed or made to fail.

Owns: the names. Must not: act. A driver that gains a verb is entered here; a test compares.
"""

import difflib
import fnmatch

from gureum.core.faults import SILENCE, BadRule, Rule

POINTS: dict[str, tuple[str, ...]] = {
    "nova-compute": (
        "spawn",
        "destroy",
        "start",
        "stop",
        "reboot_soft",
        "reboot_hard",
        "pause",
        "unpause",
        "suspend",
        "resume",
        "attach_interface",
        "detach_interface",
        "inventory",
        "guest_states",
        "diagnostics",
        "console_log",
        "vnc_console",
    ),
    "neutron-openvswitch-agent": ("plug", "report"),
    "neutron-l3-agent": ("router", "report"),
    "neutron-dhcp-agent": ("network", "report"),
    "neutron-metadata-agent": ("report",),
}
"""Component -> its verbs."""


def check(rule: Rule) -> Rule:
    """Return a rule that can ever fit. Raises: BadRule naming what comes nearest."""
    components = [name for name in POINTS if fnmatch.fnmatchcase(name, rule.component)]
    if not components:
        raise BadRule(_unknown("component", rule.component, POINTS))
    if rule.action == SILENCE:
        return rule
    verbs = sorted({verb for name in components for verb in POINTS[name]})
    if not fnmatch.filter(verbs, rule.verb):
        raise BadRule(_unknown("verb", rule.verb, verbs))
    return rule


def _unknown(kind: str, name: str, known: "list[str] | dict[str, tuple[str, ...]]") -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no simulated driver has the {kind} {name}{hint} (known: {', '.join(known)})"
