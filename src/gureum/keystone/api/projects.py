"""Projects: the units that own resources."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import BadRequest, Boolean, Id, Json, ListOf, Reply, String, Struct, operation
from gureum.keystone.api import shapes
from gureum.keystone.api.shapes import ListQuery, Options, shown
from gureum.keystone.errors import Duplicate, Missing
from gureum.keystone.logic import domains, effective, projects
from gureum.keystone.logic.common import load
from gureum.keystone.store import assignments, entities, tables

_TAG = r"[^,/]+"


class Project(Struct, extra="keep"):
    """A project."""

    id = Id("Id.")
    name = String("Name.")
    domain_id = Id("Its domain.")
    parent_id = Id("Its parent: a project or the domain.")
    is_domain = Boolean("Whether it is a domain, shown as a project.", default=False)
    description = String("Text.")
    enabled = Boolean("Whether it can be used.")
    options = Options()
    tags = ListOf(String("Tag."), "Tags.", default=())
    links = Json("Links.")
    parents = Json("Parents, when asked for.")
    subtree = Json("Children, when asked for.")


class ProjectCreate(Struct, extra="keep"):
    """A new project."""

    name = String("Name.", min=1, max=64, required=True)
    domain_id = Id("Its domain.", max=64, null=True)
    parent_id = Id("Its parent.", max=64, null=True)
    is_domain = Boolean("Whether to make a domain.", default=False, strict=True)
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether it can be used.", default=True, strict=True)
    options = Options()
    tags = ListOf(String("Tag.", min=1, pattern=_TAG), "Tags.", max=80, unique=True)

    def check(self) -> None:
        if not self.name.strip():
            raise BadRequest("A project needs a name.")
        if self.is_domain and (self.get("domain_id") or self.get("parent_id")):
            raise BadRequest("A project that is a domain has no domain and no parent.")


class ProjectUpdate(Struct, extra="keep"):
    """Changes to a project."""

    name = String("Name.", min=1, max=64)
    domain_id = Id("Cannot be changed.", max=64)
    parent_id = Id("Cannot be changed.", max=64, null=True)
    is_domain = Boolean("Cannot be changed.")
    description = String("Text.", max=None, null=True)
    enabled = Boolean("Whether it can be used.", strict=True)
    options = Options()
    tags = ListOf(String("Tag.", min=1, pattern=_TAG), "Tags.", max=80, unique=True)


class Tags(Struct):
    """All tags of a project."""

    tags = ListOf(String("Tag.", min=1, pattern=_TAG), "Tags.", max=80, unique=True, required=True)


class ProjectQuery(Struct, extra="ignore"):
    """What to show besides the project."""

    parents_as_list = String("Parents as a list.")
    parents_as_ids = String("Parents as nested ids.")
    subtree_as_list = String("Children as a list.")
    subtree_as_ids = String("Children as nested ids.")


def _load(ctx: Context, tx: Tx, project_id: str, *rest: str) -> Any:
    row = load(tx, tables.projects, "project", project_id)
    return (row, *rest) if rest else row


def _load_any(ctx: Context, tx: Tx, project_id: str) -> Any:
    """Load a project, or a domain as the project it also is."""
    row = entities.get(tx, tables.projects, project_id)
    if row is not None:
        return row
    return domains.as_project(load(tx, tables.domains, "project", project_id))


def _is_domain(project: Any) -> bool:
    return isinstance(project, domains.AsProject)


def target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    """What rules about a project look at."""
    row = loaded[0] if isinstance(loaded, tuple) and not hasattr(loaded, "_mapping") else loaded
    if row is None:
        return {}
    return {"target.project.id": row.id, "target.project.domain_id": row.domain_id}


def _new_target(ctx: Context, loaded: Any, new: Any) -> dict[str, Any]:
    if new.is_domain:
        return {}
    return {"target.project.domain_id": new.get("domain_id") or ctx.domain_id}


def _shown(ctx: Context, tx: Tx, row: Any) -> dict[str, Any]:
    tags = projects.tags_of(tx, [row.id])[row.id]
    return {**shown(ctx, "projects", row), "tags": tags}


@operation(
    "POST",
    "/projects",
    policy="identity:create_project",
    wrap="project",
    request=ProjectCreate,
    response=Project,
    target=_new_target,
    errors=(Duplicate, Missing),
)
def create_project(ctx: Context, tx: Tx, new: ProjectCreate) -> Any:
    """Create a project; with `is_domain` a domain."""
    if new.is_domain:
        return shown(ctx, "projects", domains.as_project(domains.create(tx, new)))
    return _shown(ctx, tx, projects.create(ctx, tx, new))


@operation(
    "GET",
    "/projects",
    policy="identity:list_projects",
    query=ListQuery,
    items=Project,
    response_wrap="projects",
    target=lambda ctx, loaded, new: {"target.domain_id": ctx.domain_id},
    kept=True,
)
def list_projects(ctx: Context, tx: Tx, query: ListQuery) -> Any:
    """List projects; a domain's reader sees that domain's."""
    if query.extra_values.get("is_domain", ["false"])[-1].lower() in ("true", "1"):
        where = entities.matching(
            tables.domains, shapes.filters(query, {"name": str, "enabled": bool})
        )
        if ctx.scope == "domain" and not ctx.is_admin:
            where.append(tables.domains.c.id == ctx.domain_id)
        roots = [domains.as_project(row) for row in entities.listed(tx, tables.domains, where)]
        return shapes.page(ctx, "projects", roots, query, None)
    columns = {"name": str, "enabled": bool, "domain_id": str, "parent_id": str}
    conditions = entities.matching(tables.projects, shapes.filters(query, columns))
    if ctx.scope == "domain" and not ctx.is_admin:
        conditions.append(tables.projects.c.domain_id == ctx.domain_id)
    conditions += _tag_conditions(query)
    limit = query.get("limit")
    rows = entities.listed(tx, tables.projects, conditions, marker=query.get("marker"), limit=limit)
    page = shapes.page(ctx, "projects", rows, query, limit)
    tags = projects.tags_of(tx, [row.id for row in rows])
    for item in page.items:
        item["tags"] = tags[item["id"]]
    return page


def _tag_conditions(query: ListQuery) -> list[sa.ColumnElement[bool]]:
    t, id = tables.project_tags.c, tables.projects.c.id
    conditions: list[sa.ColumnElement[bool]] = []
    for key, values in query.extra_values.items():
        if key not in ("tags", "tags-any", "not-tags", "not-tags-any"):
            continue
        wanted = [tag for value in values for tag in value.split(",") if tag]
        has = [id.in_(sa.select(t.project_id).where(t.tag == tag)) for tag in wanted]
        joined = sa.or_(*has) if key.endswith("-any") else sa.and_(*has)
        conditions.append(sa.not_(joined) if key.startswith("not-") else joined)
    return conditions


@operation(
    "GET",
    "/projects/{project_id}",
    policy="identity:get_project",
    query=ProjectQuery,
    response=Project,
    response_wrap="project",
    load=_load_any,
    target=target,
    errors=(Missing,),
    kept=True,
)
def show_project(ctx: Context, tx: Tx, project: Any, query: ProjectQuery) -> Any:
    """Show a project, on demand with its parents and children; in lists those that one has a role in."""
    for kin in ("parents", "subtree"):
        if query.has(f"{kin}_as_list") and query.has(f"{kin}_as_ids"):
            raise BadRequest(f"{kin}_as_list and {kin}_as_ids cannot be asked for together.")
    out = _shown(ctx, tx, project)
    if _is_domain(project):
        return out
    if query.has("parents_as_list") or query.has("parents_as_ids"):
        above = assignments.ancestors(tx, project.id)
        out["parents"] = (
            _listed(ctx, tx, above)
            if query.has("parents_as_list")
            else _nested_parents(project, above)
        )
    if query.has("subtree_as_list") or query.has("subtree_as_ids"):
        below = assignments.descendants(tx, [project.id])
        out["subtree"] = (
            _listed(ctx, tx, below) if query.has("subtree_as_list") else _nested(project.id, below)
        )
    return out


def _listed(ctx: Context, tx: Tx, rows: list[Any]) -> list[Any]:
    """Show relatives in which the caller has a role."""
    claims = tx.deps.provider.read(ctx.token or "", tx)
    group_ids = claims.group_ids if claims is not None else ()
    reached = effective.reachable_projects(tx, ctx.user_id or "", group_ids)
    known = {row.id for row in reached}
    kin = [row for row in rows if row.id in known]
    return [{"project": Project.render(_shown(ctx, tx, row))} for row in kin]


def _nested_parents(project: Any, above: list[Any]) -> Any:
    chain: Any = {project.domain_id: None}
    for row in reversed(above):
        chain = {row.id: chain}
    return chain


def _nested(parent_id: str, rows: list[Any]) -> Any:
    children = {row.id: _nested(row.id, rows) for row in rows if row.parent_id == parent_id}
    return children or None


@operation(
    "PATCH",
    "/projects/{project_id}",
    policy="identity:update_project",
    wrap="project",
    request=ProjectUpdate,
    response=Project,
    load=_load_any,
    target=target,
    errors=(Missing, Duplicate),
)
def update_project(ctx: Context, tx: Tx, project: Any, new: ProjectUpdate) -> Any:
    """Change a project."""
    if _is_domain(project):
        row = load(tx, tables.domains, "domain", project.id)
        return shown(ctx, "projects", domains.as_project(domains.update(tx, row, new)))
    return _shown(ctx, tx, projects.update(tx, project, new))


@operation(
    "DELETE",
    "/projects/{project_id}",
    policy="identity:delete_project",
    load=_load_any,
    target=target,
    errors=(Missing,),
)
def delete_project(ctx: Context, tx: Tx, project: Any) -> None:
    """Delete a project."""
    if _is_domain(project):
        domains.delete(tx, load(tx, tables.domains, "domain", project.id))
        return
    projects.delete(tx, project)


@operation(
    "GET",
    "/projects/{project_id}/tags",
    policy="identity:list_project_tags",
    load=_load,
    target=target,
    errors=(Missing,),
)
def list_tags(ctx: Context, tx: Tx, project: Any) -> Any:
    """List the tags of a project."""
    links = {"self": f"{ctx.base_url}/projects/{project.id}/tags"}
    return {"tags": projects.tags_of(tx, [project.id])[project.id], "links": links}


@operation(
    "PUT",
    "/projects/{project_id}/tags",
    policy="identity:update_project_tags",
    request=Tags,
    load=_load,
    target=target,
    errors=(Missing,),
)
def replace_tags(ctx: Context, tx: Tx, project: Any, new: Tags) -> Any:
    """Replace all tags of a project."""
    projects.set_tags(tx, project, new.tags)
    return list_tags.handler(ctx, tx, project)


@operation(
    "DELETE",
    "/projects/{project_id}/tags",
    policy="identity:delete_project_tags",
    load=_load,
    target=target,
    errors=(Missing,),
)
def delete_tags(ctx: Context, tx: Tx, project: Any) -> None:
    """Remove all tags of a project."""
    projects.set_tags(tx, project, ())


@operation(
    "GET",
    "/projects/{project_id}/tags/{tag}",
    policy="identity:get_project_tag",
    load=_load,
    target=target,
    status=204,
    errors=(Missing,),
)
def check_tag(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Ask whether a project has a tag."""
    project, tag = loaded
    if tag not in projects.tags_of(tx, [project.id])[project.id]:
        raise Missing(kind="project tag", id=tag)


