"""Which versions there are, and the list of extensions. API reference: "Versions", "Extensions"."""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.db.engine import Tx
from gureum.core.spec import PUBLIC, NotFound, Reply, Struct, operation
from gureum.nova.policy import PREFIX

MINIMUM = "2.1"
MAXIMUM = "2.104"

_UPDATED = {"v2.0": "2011-01-21T11:33:21Z", "v2.1": "2013-07-23T11:33:21Z"}


class NoQuery(Struct, extra="ignore", forbid_since="2.102"):
    """No parameters."""


def _base(ctx: Context) -> str:
    return ctx.base_url.removesuffix("/v2.1")


def _brief(ctx: Context, name: str) -> dict[str, Any]:
    current = name == "v2.1"
    path = "v2.1" if current else "v2"
    return {
        "id": name,
        "links": [{"rel": "self", "href": f"{_base(ctx)}/{path}/"}],
        "status": "CURRENT" if current else "SUPPORTED",
        "version": MAXIMUM if current else "",
        "min_version": MINIMUM if current else "",
        "updated": _UPDATED[name],
    }


def _detail(ctx: Context, name: str) -> dict[str, Any]:
    shown = _brief(ctx, name)
    number = name.removeprefix("v").removesuffix(".0")
    return {
        **shown,
        "links": [
            *shown["links"],
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
        ],
        "media-types": [
            {
                "base": "application/json",
                "type": f"application/vnd.openstack.compute+json;version={number}",
            }
        ],
    }


@operation("GET", "/", policy=PUBLIC)
def list_versions(ctx: Context, tx: Tx) -> Any:
    """List the major versions of the API."""
    return {"versions": [_brief(ctx, "v2.0"), _brief(ctx, "v2.1")]}


@operation("GET", "/v2", policy=PUBLIC)
def show_version_2(ctx: Context, tx: Tx) -> Any:
    """Show the version without microversions: v2.1 under its old name."""
    return {"version": _detail(ctx, "v2.0")}


@operation("GET", "/", policy=PUBLIC)
def show_version(ctx: Context, tx: Tx) -> Any:
    """Show the span of microversions."""
    return {"version": _detail(ctx, "v2.1")}


