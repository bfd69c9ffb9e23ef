"""Errors about security groups and their rules. Append-only, like errors.py."""

from __future__ import annotations

from gureum.core.spec.errors import BadRequest, Conflict, NotFound


class SecurityGroupNotFound(NotFound):
    """No such group."""

    code, text = "security_group_not_found", "Security group {id} does not exist"


class SecurityGroupRuleNotFound(NotFound):
    """No such rule."""

    code, text = "security_group_rule_not_found", "Security group rule {id} does not exist"


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


class StatefulAndStatelessSecurityGroups(Conflict):
    """One port cannot wear both kinds."""

    code = "mixed_statefulness"
    text = "Stateful and stateless security groups cannot be used on the same port."


class SecurityGroupDefaultRuleNotFound(NotFound):
    """No such rule."""

    code, text = "default_rule_not_found", "Security Group Default rule {id} does not exist"
