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


class RouterNotFound(NotFound):
    """No such router."""

    code, text = "router_not_found", "Router {id} could not be found"


class FloatingIPNotFound(NotFound):
    """No such floating IP."""

    code, text = "floatingip_not_found", "Floating IP {id} could not be found"


class SecurityGroupNotFound(NotFound):
    """No such group."""

    code, text = "security_group_not_found", "Security group {id} does not exist"


class SecurityGroupRuleNotFound(NotFound):
    """No such rule."""

    code, text = "security_group_rule_not_found", "Security group rule {id} does not exist"


class SubnetPoolNotFound(NotFound):
    """No such pool."""

    code, text = "subnetpool_not_found", "Subnet pool {id} could not be found."


class AddressScopeNotFound(NotFound):
    """No such scope."""

    code, text = "address_scope_not_found", "Address scope {id} could not be found"


class AddressGroupNotFound(NotFound):
    """No such address group."""

    code, text = "address_group_not_found", "Address group {id} could not be found."


class RbacPolicyNotFound(NotFound):
    """No such RBAC policy."""

    code, text = "rbac_policy_not_found", "RBAC policy of type with ID {id} not found"


class AgentNotFound(NotFound):
    """No such agent."""

    code, text = "agent_not_found", "Agent {id} could not be found"


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


class UnsupportedPortDeviceOwner(Conflict):
    """The verb cannot be used on such a port."""

    code = "unsupported_device_owner"
    text = "Operation {op} is not supported for device_owner {device_owner} on port {port_id}."


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


class RouterInUse(Conflict):
    """Interfaces stand in the way."""

    code, text = "router_in_use", "Router {id} still has ports"


class RouterInterfaceNotFound(NotFound):
    """The port is not one of the router."""

    code = "router_interface_not_found"
    text = "Router {router_id} does not have an interface with id {port_id}"


class RouterInterfaceNotFoundForSubnet(NotFound):
    """The subnet is not on the router."""

    code = "router_interface_not_found_subnet"
    text = "Router {router_id} has no interface on subnet {subnet_id}"


class RouterInterfaceInUseByFloatingIP(Conflict):
    """A floating IP goes through it."""

    code = "interface_in_use_by_floatingip"
    text = (
        "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, as it is"
        " required by one or more floating IPs."
    )


class RouterInterfaceInUseByRoute(Conflict):
    """A static route goes through it."""

    code = "interface_in_use_by_route"
    text = (
        "Router interface for subnet {subnet_id} on router {router_id} cannot be deleted, as it is"
        " required by one or more routes."
    )


class RouterExternalGatewayInUseByFloatingIp(Conflict):
    """A floating IP goes through it."""

    code = "gateway_in_use_by_floatingip"
    text = (
        "Gateway cannot be updated for router {router_id}, since a gateway to external network"
        " {net_id} is required by one or more floating IPs."
    )


class SubnetMismatchForPort(BadRequest):
    """Port and subnet do not belong together."""

    code = "subnet_mismatch"
    text = "Subnet on port {port_id} does not match the requested subnet {subnet_id}"


class InvalidRoutes(BadRequest):
    """A static route cannot work."""

    code, text = "invalid_routes", "Invalid format for routes: {routes}, {reason}"


class RoutesExhausted(BadRequest):
    """Too many static routes."""

    code = "too_many_routes"
    text = (
        "Unable to complete operation for {router_id}. The number of routes exceeds the "
        "maximum {quota}."
    )


class ExternalGatewayForFloatingIPNotFound(NotFound):
    """No router leads there."""

    code = "no_gateway_for_floatingip"
    text = (
        "External network {external_network_id} is not reachable from subnet {subnet_id}."
        " Therefore, cannot associate Port {port_id} with a Floating IP."
    )


class FloatingIPPortAlreadyAssociated(Conflict):
    """The fixed address has one already."""

    code = "floatingip_port_associated"
    text = (
        "Cannot associate floating IP {floating_ip_address} ({fip_id}) with port {port_id} using"
        " fixed IP {fixed_ip}, as that fixed IP already has a floating IP on external network"
        " {net_id}."
    )


class SecurityGroupInUse(Conflict):
    """Ports wear it."""

    code, text = "security_group_in_use", "Security Group {id} in use."


class SecurityGroupCannotRemoveDefault(Conflict):
    """The default group stays."""

    code = "default_group_stays"
    text = "Insufficient rights for removing default security group."


class SecurityGroupCannotUpdateDefault(Conflict):
    """The default group keeps its name."""

    code, text = "default_group_keeps_name", "Updating default security group not allowed."


