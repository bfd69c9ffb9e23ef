"""Role assignments as one list with filters, direct or effective."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, String, Struct, operation
from gureum.keystone.logic import assignments
from gureum.keystone.store import entities, tables


class AssignmentQuery(Struct, extra="ignore"):
    """Filters; a flag is set by being there (with another value than 0 or false)."""

    user = String("User id.", key="user.id")
    group = String("Group id.", key="group.id")
    role = String("Role id.", key="role.id")
    project = String("Project id.", key="scope.project.id")
    domain = String("Domain id.", key="scope.domain.id")
    system = String("Only the system's: `all`.", key="scope.system")
    inherited = String("Only inherited ones: `projects`.", key="scope.OS-INHERIT:inherited_to")
    effective = String("Resolve groups, inheritance and implied roles.")
    include_names = String("Show names.")
    include_subtree = String("With scope.project.id: the projects below, too.")

    def flag(self, name: str) -> bool:
        """Whether a flag is set."""
        return self.has(name) and self.get(name, "").lower() not in ("0", "false", "no", "off")


def _target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    return {"target.domain_id": ctx.domain_id}


@operation(
    "GET",
    "/role_assignments",
    policy="identity:list_role_assignments",
    query=AssignmentQuery,
    target=_target,
)
def list_assignments(ctx: Context, tx: Tx, query: AssignmentQuery) -> Any:
    """List role assignments."""
    if query.has("user") and query.has("group"):
        raise BadRequest("user.id and group.id exclude each other.")
    if query.flag("include_subtree") and not query.has("project"):
        raise BadRequest("include_subtree needs scope.project.id.")
    if query.flag("effective") and query.has("group"):
        raise BadRequest("effective resolves groups: group.id cannot be given.")
    found = assignments.listed(tx, query, query.flag("effective"), query.flag("include_subtree"))
    if ctx.scope == "domain" and not ctx.is_admin:
        found = assignments.within_domain(tx, found, ctx.domain_id or "")
    names = _Names(tx, found) if query.flag("include_names") else None
    return {
        "role_assignments": [_shown(ctx, item, names) for item in found],
        "links": {"self": f"{ctx.base_url}/role_assignments", "next": None, "previous": None},
    }


class _Names:
    """Names and domains of everything a list mentions, in a constant number of queries."""

    def __init__(self, tx: Tx, found: list[assignments.Found]) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        for kind, table in (
            ("user", tables.users),
            ("group", tables.groups),
            ("role", tables.roles),
            ("project", tables.projects),
            ("domain", tables.domains),
        ):
            ids = [item.id_of(kind) for item in found]
            self._rows[kind] = entities.by_ids(tx, table, [id for id in ids if id])
        inner = [
            row.domain_id
            for kind in ("user", "group", "project", "role")
            for row in self._rows[kind].values()
            if row.domain_id
        ]
        self._domains = entities.by_ids(tx, tables.domains, inner)

    def of(self, kind: str, id: str) -> dict[str, Any]:
        row = self._rows[kind].get(id)
        if row is None:
            return {
                "id": id,
                "name": "",
                **({"domain": {"id": "", "name": ""}} if kind == "user" else {}),
            }
        out: dict[str, Any] = {"id": id, "name": row.name}
        if kind != "domain":
            domain = self._domains.get(row.domain_id)
            if domain is not None:
                out["domain"] = {"id": domain.id, "name": domain.name}
        return out


def _shown(ctx: Context, item: assignments.Found, names: _Names | None) -> dict[str, Any]:
    def show(kind: str, id: str) -> dict[str, Any]:
        return names.of(kind, id) if names else {"id": id}

    scope: dict[str, Any]
    if item.target_type == "system":
        scope = {"system": {"all": True}}
        path = "/system"
    else:
        scope = {item.target_type: show(item.target_type, item.target_id)}
        path = f"/{item.target_type}s/{item.target_id}"
    if item.inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
    path += f"/{item.actor_type}s/{item.actor_id}/roles/{item.role_id}"
    if item.inherited:
        path = f"/OS-INHERIT{path}/inherited_to_projects"
    return {
        item.actor_type: show(item.actor_type, item.actor_id),
        "role": show("role", item.role_id),
        "scope": scope,
        "links": {"assignment": ctx.base_url + path},
    }
