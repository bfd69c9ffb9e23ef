"""Errors about routers, floating IPs and agents. Append-only, like errors.py."""

from __future__ import annotations

from gureum.core.spec.errors import BadRequest, Conflict, NotFound


class RouterNotFound(NotFound):
    """No such router."""

    code, text = "router_not_found", "Router {id} could not be found"


class FloatingIPNotFound(NotFound):
    """No such floating IP."""

    code, text = "floatingip_not_found", "Floating IP {id} could not be found"


class AgentNotFound(NotFound):
    """No such agent."""

    code, text = "agent_not_found", "Agent {id} could not be found"


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


class PortForwardingNotFound(NotFound):
    """No such forwarding."""

    code, text = "port_forwarding_not_found", "Port Forwarding {id} could not be found."


class PortForwardingAlreadyExists(BadRequest):
    """Another forwarding has these ports."""

    code = "port_forwarding_exists"
    text = (
        "A duplicate port forwarding entry exists: floating IP {floatingip_id} has {other} with"
        " the same external or internal port."
    )


class FipInUseByPortForwarding(Conflict):
    """The floating IP cannot be both."""

    code = "floatingip_in_use_by_forwarding"
    text = "Floating IP {id} cannot be used for this: {reason}."


class PortHasBindingFloatingIP(Conflict):
    """The fixed address has a floating IP of its own."""

    code = "port_has_floatingip"
    text = (
        "Cannot create port forwarding to port {port_id} with fixed IP {address}: it has a"
        " floating IP of its own."
    )
