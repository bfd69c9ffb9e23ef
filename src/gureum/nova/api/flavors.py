"""Flavors, the access to private ones, and extra specs. API reference: "Flavors"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.spec import (
    TOKEN,
    Behaviour,
    Boolean,
    Enum,
    Id,
    Integer,
    Json,
    MapOf,
    NotFound,
    Number,
    OneOf,
    Page,
    Reply,
    String,
    Struct,
    operation,
)
from gureum.nova.api.links import links, links_field, next_query
from gureum.nova.errors import (
    Bad,
    Exists,
    ExtraSpecNotFound,
    FlavorAccessNotFound,
    FlavorNotFound,
    MarkerNotFound,
)
from gureum.nova.logic import flavors
from gureum.nova.logic.flavors import Flavor
from gureum.nova.policy import PREFIX
from gureum.nova.store.flavors import SORT_COLUMNS

_SPECS_RULE = PREFIX + "os-flavor-extra-specs:index"


class FlavorBrief(Struct):
    """A flavor in a plain list."""

    id = String("Id.")
    name = String("Name.")
    links = links_field()
    description = String("Free text.", since="2.55")


class FlavorShown(FlavorBrief):
    """A flavor."""

    ram = Integer("Memory in MiB.")
    disk = Integer("Root disk in GiB.")
    vcpus = Integer("Virtual processors.")
    swap_text = Json("Swap in MiB; empty text when there is none.", key="swap", until="2.74")
    swap = Integer("Swap in MiB.", since="2.75")
    ephemeral = Integer("Second disk in GiB.", key="OS-FLV-EXT-DATA:ephemeral")
    disabled = Boolean("Always false.", key="OS-FLV-DISABLED:disabled", until="2.101")
    is_public = Boolean("Whether every project may use it.", key="os-flavor-access:is_public")
    rxtx_factor = Number("Without effect.", until="2.101")
    extra_specs = MapOf(String(""), "Extra specs.", since="2.61", policy=_SPECS_RULE)


class FlavorQuery(Struct, extra="ignore", forbid_since="2.75"):
    """Filters and paging."""

    limit = Integer("Most items.", min=0)
    marker = String("Id of the last flavor of the page before.")
    is_public = String("For administrators: true, false or none.")
    min_disk = Integer("Least root disk in GiB.", key="minDisk")
    min_ram = Integer("Least memory in MiB.", key="minRam")
    sort_key = Enum("Attribute to sort by.", *SORT_COLUMNS)
    sort_dir = Enum("Direction.", "asc", "desc", fold=True)
    name = String("Name.", since="2.102")


class FlavorCreate(Struct):
    """A new flavor."""

    name = String("Name.", required=True, min=1, printable=True, no_outer_space=True)
    ram = Integer("Memory in MiB.", required=True, min=1)
    vcpus = Integer("Virtual processors.", required=True, min=1)
    disk = Integer("Root disk in GiB.", required=True, min=0)
    ephemeral = Integer("Second disk in GiB.", key="OS-FLV-EXT-DATA:ephemeral", min=0)
    swap = Integer("Swap in MiB.", min=0)
    rxtx_factor = Number("Without effect.", min=0.0000001, max=3.4e38, until="2.101")
    is_public = Boolean("Whether every project may use it.", key="os-flavor-access:is_public")
    flavor_id = OneOf(
        (
            String("", pattern=r"(?! )[a-zA-Z0-9. _-]+(?<! )", no_outer_space=True, lenient=True),
            String("", max=0),
        ),
        "Id; made when absent.",
        key="id",
        null=True,
    )
    description = String("Free text.", max=65535, null=True, since="2.55")


class FlavorUpdate(Struct):
    """What of a flavor may change."""

    description = String("Free text.", max=65535, null=True, required=True)


class SpecsCreate(Struct):
    """Extra specs to write."""

    extra_specs = MapOf(
        String("", lenient=True),
        "Name to value.",
        key_pattern=r"[a-zA-Z0-9-_:. ]{1,255}",
        required=True,
    )
    known_only = Behaviour("Names and values of known namespaces are checked.", since="2.86")


class SpecUpdate(Struct, extra="keep"):
    """One extra spec as its name and value."""

    known_only = Behaviour("Names and values of known namespaces are checked.", since="2.86")


class AccessAdd(Struct):
    """Whom to let in."""

    tenant = Id("Project.", required=True)
    refuse_public = Behaviour("Public flavors are refused.", since="2.7")


class AccessRemove(Struct):
    """Whom to shut out."""

    tenant = Id("Project.", required=True)


def flavor_view(ctx: Context, flavor: Flavor) -> dict[str, Any]:
    """Return what the API says of a flavor."""
    return {
        "id": flavor.flavor_id,
        "name": flavor.name,
        "links": links(ctx, "flavors", flavor.flavor_id),
        "description": flavor.description,
        "ram": flavor.memory_mib,
        "disk": flavor.disk_gib,
        "vcpus": flavor.vcpus,
        "swap": flavor.swap_mib,
        "swap_text": flavor.swap_mib or "",
        "ephemeral": flavor.ephemeral_gib,
        "disabled": flavor.disabled,
        "is_public": flavor.is_public,
        "rxtx_factor": flavor.rxtx_factor,
        "extra_specs": flavor.extra_specs,
    }


def _page(ctx: Context, tx: Tx, query: FlavorQuery) -> Page:
    found, more = flavors.find(ctx, tx, query, tx.deps.options.max_limit)
    following = (
        next_query(query, found[-1].flavor_id, query.get("limit")) if more and found else None
    )
    return Page([flavor_view(ctx, flavor) for flavor in found], following)


@operation(
    "GET",
    "/flavors",
    policy=TOKEN,
    query=FlavorQuery,
    items=FlavorBrief,
    response_wrap="flavors",
    errors=(MarkerNotFound, Bad),
    kept=True,
)
def list_flavors(ctx: Context, tx: Tx, query: FlavorQuery) -> Page:
    """List the flavors that the project may use."""
    return _page(ctx, tx, query)


@operation(
    "GET",
    "/flavors/detail",
    policy=TOKEN,
    query=FlavorQuery,
    items=FlavorShown,
    response_wrap="flavors",
    errors=(MarkerNotFound, Bad),
    kept=True,
)
def list_flavors_detail(ctx: Context, tx: Tx, query: FlavorQuery) -> Page:
    """List the flavors that the project may use, with details."""
    return _page(ctx, tx, query)


@operation(
    "GET",
    "/flavors/{flavor_id}",
    policy=TOKEN,
    load=flavors.load,
    response=FlavorShown,
    response_wrap="flavor",
    errors=(FlavorNotFound,),
    kept=True,
)
def show_flavor(ctx: Context, tx: Tx, flavor: Flavor) -> Any:
    """Show a flavor."""
    return flavor_view(ctx, flavor)


@operation(
    "POST",
    "/flavors",
    policy=PREFIX + "os-flavor-manage:create",
    wrap="flavor",
    status=200,
    request=FlavorCreate,
    response=FlavorShown,
    errors=(Exists,),
)
def create_flavor(ctx: Context, tx: Tx, new: FlavorCreate) -> Any:
    """Create a flavor."""
    return flavor_view(ctx, flavors.create(ctx, tx, new))


@operation(
    "PUT",
    "/flavors/{flavor_id}",
    policy=PREFIX + "os-flavor-manage:update",
    wrap="flavor",
    request=FlavorUpdate,
    response=FlavorShown,
    load=flavors.load_any,
    since="2.55",
    errors=(FlavorNotFound,),
)
def update_flavor(ctx: Context, tx: Tx, flavor: Flavor, new: FlavorUpdate) -> Any:
    """Change the description of a flavor."""
    return flavor_view(ctx, flavors.update(tx, flavor, new.description))


@operation(
    "DELETE",
    "/flavors/{flavor_id}",
    policy=PREFIX + "os-flavor-manage:delete",
    status=202,
    load=flavors.load_any,
    errors=(FlavorNotFound,),
)
def delete_flavor(ctx: Context, tx: Tx, flavor: Flavor) -> None:
    """Delete a flavor; servers made with it keep their copy."""
    flavors.delete(tx, flavor)


@operation(
    "GET",
    "/flavors/{flavor_id}/os-flavor-access",
    policy=PREFIX + "os-flavor-access",
    load=flavors.load_any,
    errors=(FlavorNotFound,),
)
def list_flavor_access(ctx: Context, tx: Tx, flavor: Flavor) -> Any:
    """List the projects that may use a private flavor."""
    if flavor.is_public:
        raise NotFound("Access list not available for public flavors.")
    return {"flavor_access": flavors.access(tx, flavor)}


@operation(
    "POST",
    "/flavors/{flavor_id}/action",
    action="addTenantAccess",
    status=200,
    policy=PREFIX + "os-flavor-access:add_tenant_access",
    request=AccessAdd,
    load=flavors.load_any,
    errors=(FlavorNotFound, Exists),
)
def add_tenant_access(ctx: Context, tx: Tx, flavor: Flavor, new: AccessAdd) -> Any:
    """Let a project use a private flavor."""
    flavors.add_access(tx, flavor, new.tenant, refuse_public=new.refuse_public)
    return {"flavor_access": flavors.access(tx, flavor)}


@operation(
    "POST",
    "/flavors/{flavor_id}/action",
    action="removeTenantAccess",
    status=200,
    policy=PREFIX + "os-flavor-access:remove_tenant_access",
    request=AccessRemove,
    load=flavors.load_any,
    errors=(FlavorNotFound, FlavorAccessNotFound),
)
def remove_tenant_access(ctx: Context, tx: Tx, flavor: Flavor, new: AccessRemove) -> Any:
    """Take a private flavor from a project."""
    flavors.remove_access(tx, flavor, new.tenant)
    return {"flavor_access": flavors.access(tx, flavor)}


@operation(
    "GET",
    "/flavors/{flavor_id}/os-extra_specs",
    policy=_SPECS_RULE,
    load=flavors.load,
    errors=(FlavorNotFound,),
)
def list_extra_specs(ctx: Context, tx: Tx, flavor: Flavor) -> Any:
    """List the extra specs of a flavor."""
    return {"extra_specs": flavor.extra_specs}


@operation(
    "POST",
    "/flavors/{flavor_id}/os-extra_specs",
    status=200,
    policy=PREFIX + "os-flavor-extra-specs:create",
    request=SpecsCreate,
    load=flavors.load_any,
    errors=(FlavorNotFound, Bad),
)
def create_extra_specs(ctx: Context, tx: Tx, flavor: Flavor, new: SpecsCreate) -> Any:
    """Write extra specs of a flavor; others stay."""
    flavors.write_specs(tx, flavor, new.extra_specs, known_only=new.known_only)
    return {"extra_specs": new.extra_specs}


def _load_any_spec(ctx: Context, tx: Tx, flavor_id: str, key: str) -> tuple[Flavor, str]:
    return flavors.load_any(ctx, tx, flavor_id), key


def _load_spec(ctx: Context, tx: Tx, flavor_id: str, key: str) -> tuple[Flavor, str]:
    return flavors.load(ctx, tx, flavor_id), key


@operation(
    "GET",
    "/flavors/{flavor_id}/os-extra_specs/{key}",
    policy=PREFIX + "os-flavor-extra-specs:show",
    load=_load_spec,
    errors=(FlavorNotFound, ExtraSpecNotFound),
)
def show_extra_spec(ctx: Context, tx: Tx, found: tuple[Flavor, str]) -> Any:
    """Show one extra spec of a flavor."""
    flavor, key = found
    return {key: flavors.spec(flavor, key)}


@operation(
    "PUT",
    "/flavors/{flavor_id}/os-extra_specs/{key}",
    policy=PREFIX + "os-flavor-extra-specs:update",
    load=_load_any_spec,
    request=SpecUpdate,
    errors=(FlavorNotFound, Bad),
)
def update_extra_spec(ctx: Context, tx: Tx, found: tuple[Flavor, str], new: SpecUpdate) -> Any:
    """Write one extra spec of a flavor."""
    flavor, key = found
    if len(new.extra_values) != 1:
        raise Bad("Request body contains too many items" if new.extra_values else "Empty body")
    if key not in new.extra_values:
        raise Bad("Request body and URI mismatch")
    flavors.write_specs(tx, flavor, new.extra_values, known_only=new.known_only)
    return {key: str(new.extra_values[key])}


@operation(
    "DELETE",
    "/flavors/{flavor_id}/os-extra_specs/{key}",
    status=200,
    policy=PREFIX + "os-flavor-extra-specs:delete",
    load=_load_any_spec,
    errors=(FlavorNotFound, ExtraSpecNotFound),
)
def delete_extra_spec(ctx: Context, tx: Tx, found: tuple[Flavor, str]) -> Reply:
    """Remove one extra spec of a flavor."""
    flavor, key = found
    flavors.delete_spec(tx, flavor, key)
    return Reply(None)
