"""Nova's rules: OpenStack's names, with the personas admin, member and reader of a project.

Every rule of the API is for project-scoped tokens; an administrator's project token reaches every project.
"""

from __future__ import annotations

from gureum.core.policy.rules import Rule

PREFIX = "os_compute_api:"

_ADMIN = "rule:context_is_admin"
_MEMBER = "rule:project_member_or_admin"
_READER = "rule:project_reader_or_admin"
_SERVICE = "rule:service_or_admin"
_ANY = "@"

BUILDING_BLOCKS = (
    Rule("context_is_admin", "role:admin", "An administrator.", ()),
    Rule(
        "project_member_api",
        "role:member and project_id:%(project_id)s",
        "A member of the project.",
        (),
    ),
    Rule(
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "A reader of the project.",
        (),
    ),
    Rule(
        "project_member_or_admin",
        "rule:project_member_api or rule:context_is_admin",
        "A member of the project, or an administrator.",
        (),
    ),
    Rule(
        "project_reader_or_admin",
        "rule:project_reader_api or rule:context_is_admin",
        "A reader of the project, or an administrator.",
        (),
    ),
    Rule(
        "service_or_admin",
        "role:service or rule:context_is_admin",
        "Another service of the cloud, or an administrator.",
        (),
    ),
    Rule(
        "owner_or_admin",
        "rule:context_is_admin or user_id:%(user_id)s",
        "The user whose it is, or an administrator.",
        (),
    ),
)

_SERVERS = (
    ("servers:index", _READER, "List servers."),
    ("servers:detail", _READER, "List servers with details."),
    ("servers:index:get_all_tenants", _ADMIN, "List the servers of all projects."),
    ("servers:detail:get_all_tenants", _ADMIN, "List the servers of all projects with details."),
    ("servers:allow_all_filters", _ADMIN, "Filter servers by everything."),
    ("servers:show", _READER, "Show a server."),
    ("servers:show:flavor-extra-specs", _READER, "See extra specs in a server's flavor."),
    ("servers:show:host_status", _ADMIN, "See the state of a server's host."),
    ("servers:create", _MEMBER, "Create a server."),
    ("servers:create:forced_host", _ADMIN, "Create a server on a named host, unfiltered."),
    ("servers:create:attach_network", _MEMBER, "Create a server with networks."),
    ("servers:create:attach_volume", _MEMBER, "Create a server with volumes."),
    ("servers:create:trusted_certs", _MEMBER, "Create a server with trusted certificates."),
    ("servers:create:zero_disk_flavor", _ADMIN, "Boot an image with a flavor without disk."),
    ("servers:update", _MEMBER, "Update a server."),
    ("servers:delete", _MEMBER, "Delete a server."),
    ("servers:start", _MEMBER, "Start a server."),
    ("servers:stop", _MEMBER, "Stop a server."),
    ("servers:reboot", _MEMBER, "Reboot a server."),
    ("os-extended-server-attributes", _ADMIN, "See where and as what a server runs."),
    ("os-pause-server:pause", _MEMBER, "Pause a server."),
    ("os-pause-server:unpause", _MEMBER, "Unpause a server."),
    ("os-suspend-server:suspend", _MEMBER, "Suspend a server."),
    ("os-suspend-server:resume", _MEMBER, "Resume a server."),
    ("os-lock-server:lock", _MEMBER, "Lock a server."),
    ("os-lock-server:unlock", _MEMBER, "Unlock a server."),
    (
        "os-lock-server:unlock:unlock_override",
        _ADMIN,
        "Unlock what somebody else locked, and act on locked servers.",
    ),
    ("os-admin-actions:reset_state", _ADMIN, "Reset the state of a server."),
    ("os-deferred-delete:force", _MEMBER, "Delete a server by force."),
    ("os-console-output", _MEMBER, "See a server's serial console."),
    ("os-remote-consoles", _MEMBER, "Open a server's screen."),
    ("os-console-auth-tokens", _SERVICE, "See where a console token leads."),
    ("os-instance-actions:list", _READER, "List what was done to a server."),
    ("os-instance-actions:show", _READER, "Show what was done to a server."),
    ("os-instance-actions:events", _ADMIN, "See host and traceback of an action's events."),
    ("os-instance-actions:events:details", _ADMIN, "See details of an action's failed events."),
    ("server-metadata:index", _READER, "List a server's metadata."),
    ("server-metadata:show", _READER, "Show an item of a server's metadata."),
    ("server-metadata:create", _MEMBER, "Add to a server's metadata."),
    ("server-metadata:update_all", _MEMBER, "Replace a server's metadata."),
    ("server-metadata:update", _MEMBER, "Write an item of a server's metadata."),
    ("server-metadata:delete", _MEMBER, "Remove an item of a server's metadata."),
    ("os-server-tags:index", _READER, "List a server's tags."),
    ("os-server-tags:show", _READER, "Look for a tag on a server."),
    ("os-server-tags:update", _MEMBER, "Add a tag to a server."),
    ("os-server-tags:update_all", _MEMBER, "Replace a server's tags."),
    ("os-server-tags:delete", _MEMBER, "Remove a tag from a server."),
    ("os-server-tags:delete_all", _MEMBER, "Remove a server's tags."),
    ("ips:index", _READER, "List a server's addresses."),
    ("ips:show", _READER, "Show a server's addresses on a network."),
    ("os-attach-interfaces:list", _READER, "List a server's ports."),
    ("os-attach-interfaces:show", _READER, "Show a server's port."),
    ("os-attach-interfaces:create", _MEMBER, "Plug a port into a server."),
    ("os-attach-interfaces:delete", _MEMBER, "Unplug a port from a server."),
    ("os-security-groups:list", _READER, "List a server's security groups."),
    ("os-security-groups:add", _MEMBER, "Add a security group to a server."),
    ("os-security-groups:remove", _MEMBER, "Remove a security group from a server."),
    ("os-server-password:show", _READER, "See a server's encrypted password."),
    ("os-server-password:clear", _MEMBER, "Forget a server's encrypted password."),
    ("os-server-diagnostics", _ADMIN, "See a server's counters."),
    ("os-server-external-events:create", _SERVICE, "Tell Nova what happened elsewhere."),
    ("os-server-groups:create", _MEMBER, "Create a server group."),
    ("os-server-groups:delete", _MEMBER, "Delete a server group."),
    ("os-server-groups:index", _READER, "List server groups."),
    ("os-server-groups:index:all_projects", _ADMIN, "List the server groups of all projects."),
    ("os-server-groups:show", _READER, "Show a server group."),
)

