"""Quotas: what a project and a user may have, and whether a request fits.

Limits come from the user's quota, the project's, the class `default`, the options, in this order. What is
used is counted in the transaction that writes (store/quotas.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gureum.core.db.engine import Tx
from gureum.nova.config import QuotaOptions
from gureum.nova.errors import Bad, QuotaExceeded
from gureum.nova.store import quotas as store

DEFAULT_CLASS = "default"

RESOURCES = {
    "instances": "instances",
    "cores": "cores",
    "ram": "ram",
    "metadata_items": "metadata_items",
    "injected_files": "injected_files",
    "injected_file_content_bytes": "injected_file_content_bytes",
    "injected_file_path_bytes": "injected_file_path_length",
    "key_pairs": "key_pairs",
    "server_groups": "server_groups",
    "server_group_members": "server_group_members",
}
"""The API's name of each resource -> its option."""

NETWORK_RESOURCES = (
    "fixed_ips",
    "floating_ips",
    "security_groups",
    "security_group_rules",
    "networks",
)
"""Counted by the network service; shown as without limit to old clients."""

SETTABLE = frozenset((*RESOURCES, *NETWORK_RESOURCES))
"""What a limit is kept for; those of the network service have no effect here."""

enter_gate = store.enter_gate


def option_defaults(options: QuotaOptions) -> dict[str, int]:
    """Return the limits that the options say."""
    return {name: getattr(options, option) for name, option in RESOURCES.items()}


def class_limits(tx: Tx, name: str = DEFAULT_CLASS) -> dict[str, int]:
    """Return the limits of a quota class; what it does not say is as the options say."""
    return {**option_defaults(tx.deps.quotas), **store.limits_of_class(tx, name)}


def limits(tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """Return the limits of a project, or of one of its users."""
    if not user_id:
        return {**class_limits(tx), **store.limits_of(tx, project_id)}
    common, own = store.limits_of_both(tx, project_id, user_id)
    return {**class_limits(tx), **common, **own}


def limit_of_user(tx: Tx, resource: str) -> int:
    """Return the limit of something that users have, whatever project they are in."""
    return class_limits(tx)[resource]


def used(tx: Tx, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """Count what a project, or one of its users, has."""
    found = dict.fromkeys(RESOURCES, 0)
    found.update(store.servers_used(tx, project_id, user_id))
    found["server_groups"] = store.groups_used(tx, project_id, user_id)
    return found


def admit(
    tx: Tx,
    project_id: str,
    user_id: str,
    *,
    vcpus: int,
    memory_mib: int,
    least: int,
    most: int,
) -> int:
    """Return how many servers of a size fit, between `least` and `most`. Raises: QuotaExceeded."""
    enter_gate(tx, f"project:{project_id}")
    fits = most
    refused: dict[str, tuple[int, int, int]] = {}
    common, own = store.limits_of_both(tx, project_id, user_id)
    common = {**class_limits(tx), **common}
    for who, allowed in ((None, common), (user_id, {**common, **own})):
        if who is not None and not own:
            continue
        have = store.servers_used(tx, project_id, who)
        for name, each in (("cores", vcpus), ("instances", 1), ("ram", memory_mib)):
            if allowed[name] < 0 or each == 0:
                continue
            room = max(0, allowed[name] - have[name]) // each
            fits = min(fits, room)
            if room < least:
                refused.setdefault(name, (each * least, have[name], allowed[name]))
    if refused:
        raise _exceeded(refused)
    return fits


def _exceeded(refused: Mapping[str, tuple[int, int, int]]) -> QuotaExceeded:
    def joined(index: int) -> str:
        return ", ".join(str(found[index]) for found in refused.values())

    return QuotaExceeded(
        names=", ".join(refused), asked=joined(0), used=joined(1), limits=joined(2)
    )


def check_new_limits(
    tx: Tx, project_id: str, user_id: str | None, new: Mapping[str, int], *, force: bool
) -> None:
    """Refuse limits below what is used, or a user's above the project's. Raises: Bad."""
    have = used(tx, project_id, user_id)
    project_limits = limits(tx, project_id)
    for name, value in new.items():
        if value < 0 or force:
            continue
        if name in have and have[name] > value:
            raise Bad(
                f"Quota limit {value} for {name} must be greater than or equal to already used"
                f" and reserved {have[name]}."
            )
        if user_id is not None and 0 <= project_limits.get(name, -1) < value:
            raise Bad(
                f"Quota limit {value} for {name} must be less than or equal to"
                f" {project_limits[name]}."
            )


def set_limits(tx: Tx, project_id: str, user_id: str | None, new: Mapping[str, Any]) -> None:
    """Set limits of a project or of one of its users."""
    store.set_limits(tx, project_id, user_id or "", new)
