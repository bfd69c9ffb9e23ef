"""Tasks: what imports are doing, and the older way to begin one."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from gureum.core.context import Context
from gureum.core.db import Tx
from gureum.core.spec import (
    BadRequest,
    Enum,
    Id,
    Json,
    Page,
    Reply,
    String,
    Struct,
    Time,
    operation,
)
from gureum.glance.errors import Filtered, ImageNotFound, QuotaExceeded, TaskNotFound
from gureum.glance.logic import tasks
from gureum.glance.logic.access import image_target, load
from gureum.glance.logic.deps import Deps
from gureum.glance.model import TASK_STATUSES, Image, Task
from gureum.glance.store import tasks as store

TYPES = ("import", "api_image_import", "location_import")


class TaskCreate(Struct):
    """A task to begin."""

    type = Enum("Kind of the task.", "import", required=True)
    input = Json(
        "import_from, import_from_format and image_properties.", kinds=(dict,), required=True
    )


class TaskBrief(Struct):
    """A task in a list."""

    id = Id("Id of the task.")
    type = Enum("Kind of the task.", *TYPES)
    status = Enum("How it goes.", *TASK_STATUSES)
    owner = String("Project that began it.", null=True)
    created_at = Time("When it was begun.")
    updated_at = Time("When it changed.")
    expires_at = Time("Until when it is shown.", null=True)
    self_link = String("URL of the task.", key="self")
    schema_link = String("URL of the schema.", key="schema")


class TaskView(TaskBrief):
    """A task."""

    input = Json("What was asked for.", null=True)
    result = Json("What came of it.", null=True)
    message = String("Why it failed.", null=True)
    image_id = String("The image.", null=True)
    request_id = String("The request that began it.", null=True)
    user_id = String("The user who began it.", null=True)


class TaskQuery(Struct):
    """Filters, order and paging."""

    type = Enum("Kind.", *TYPES)
    status = Enum("Status.", *TASK_STATUSES)
    limit = String("Page size.")
    marker = String("Id of the last task of the page before.")
    sort_key = String("Attribute to sort by.")
    sort_dir = Enum("Direction.", "asc", "desc")


def shown(task: Task) -> dict[str, Any]:
    """Show a task."""
    names = ("id", "type", "status", "created_at", "updated_at", "expires_at", "input", "result")
    more = ("message", "image_id", "request_id", "user_id")
    return {
        **{name: getattr(task, name) for name in (*names, *more)},
        "owner": task.project_id,
        "self_link": f"/v2/tasks/{task.id}",
        "schema_link": "/v2/schemas/task",
    }


@operation(
    "POST",
    "/tasks",
    policy="tasks_api_access",
    manual=True,
    request=TaskCreate,
    response=TaskView,
    errors=(Filtered, QuotaExceeded),
)
def create_task(ctx: Context, deps: Deps, new: TaskCreate) -> Any:
    """Make an image from a URL."""
    deps.policy.enforce("add_task", ctx, {"project_id": ctx.project_id})
    task = tasks.create(ctx, deps, new.input)
    return Reply(shown(task), headers=[("Location", f"{ctx.base_url}/tasks/{task.id}")])


@operation(
    "GET",
    "/tasks",
    policy="tasks_api_access",
    query=TaskQuery,
    items=TaskBrief,
    response_wrap="tasks",
)
def list_tasks(ctx: Context, tx: Tx, query: TaskQuery) -> Any:
    """List tasks, the newest first."""
    deps: Deps = tx.deps
    deps.policy.enforce("get_tasks", ctx, {"project_id": ctx.project_id})
    limit = _limit(query.get("limit"), deps)
    key = query.get("sort_key") or "created_at"
    if key not in store.SORTABLE:
        raise BadRequest(f"Unknown sort key {key[:32]!r}.")
    marker = None
    if query.get("marker"):
        marker = store.get(tx, query.marker)
        if marker is None:
            raise BadRequest(f"Marker {query.marker[:64]} cannot be found.")
    filters = {name: query.get(name) for name in ("type", "status") if query.get(name)}
    order = [(key, query.get("sort_dir") != "asc")]
    found, more = store.page(tx, filters, order, marker, limit) if limit else ([], False)
    kept = {
        name: query.get(name)
        for name in ("type", "status", "limit", "sort_key", "sort_dir")
        if query.get(name)
    }
    extra = {"schema": "/v2/schemas/tasks", "first": _link(kept)}
    if more:
        extra["next"] = _link({**kept, "marker": found[-1].id})
    return Page([shown(task) for task in found], extra=extra)


def _limit(text: str | None, deps: Deps) -> int:
    if text is None:
        return min(deps.options.limit_param_default, deps.options.api_limit_max)
    if not text.isdecimal() or len(text) > 9:
        raise BadRequest("limit param must be a whole number that is not negative")
    return min(int(text), deps.options.api_limit_max)


def _link(pairs: dict[str, Any]) -> str:
    return "/v2/tasks" + (f"?{urlencode(pairs)}" if pairs else "")


def load_task(ctx: Context, tx: Tx, id: str) -> Task:
    """Return a task that the caller may see. Raises: TaskNotFound."""
    found = store.get(tx, id)
    if found is None or not (ctx.is_admin or found.project_id == ctx.project_id):
        raise TaskNotFound(id=id[:64])
    return found


@operation(
    "GET",
    "/tasks/{task_id}",
    policy="tasks_api_access",
    load=load_task,
    response=TaskView,
    errors=(TaskNotFound,),
)
def show_task(ctx: Context, tx: Tx, task: Task) -> Any:
    """Show a task."""
    tx.deps.policy.enforce("get_task", ctx, {"project_id": task.project_id or ""})
    return shown(task)


@operation(
    "GET",
    "/images/{image_id}/tasks",
    policy="get_image",
    load=load,
    target=image_target,
    items=TaskView,
    response_wrap="tasks",
    errors=(ImageNotFound,),
)
def list_image_tasks(ctx: Context, tx: Tx, image: Image) -> Any:
    """List the tasks of an image, the newest first: the project's own, or all for administrators."""
    owner = None if ctx.is_admin else ctx.project_id or ""
    return Page([shown(task) for task in store.of_image(tx, image.id, owner)])