_OTHERS = (
    ("extensions", _ANY, "List extensions."),
    ("os-flavor-access", _ADMIN, "See who may use a private flavor."),
    ("os-flavor-access:add_tenant_access", _ADMIN, "Let a project use a private flavor."),
    ("os-flavor-access:remove_tenant_access", _ADMIN, "Take a private flavor from a project."),
    ("os-flavor-extra-specs:index", _READER, "List a flavor's extra specs."),
    ("os-flavor-extra-specs:show", _READER, "Show a flavor's extra spec."),
    ("os-flavor-extra-specs:create", _ADMIN, "Write a flavor's extra specs."),
    ("os-flavor-extra-specs:update", _ADMIN, "Write a flavor's extra spec."),
    ("os-flavor-extra-specs:delete", _ADMIN, "Remove a flavor's extra spec."),
    ("os-flavor-manage:create", _ADMIN, "Create a flavor."),
    ("os-flavor-manage:update", _ADMIN, "Update a flavor."),
    ("os-flavor-manage:delete", _ADMIN, "Delete a flavor."),
    ("os-keypairs:index", "rule:owner_or_admin", "List key pairs."),
    ("os-keypairs:show", "rule:owner_or_admin", "Show a key pair."),
    ("os-keypairs:create", "rule:owner_or_admin", "Create or import a key pair."),
    ("os-keypairs:delete", "rule:owner_or_admin", "Delete a key pair."),
    ("limits", _ANY, "Show limits."),
    ("limits:other_project", _ADMIN, "Show the limits of another project."),
    ("os-quota-sets:show", _READER, "Show quotas."),
    ("os-quota-sets:detail", _READER, "Show quotas with their use."),
    ("os-quota-sets:defaults", _ANY, "Show default quotas."),
    ("os-quota-sets:update", _ADMIN, "Change quotas."),
    ("os-quota-sets:delete", _ADMIN, "Set quotas back to the defaults."),
    ("os-quota-class-sets:show", _ADMIN, "Show a quota class."),
    ("os-quota-class-sets:update", _ADMIN, "Change a quota class."),
    ("os-simple-tenant-usage:list", _ADMIN, "See what all projects used."),
    ("os-simple-tenant-usage:show", _READER, "See what a project used."),
    ("os-availability-zone:list", _READER, "List availability zones."),
    ("os-availability-zone:detail", _ADMIN, "List availability zones with their hosts."),
    ("os-services:list", _ADMIN, "List services."),
    ("os-services:update", _ADMIN, "Change a service."),
    ("os-services:delete", _ADMIN, "Delete a service."),
    ("os-hypervisors:list", _ADMIN, "List hypervisors."),
    ("os-hypervisors:list-detail", _ADMIN, "List hypervisors with details."),
    ("os-hypervisors:statistics", _ADMIN, "Show the sum of all hypervisors."),
    ("os-hypervisors:show", _ADMIN, "Show a hypervisor."),
    ("os-hypervisors:uptime", _ADMIN, "Show how long a hypervisor is up."),
    ("os-hypervisors:search", _ADMIN, "Find hypervisors by name."),
    ("os-hypervisors:servers", _ADMIN, "List the servers of hypervisors."),
    ("os-aggregates:index", _ADMIN, "List aggregates."),
    ("os-aggregates:show", _ADMIN, "Show an aggregate."),
    ("os-aggregates:create", _ADMIN, "Create an aggregate."),
    ("os-aggregates:update", _ADMIN, "Update an aggregate."),
    ("os-aggregates:delete", _ADMIN, "Delete an aggregate."),
    ("os-aggregates:add_host", _ADMIN, "Add a host to an aggregate."),
    ("os-aggregates:remove_host", _ADMIN, "Remove a host from an aggregate."),
    ("os-aggregates:set_metadata", _ADMIN, "Write an aggregate's metadata."),
)

_PLAIN = (
    (
        "compute:servers:create:requested_destination",
        _ADMIN,
        "Ask for a host that the filters still decide about.",
    ),
    ("network:attach_external_network", _ADMIN, "Plug a server into an external network."),
)

RULES: list[Rule] = [
    *BUILDING_BLOCKS,
    *(Rule(PREFIX + name, check, text) for name, check, text in _SERVERS + _OTHERS),
    *(Rule(name, check, text) for name, check, text in _PLAIN),
]
