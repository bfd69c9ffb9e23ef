"""The errors of the Network API and their envelope.

The name of a class is the `type` that clients see: append-only. Follows: Network API v2.0, "Faults".
"""

from __future__ import annotations

from typing import Any

from gureum.core.spec.errors import (
    ApiError,
    BadRequest,
    Conflict,
    InvalidField,
    NotFound,
    PolicyForbidden,
    PreconditionFailed,
    Unauthorized,
)

_TYPES = {
    "BadRequest": "HTTPBadRequest",
    "InvalidField": "HTTPBadRequest",
    "NotFound": "HTTPNotFound",
    "Forbidden": "HTTPForbidden",
    "Conflict": "HTTPConflict",
    "ApiError": "HTTPInternalServerError",
    "PolicyForbidden": "PolicyNotAuthorized",
}


def error_body(error: ApiError, request_id: str) -> Any:
    """Build the body of an error answer."""
    if isinstance(error, Unauthorized):
        return {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
    name = type(error).__name__
    message = error.message
    if isinstance(error, InvalidField):
        message = _invalid_text(error)
    elif isinstance(error, PolicyForbidden):
        message = f"rule:{error.values.get('rule')} is disallowed by policy"
    kind = _TYPES.get(name, name)
    return {"NeutronError": {"type": kind, "message": message, "detail": ""}}


def _invalid_text(error: InvalidField) -> str:
    path = str(error.values.get("path", ""))
    reason = str(error.values.get("reason", ""))
    leaf = path.rsplit(".", 1)[-1]
    if reason.startswith("additional properties"):
        return f"Unrecognized attribute(s) '{leaf}'"
    if reason.endswith("is a required property"):
        return f"Failed to parse request. Required attribute '{leaf}' not specified"
    parts = path.split(".")
    shown = ".".join(parts[1:]) if len(parts) > 1 else path
    return f"Invalid input for {shown}. Reason: {reason}."


class InvalidInput(BadRequest):
    """A request that is well formed but makes no sense."""

    code, text = "invalid_input", "Invalid input for operation: {error_message}."


class RevisionNumberConstraintFailed(PreconditionFailed):
    """If-Match named another revision."""

    code = "revision_mismatch"
    text = "Constrained to {expected}, but current revision is {current}"


class NetworkNotFound(NotFound):
    """No such network."""

    code, text = "network_not_found", "Network {id} could not be found."


class SubnetNotFound(NotFound):
    """No such subnet."""

    code, text = "subnet_not_found", "Subnet {id} could not be found."


class PortNotFound(NotFound):
    """No such port."""

    code, text = "port_not_found", "Port {id} could not be found."


class ExtensionNotFound(NotFound):
    """No such extension."""

    code, text = "extension_not_found", "Extension with alias {id} does not exist"


class TagNotFound(NotFound):
    """The resource does not have the tag."""

    code, text = "tag_not_found", "Tag {tag} could not be found."


class NetworkInUse(Conflict):
    """Ports stand in the way."""

    code = "network_in_use"
    text = (
        "Unable to complete operation on network {id}."
        " There are one or more ports still in use on the network."
    )


class NetworkMTUSubnetConflict(Conflict):
    """The network's packets are too small for the IP version."""

    code = "mtu_too_small"
    text = "MTU of {mtu} on network {net_id} conflicts with IPv{version}, which needs {least}."


class SubnetInUse(Conflict):
    """Ports have addresses in it."""

    code = "subnet_in_use"
    text = "Unable to complete operation on subnet {id}: {reason}"


class PortInUse(Conflict):
    """Something is attached."""

    code = "port_in_use"
    text = (
        "Unable to complete operation on port {port_id} for network {network_id}."
        " Port already has an attached device {device_id}."
    )


class ServicePortInUse(Conflict):
    """The port belongs to a router or floating IP."""

    code = "service_port_in_use"
    text = "Port {port_id} cannot be deleted directly via the port API: {reason}"


class OverQuota(Conflict):
    """The project has as much as it may."""

    code, text = "over_quota", "Quota exceeded for resources: ['{resource}']."


class IpAddressInUse(Conflict):
    """Another port has the address."""

    code = "ip_address_in_use"
    text = (
        "Unable to complete operation for network {network_id}."
        " The IP address {ip_address} is in use."
    )


class IpAddressAlreadyAllocated(Conflict):
    """Another port has the address."""

    code = "ip_address_allocated"
    text = "IP address {ip_address} already allocated in subnet {subnet_id}"


class IpAddressGenerationFailure(Conflict):
    """No free address."""

    code = "no_more_addresses"
    text = "No more IP addresses available on network {network_id}."


class MacAddressInUse(Conflict):
    """Another port has the MAC."""

    code = "mac_address_in_use"
    text = (
        "Unable to complete operation for network {network_id}."
        " The mac address {mac_address} is in use."
    )


class InvalidIpForNetwork(BadRequest):
    """No subnet holds the address."""

    code = "invalid_ip_for_network"
    text = (
        "IP address {ip_address} is not a valid IP for any of the subnets on the specified network."
    )


class InvalidIpForSubnet(BadRequest):
    """The subnet does not hold the address."""

    code = "invalid_ip_for_subnet"
    text = "IP address {ip_address} is not a valid IP for the specified subnet."


class AllocationOnAutoAddressSubnet(BadRequest):
    """SLAAC decides the address."""

    code = "allocation_on_auto_subnet"
    text = (
        "IPv6 address {ip_address} cannot be directly assigned to a port on subnet {subnet_id}"
        " as the subnet is configured for automatic addresses"
    )


class GatewayConflictWithAllocationPools(Conflict):
    """The gateway lies in a pool."""

    code = "gateway_in_pool"
    text = "Gateway ip {ip_address} conflicts with allocation pool {pool}."


class InvalidAllocationPool(BadRequest):
    """End before start, or other families."""

    code, text = "invalid_pool", "The allocation pool {pool} is not valid."


class OutOfBoundsAllocationPool(BadRequest):
    """The pool leaves the subnet."""

    code, text = (
        "pool_out_of_bounds",
        "The allocation pool {pool} spans beyond the subnet cidr {cidr}.",
    )


class OverlappingAllocationPools(Conflict):
    """Two pools share addresses."""

    code = "pools_overlap"
    text = "Found overlapping allocation pools: {pool_1} {pool_2} for subnet {cidr}."


class DNSNameServersExhausted(BadRequest):
    """Too many name servers."""

    code = "too_many_nameservers"
    text = (
        "Unable to complete operation for subnet. The number of DNS nameservers exceeds the "
        "limit {quota}."
    )


class HostRoutesExhausted(BadRequest):
    """Too many host routes."""

    code = "too_many_host_routes"
    text = (
        "Unable to complete operation for subnet. The number of host routes exceeds the limit"
        " {quota}."
    )


class AllowedAddressPairExhausted(BadRequest):
    """Too many pairs."""

    code = "too_many_pairs"
    text = "The number of allowed address pair exceeds the maximum {quota}."


class DuplicateAddressPairInRequest(BadRequest):
    """The same pair twice."""

    code = "duplicate_pair"
    text = (
        "Request contains duplicate address pair: mac_address {mac_address} ip_address "
        "{ip_address}."
    )


class AddressPairAndPortSecurityRequired(Conflict):
    """Pairs without port security mean nothing."""

    code = "pairs_need_port_security"
    text = "Port Security must be enabled in order to have allowed address pairs on a port."


class PortSecurityPortHasSecurityGroup(Conflict):
    """Groups without port security mean nothing."""

    code = "port_has_security_group"
    text = (
        "Port has security group associated. Cannot disable port security or ip address until"
        " security group is removed"
    )


class PortSecurityAndIPRequiredForSecurityGroups(BadRequest):
    """Groups without port security mean nothing."""

    code = "port_security_required"
    text = (
        "Port security must be enabled and port must have an IP address in order to use security"
        " groups."
    )


class DeviceIDNotOwnedByTenant(Conflict):
    """The router is somebody else's."""

    code = "device_not_owned"
    text = (
        "The following device_id {device_id} is not owned by your tenant or matches another"
        " tenants router."
    )


class PortBound(Conflict):
    """Its MAC belongs to a guest."""

    code = "port_bound"
    text = (
        "Unable to complete operation on port {port_id}, port is already bound, port type:"
        " {vif_type}, old_mac {old_mac}, new_mac {new_mac}."
    )


class NoNetworkAvailable(Conflict):
    """Segments of this kind are used up."""

    code = "no_network_available"
    text = "Unable to create the network. No tenant network is available for allocation."


class NoNetworkFoundInMaximumAllowedAttempts(Conflict):
    """A range is used up."""

    code, text = "no_segment", "No network segment of type {network_type} is free."


class VlanIdInUse(Conflict):
    """Another network has the VLAN."""

    code = "vlan_in_use"
    text = (
        "Unable to create the network. The VLAN {vlan_id} on physical network {physical_network}"
        " is in use."
    )


class FlatNetworkInUse(Conflict):
    """Another network has the physical network."""

    code = "flat_in_use"
    text = "Unable to create the flat network. Physical network {physical_network} is in use."


class TunnelIdInUse(Conflict):
    """Another network has the tunnel id."""

    code = "tunnel_in_use"
    text = "Unable to create the network. The tunnel ID {tunnel_id} is in use."


class InvalidSharedSetting(Conflict):
    """Others use the network."""

    code = "invalid_shared_setting"
    text = (
        "Unable to reconfigure sharing settings for network {network}. Multiple tenants are "
        "using it."
    )


class ExternalNetworkInUse(Conflict):
    """Gateways use the network."""

    code = "external_network_in_use"
    text = (
        "External network {net_id} cannot be updated to be made non-external, since it has "
        "existing gateway ports."
    )
