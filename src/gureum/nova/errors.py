"""Nova's errors, and the envelope they are answered in.

Texts follow what Compute API clients are used to reading. Codes and texts are append-only.
"""

from __future__ import annotations

from typing import Any

from gureum.core.spec.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    NotImplementedHere,
)

FAULT_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def error_body(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the body of an error answer: the fault's name around code and message."""
    name = FAULT_NAMES.get(error.status, "computeFault")
    return {name: {"code": error.status, "message": error.message}}


# -- not found -------------------------------------------------------------------------------------


class ServerNotFound(NotFound):
    """No such server, or not the caller's."""

    code, text = "server_not_found", "Instance {server_id} could not be found."


class FlavorNotFound(NotFound):
    """No such flavor, or not for the caller."""

    code, text = "flavor_not_found", "Flavor {flavor_id} could not be found."


class ExtraSpecNotFound(NotFound):
    """The flavor has no such extra spec."""

    code, text = "extra_spec_not_found", "Flavor {flavor_id} has no extra specs with key {key}."


class FlavorAccessNotFound(NotFound):
    """The project has no access to take away."""

    code = "flavor_access_not_found"
    text = "Flavor access not found for {flavor_id} / {project_id} combination."


class KeypairNotFound(NotFound):
    """No such key pair of the user."""

    code, text = "keypair_not_found", "Keypair {name} not found for user {user_id}"


class ServerGroupNotFound(NotFound):
    """No such server group, or not the caller's."""

    code, text = "server_group_not_found", "Instance group {group_id} could not be found."


class AggregateNotFound(NotFound):
    """No such aggregate."""

    code, text = "aggregate_not_found", "Aggregate {aggregate_id} could not be found."


class AggregateHostNotFound(NotFound):
    """The host is not in the aggregate."""

    code, text = "aggregate_host_not_found", "Aggregate {aggregate_id} has no host {host}."


class ComputeHostNotFound(NotFound):
    """No such compute host."""

    code, text = "compute_host_not_found", "Compute host {host} could not be found."


class HypervisorNotFound(NotFound):
    """No such hypervisor."""

    code, text = "hypervisor_not_found", "Compute host {hypervisor_id} could not be found."


class ServiceNotFound(NotFound):
    """No such service."""

    code, text = "service_not_found", "Service {service_id} could not be found."


class HostBinaryNotFound(NotFound):
    """No such service on a host."""

    code, text = "host_binary_not_found", "Could not find binary {binary} on host {host}."


class MetadataNotFound(NotFound):
    """The server has no such metadata item."""

    code, text = "metadata_not_found", "Metadata item was not found"


class TagNotFound(NotFound):
    """The server has no such tag."""

    code, text = "tag_not_found", "Server {server_id} has no tag '{tag}'"


class ActionNotFound(NotFound):
    """The server has no action with this request id."""

    code, text = "action_not_found", "Action for request {request_id} not found"


class NetworkNotFound(NotFound):
    """The server has no address on a network of this name."""

    code, text = "network_not_found", "Instance does not have network named {network}"


class PortNotFound(NotFound):
    """The server has no such port."""

    code, text = "port_not_found", "Port id {port_id} could not be found."


class SecurityGroupNotFound(NotFound):
    """No such security group in the project."""

    code = "security_group_not_found"
    text = "Security group {name} not found for project {project_id}."


class ConsoleTokenNotFound(NotFound):
    """The console token is unknown or has expired."""

    code, text = "console_token_not_found", "Token not found"


class ExtensionNotFound(NotFound):
    """No such extension."""

    code, text = "extension_not_found", "The resource could not be found."


class HostDown(Conflict):
    """The compute host does not answer."""

    code, text = "host_down", "Host {host} is not reachable."


# -- bad requests ----------------------------------------------------------------------------------


class Bad(BadRequest):
    """A request that is well formed and makes no sense; the text says why."""

    code = "bad_value"


class MarkerNotFound(BadRequest):
    """The marker of a page is unknown."""

    code, text = "marker_not_found", "marker [{marker}] not found"


class ImageUnusable(BadRequest):
    """The image is missing, not active or does not fit the flavor."""

    code = "image_unusable"


class NoVolumes(BadRequest):
    """Block storage is not there yet."""

    code = "no_block_storage"
    text = (
        "Block storage is not available in this cloud:"
        " servers boot from an image onto a local disk only."
    )


class NoCertificates(BadRequest):
    """Image signatures are not verified here."""

    code = "no_trusted_certificates"
    text = "Trusted image certificates are not supported: image signatures are not verified."


# -- conflicts -------------------------------------------------------------------------------------


class WrongState(Conflict):
    """The verb makes no sense in the server's state."""

    code = "wrong_state"
    text = "Cannot '{verb}' instance {server_id} while it is in {attribute} {state}"


class Locked(Conflict):
    """The server is locked."""

    code, text = "server_locked", "Instance {server_id} is locked"


class NotReady(Conflict):
    """The server has no guest yet."""

    code, text = "server_not_ready", "Instance {server_id} is not ready"


class Exists(Conflict):
    """Something of this name exists; the text names it."""

    code = "exists"


class InUse(Conflict):
    """Something still uses it; the text says what."""

    code = "in_use"


class PortInUse(Conflict):
    """The port belongs to another server."""

    code, text = "port_in_use", "Port {port_id} is still in use."


class NetworkAmbiguous(Conflict):
    """More than one network is possible."""

    code = "network_ambiguous"
    text = "Multiple possible networks found, use a Network ID to be more specific."


# -- forbidden -------------------------------------------------------------------------------------


class QuotaExceeded(Forbidden):
    """A quota would be exceeded."""

    code = "quota_exceeded"
    text = (
        "Quota exceeded for {names}: Requested {asked}, but already used {used} of {limits} {names}"
    )


class OverQuota(Forbidden):
    """A quota that has a text of its own would be exceeded."""

    code = "over_quota"


class ExternalNetworkForbidden(Forbidden):
    """Servers of ordinary users may not sit on an external network."""

    code = "external_network_forbidden"
    text = "It is not allowed to create an interface on external network {network_id}"


class NotSupported(NotImplementedHere):
    """The host's driver, or this version, cannot do it."""

    code, text = "not_supported", "Unable to {verb}: the hypervisor does not support it."


class ConsoleUnavailable(ApiError):
    """No console of this kind can be had; 400 as the API documents it."""

    status, code = 400, "console_unavailable"
    text = "Unable to get {kind} console, functionality not implemented"