class SecurityGroupDefaultAlreadyExists(Conflict):
    """There is one default group a project."""

    code, text = "default_group_exists", "Default security group already exists."


class SecurityGroupRuleExists(Conflict):
    """The same rule is there."""

    code, text = "rule_exists", "Security group rule already exists. Rule id is {rule_id}."


class SecurityGroupInvalidPortRange(BadRequest):
    """Not a range."""

    code = "invalid_port_range"
    text = "For TCP/UDP protocols, port_range_min must be <= port_range_max"


class SecurityGroupInvalidPortValue(BadRequest):
    """Not a port."""

    code, text = "invalid_port", "Invalid value for port {port}"


class SecurityGroupInvalidIcmpValue(BadRequest):
    """Not an ICMP type or code."""

    code, text = (
        "invalid_icmp",
        "Invalid value for ICMP {field} ({attr}) {value}. It must be 0 to 255.",
    )


class SecurityGroupMissingIcmpType(BadRequest):
    """A code without a type."""

    code = "missing_icmp_type"
    text = (
        "ICMP code (port-range-max) {value} is provided but ICMP type (port-range-min) is missing."
    )


class SecurityGroupInvalidProtocolType(BadRequest):
    """The protocol takes no ports."""

    code, text = "protocol_type", "Invalid protocol type {protocol}"


class SecurityGroupInvalidProtocolForPort(BadRequest):
    """The protocol has no ports."""

    code = "protocol_without_ports"
    text = (
        "Invalid protocol {protocol} for port range, only supported for TCP, UDP, UDPLITE, "
        "SCTP and DCCP."
    )


class SecurityGroupRuleInvalidProtocol(BadRequest):
    """Not a protocol."""

    code = "invalid_protocol"
    text = (
        "Security group rule protocol {protocol} not supported. Only protocol values and "
        "integer representations [0 to 255] are supported."
    )


class SecurityGroupRemoteGroupAndRemoteIpPrefix(BadRequest):
    """More than one remote."""

    code = "two_remotes"
    text = (
        "Only one of remote_ip_prefix, remote_group_id and remote_address_group_id may be provided."
    )


class SecurityGroupRuleParameterConflict(BadRequest):
    """Address family mismatch."""

    code = "family_mismatch"
    text = "Conflicting value ethertype {ethertype} for CIDR {cidr}"


class SecurityGroupEthertypeConflictWithProtocol(BadRequest):
    """An IPv6 protocol in an IPv4 rule."""

    code = "ethertype_mismatch"
    text = "Invalid ethertype {ethertype} for protocol {protocol}."


class DuplicateSecurityGroupRuleInPost(Conflict):
    """Twice in one request."""

    code, text = "duplicate_rule", "Duplicate Security Group Rule in POST."


class SecurityGroupNotSingleGroupRules(BadRequest):
    """Rules of several groups in one request."""

    code = "many_groups"
    text = "Only allowed to update rules for one security profile at a time"


class NetworkHostedByDHCPAgent(Conflict):
    """It is there already."""

    code = "network_hosted"
    text = "The network {network_id} has been already hosted by the DHCP Agent {agent_id}."


class NetworkNotHostedByDhcpAgent(Conflict):
    """It is not there."""

    code = "network_not_hosted"
    text = "The network {network_id} is not hosted by the DHCP agent {agent_id}."


class InvalidDHCPAgent(NotFound):
    """Not a DHCP agent."""

    code, text = "invalid_dhcp_agent", "Agent {id} is not a valid DHCP Agent or has been disabled"


class RouterHostedByL3Agent(Conflict):
    """It is elsewhere already."""

    code = "router_hosted"
    text = "The router {router_id} has been already hosted by the L3 Agent {agent_id}."


class RouterNotHostedByL3Agent(Conflict):
    """It is not there."""

    code = "router_not_hosted"
    text = "The router {router_id} is not hosted by L3 agent {agent_id}."


class InvalidL3Agent(NotFound):
    """Not an L3 agent."""

    code, text = "invalid_l3_agent", "Agent {id} is not a L3 Agent or has been disabled"


class DeleteActiveAgent(Conflict):
    """The agent lives."""

    code, text = "agent_alive", "Agent {id} is alive and is not admin down."


class InvalidSharedSetting(Conflict):
    """Others use the network."""

    code = "invalid_shared_setting"
    text = (
        "Unable to reconfigure sharing settings for network {network}. Multiple tenants are "
        "using it."
    )


class RbacPolicyInUse(Conflict):
    """Others use the object through it."""

    code = "rbac_policy_in_use"
    text = (
        "RBAC policy on object {object_id} cannot be removed because other objects depend on "
        "it. Details: {details}"
    )