@operation(
    "PUT",
    "/projects/{project_id}/tags/{tag}",
    policy="identity:create_project_tag",
    load=_load,
    target=target,
    status=201,
    errors=(Missing, BadRequest),
)
def add_tag(ctx: Context, tx: Tx, loaded: Any) -> Any:
    """Add a tag to a project."""
    project, tag = loaded
    have = projects.tags_of(tx, [project.id])[project.id]
    if not 1 <= len(tag) <= 255 or "," in tag or len(have) >= 80:
        raise BadRequest("A tag has 1 to 255 characters and no comma; a project has at most 80.")
    projects.set_tags(tx, project, [*have, tag])
    return Reply(None, headers=[("Location", f"{ctx.base_url}/projects/{project.id}/tags/{tag}")])


@operation(
    "DELETE",
    "/projects/{project_id}/tags/{tag}",
    policy="identity:delete_project_tag",
    load=_load,
    target=target,
    errors=(Missing,),
)
def delete_tag(ctx: Context, tx: Tx, loaded: Any) -> None:
    """Remove a tag from a project."""
    check_tag.handler(ctx, tx, loaded)
    project, tag = loaded
    have = projects.tags_of(tx, [project.id])[project.id]
    projects.set_tags(tx, project, [other for other in have if other != tag])