_EXTENSIONS = (
    ("OS-DCF", "DiskConfig", "Disk Management Extension."),
    ("OS-EXT-AZ", "ExtendedAvailabilityZone", "Extended Availability Zone support."),
    ("OS-EXT-IPS", "ExtendedIps", "Adds type parameter to the ip list."),
    ("OS-EXT-IPS-MAC", "ExtendedIpsMac", "Adds mac address parameter to the ip list."),
    ("OS-EXT-SRV-ATTR", "ExtendedServerAttributes", "Extended Server Attributes support."),
    ("OS-EXT-STS", "ExtendedStatus", "Extended Status support."),
    ("OS-FLV-DISABLED", "FlavorDisabled", "Support to show the disabled status of a flavor."),
    ("OS-FLV-EXT-DATA", "FlavorExtraData", "Provide additional data for flavors."),
    ("OS-SCH-HNT", "SchedulerHints", "Pass arbitrary key/value pairs to the scheduler."),
    ("OS-SRV-USG", "ServerUsage", "Adds launched_at and terminated_at on Servers."),
    ("os-access-ips", "AccessIPs", "Access IPs support."),
    ("os-admin-actions", "AdminActions", "Admin-only server actions."),
    ("os-aggregates", "Aggregates", "Admin-only aggregate administration."),
    ("os-attach-interfaces", "AttachInterfaces", "Attach interface support."),
    ("os-availability-zone", "AvailabilityZone", "Availability zones of servers and hosts."),
    ("os-config-drive", "ConfigDrive", "Config Drive Extension."),
    ("os-console-auth-tokens", "ConsoleAuthTokens", "Console token authentication support."),
    ("os-console-output", "ConsoleOutput", "Console log output support, with tailing ability."),
    ("os-consoles", "Consoles", "Interactive Console support."),
    ("os-deferred-delete", "DeferredDelete", "Instance deferred delete."),
    ("os-extended-hypervisors", "ExtendedHypervisors", "Extended hypervisors support."),
    ("os-extended-quotas", "ExtendedQuotas", "Deleting quotas and forcing their update."),
    ("os-extended-services", "ExtendedServices", "Extended services support."),
    ("os-extended-services-delete", "ExtendedServicesDelete", "Deletion of services."),
    ("os-extended-volumes", "ExtendedVolumes", "Extended Volumes support."),
    ("os-flavor-access", "FlavorAccess", "Flavor access support."),
    ("os-flavor-extra-specs", "FlavorExtraSpecs", "Flavors extra specs support."),
    ("os-flavor-manage", "FlavorManage", "Flavor create/delete API support."),
    ("os-flavor-rxtx", "FlavorRxtx", "Support to show the rxtx status of a flavor."),
    ("os-flavor-swap", "FlavorSwap", "Support to show the swap status of a flavor."),
    ("os-hosts", "Hosts", "Admin-only host administration."),
    ("os-hypervisor-status", "HypervisorStatus", "Show hypervisor status."),
    ("os-hypervisors", "Hypervisors", "Admin-only hypervisor administration."),
    ("os-instance-actions", "InstanceActions", "A log of actions and events of an instance."),
    ("os-keypairs", "Keypairs", "Keypair Support."),
    ("os-lock-server", "LockServer", "Enable lock/unlock server actions."),
    ("os-multiple-create", "MultipleCreate", "Several servers in one request."),
    ("os-pause-server", "PauseServer", "Enable pause/unpause server actions."),
    ("os-personality", "Personality", "Personality support."),
    ("os-quota-class-sets", "QuotaClasses", "Quota classes management support."),
    ("os-quota-sets", "Quotas", "Quotas management support."),
    ("os-security-groups", "SecurityGroups", "Security group support."),
    ("os-server-diagnostics", "ServerDiagnostics", "Counters of a server for administrators."),
    ("os-server-external-events", "ServerExternalEvents", "Server External Event Triggers."),
    ("os-server-group-quotas", "ServerGroupQuotas", "Adds quota support to server groups."),
    ("os-server-groups", "ServerGroups", "Server group support."),
    ("os-server-list-multi-status", "ServerListMultiStatus", "Several statuses in a filter."),
    ("os-server-password", "ServerPassword", "Server password support."),
    ("os-server-sort-keys", "ServerSortKeys", "Sorting of the list of servers."),
    ("os-server-start-stop", "ServerStartStop", "Start/Stop instance compute API support."),
    ("os-services", "Services", "Services support."),
    ("os-simple-tenant-usage", "SimpleTenantUsage", "Simple tenant usage extension."),
    ("os-suspend-server", "SuspendServer", "Enable suspend/resume server actions."),
    ("os-used-limits", "UsedLimits", "What is used of the limits."),
    ("os-used-limits-for-admin", "UsedLimitsForAdmin", "The same of other projects."),
    ("os-user-data", "UserData", "Add user_data to the Create Server API."),
    ("os-user-quotas", "UserQuotas", "Project user quota support."),
)


def _extension(alias: str, name: str, text: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": name,
        "description": text,
        "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": "2014-12-03T00:00:00Z",
    }


@operation("GET", "/extensions", policy=PREFIX + "extensions", query=NoQuery)
def list_extensions(ctx: Context, tx: Tx, query: NoQuery) -> Any:
    """List the extensions of old that this API has."""
    return Reply({"extensions": [_extension(*entry) for entry in _EXTENSIONS]})


@operation(
    "GET", "/extensions/{alias}", policy=PREFIX + "extensions", query=NoQuery, errors=(NotFound,)
)
def show_extension(ctx: Context, tx: Tx, alias: str, query: NoQuery) -> Any:
    """Show an extension of old."""
    for entry in _EXTENSIONS:
        if entry[0] == alias:
            return Reply({"extension": _extension(*entry)})
    raise NotFound()
