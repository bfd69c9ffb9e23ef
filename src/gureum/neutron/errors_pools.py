"""Errors about pools, scopes, address groups and sharing. Append-only, like errors.py."""

from __future__ import annotations

from gureum.core.spec.errors import BadRequest, Conflict, NotFound


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


class NetworkSegmentRangeNotFound(NotFound):
    """No such range."""

    code, text = "segment_range_not_found", "Network Segment Range {id} could not be found."


class NetworkSegmentRangeOverlaps(Conflict):
    """Another range has some of the ids."""

    code, text = "segment_range_overlaps", "The range {minimum}-{maximum} overlaps with another."


class NetworkSegmentRangeReferencedByProject(Conflict):
    """Networks have ids of the range."""

    code = "segment_range_in_use"
    text = "Network Segment Range is referenced by one or more networks of project {project_id}."