class DuplicateRbacPolicy(Conflict):
    """The same policy is there."""

    code, text = "rbac_policy_exists", "An RBAC policy already exists with those values."


class RbacPolicyInitError(BadRequest):
    """No such action for this kind."""

    code, text = "rbac_policy_init", "Invalid action '{action}' for object type '{object_type}'."


class ExternalNetworkInUse(Conflict):
    """Gateways use the network."""

    code = "external_network_in_use"
    text = (
        "External network {net_id} cannot be updated to be made non-external, since it has "
        "existing gateway ports."
    )


class SubnetAllocationError(BadRequest):
    """The pool cannot give such a subnet."""

    code, text = "subnet_allocation", "Failed to allocate subnet: {reason}."


class SubnetPoolInUse(Conflict):
    """Subnets stand in the way."""

    code = "subnetpool_in_use"
    text = (
        "Unable to complete operation on subnet pool {id}. There are one or more subnets in "
        "use on the subnet pool."
    )


class SubnetPoolQuotaExceeded(Conflict):
    """The pool's own quota."""

    code, text = "subnetpool_quota", "Per-tenant subnet pool prefix quota exceeded."


class MinPrefixSubnetAllocationError(BadRequest):
    """Too large a subnet."""

    code = "prefix_too_small"
    text = (
        "Unable to allocate subnet with prefix length {prefixlen}, minimum allowed prefix is "
        "{min_prefixlen}."
    )


class MaxPrefixSubnetAllocationError(BadRequest):
    """Too small a subnet."""

    code = "prefix_too_large"
    text = (
        "Unable to allocate subnet with prefix length {prefixlen}, maximum allowed prefix is "
        "{max_prefixlen}."
    )


class IllegalSubnetPoolPrefixBounds(BadRequest):
    """The prefix lengths contradict."""

    code = "prefix_bounds"
    text = "Illegal prefix bounds: {prefix_type}={prefixlen}, {base_prefix_type}={base_prefixlen}."


class IllegalSubnetPoolPrefixUpdate(BadRequest):
    """Prefixes in use would go."""

    code = "prefix_update"
    text = "Illegal update to prefixes: {msg}."


class IllegalSubnetPoolUpdate(BadRequest):
    """The pool cannot become that."""

    code, text = "subnetpool_update", "Illegal subnetpool update : {reason}."


class IllegalSubnetPoolAssociationToAddressScope(BadRequest):
    """The scope is somebody else's."""

    code = "scope_association"
    text = (
        "Illegal subnetpool association: subnetpool {subnetpool_id} cannot be associated with"
        " address scope {address_scope_id}."
    )


class IllegalSubnetPoolIpVersionAssociationToAddressScope(BadRequest):
    """Other address families."""

    code = "scope_family"
    text = (
        "Illegal subnetpool association: subnetpool {subnetpool_id} cannot associate with "
        "address scope {address_scope_id} because subnetpool ip_version is not {ip_version}."
    )


class AddressScopePrefixConflict(Conflict):
    """Prefixes overlap in the scope."""

    code = "scope_prefix_conflict"
    text = (
        "Failed to associate address scope: subnetpools within an address scope must have "
        "unique prefixes."
    )


class AddressScopeInUse(Conflict):
    """Pools stand in the way."""

    code = "address_scope_in_use"
    text = (
        "Unable to complete operation on address scope {id}. There are one or more subnet "
        "pools in use on the address scope."
    )


class AddressScopeUpdateError(BadRequest):
    """The scope cannot become that."""

    code, text = "address_scope_update", "Unable to update address scope {id} : {reason}."


class NetworkSubnetPoolAffinityError(BadRequest):
    """Subnets of a network come from one pool."""

    code = "pool_affinity"
    text = "Subnets hosted on the same network must be allocated from the same subnet pool."


class AddressGroupInUse(Conflict):
    """Rules name it."""

    code, text = (
        "address_group_in_use",
        "Address group {id} is in use on one or more security group rules.",
    )


class AddressesNotFound(NotFound):
    """Not in the group."""

    code = "addresses_not_found"
    text = "Addresses {addresses} not found in the address group {id}."


class AddressesAlreadyExist(BadRequest):
    """In the group already."""

    code = "addresses_exist"
    text = "Addresses {addresses} already exist in the address group {id}."


class AutoAllocationFailure(Conflict):
    """The topology cannot be made."""

    code, text = "auto_allocation", "Deployment error: {reason}."


class QuotaMissingTenant(BadRequest):
    """A quota needs a project."""

    code, text = "quota_tenant", "Tenant-id was missing from quota request."
