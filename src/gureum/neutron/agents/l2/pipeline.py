"""The tables of the integration bridge, what the registers hold, and the flows that never change.

Owns: the numbers and the static flows. Must not: know ports, networks or rules.
Follows docs/adr/0010-l2-pipeline.md, which draws the pipeline.
"""

from gureum.neutron.agents.ovs.flows import Flow, hash_bits

# Tables, in the order in which a frame meets them.
CLASSIFY = 0
TUNNEL_IN = 5
SOURCE = 10
SENT = 12
EGRESS_STATE = 21
EGRESS_GROUPS = 22
EGRESS_VERDICT = 23
EGRESS_RULES = 30
INGRESS_RULES = 31
LEARN = 40
LOCAL = 41
LEARNED = 42
CHOOSE = 43
REMOTE = 44
FLOOD_OUT = 45
UNKNOWN = 46
TO_PORT = 48
RECEIVE = 50
INGRESS_STATE = 51
INGRESS_GROUPS = 52
INGRESS_VERDICT = 53

# Registers. `metadata` is the network, xreg2 (reg4 and reg5) the security group being asked.
FROM_PORT = "reg1"  # ofport of the local port that sent it; 0: it came from outside
TO = "reg2"  # ofport of the local port that gets it
ZONE = "reg3"  # connection tracking zone; 0: nothing is tracked
GROUP = "xreg2"
FILTERED = "reg6"  # 1: the receiver has security groups
ALLOWED = "reg7"  # 1: some rule allows it
VTEP = "reg8"  # IPv4 address of the host that a remote MAC was learned from

MULTICAST = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
UNTAGGED = "vlan_tci=0x0000/0x1000"
CUT = "ct_mark=0x1/0x1"
NOT_CUT = "ct_mark=0x0/0x1"
DROP = "drop"
_ZONE_BITS = "NXM_NX_REG3[0..15]"
_IP_KINDS = ("ip", "ipv6")

# ICMPv6 types (RFC 4443, RFC 4861, RFC 2710, RFC 3810).
MLD_QUERY, MLD1_REPORT, MLD1_DONE, MLD2_REPORT = 130, 131, 132, 143
ROUTER_SOLICIT, ROUTER_ADVERT, NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT, REDIRECT = range(133, 138)
MAY_SEND = (MLD1_REPORT, MLD1_DONE, MLD2_REPORT, ROUTER_SOLICIT)
MAY_RECEIVE = (MLD_QUERY, ROUTER_ADVERT, NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT)

_DHCP_CLIENT = ("udp,tp_src=68,tp_dst=67", "udp6,tp_src=546,tp_dst=547")
_DHCP_SERVER = ("udp,tp_src=67,tp_dst=68", "udp6,tp_src=547,tp_dst=546")


def goto(table: int) -> str:
    """Return the action that goes on in a table."""
    return f"resubmit(,{table})"


def network_key(network_id: str) -> str:
    """Return the network's value in `metadata`; it needs no allocation, so it survives anything."""
    return f"{hash_bits('network ' + network_id, 64):#x}"


def group_key(group_id: str) -> str:
    """Return the security group's value in GROUP."""
    return f"{hash_bits('group ' + group_id, 64):#x}"


def static_flows() -> list[Flow]:
    """Return the flows that do not depend on what this host has."""
    return [
        *_sent(),
        *_state(EGRESS_STATE, EGRESS_GROUPS, goto(LEARN)),
        *_reassembled(),
        *_verdict(EGRESS_VERDICT, goto(LEARN)),
        *_switching(),
        *_receive(),
        *_state(INGRESS_STATE, INGRESS_GROUPS, f"output:{TO}"),
        *_verdict(INGRESS_VERDICT, f"output:{TO}"),
    ]


def _sent() -> list[Flow]:
    """What a guest with a proven source address may send without a rule, and must not with one."""
    flows = [Flow(SENT, 90, match, DROP) for match in _DHCP_SERVER]
    flows += [Flow(SENT, 80, match, goto(LEARN)) for match in _DHCP_CLIENT]
    flows += [Flow(SENT, 90, f"icmp6,icmp_type={t}", DROP) for t in (ROUTER_ADVERT, REDIRECT)]
    flows += [Flow(SENT, 80, f"icmp6,icmp_type={t}", goto(LEARN)) for t in MAY_SEND]
    # Each port adds its own neighbour discovery with priority 70.
    for kind in (NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT):
        flows.append(Flow(SENT, 60, f"icmp6,icmp_type={kind}", DROP))
    # Untracked fragments could hide a router advertisement from the matches above (RFC 7113).
    flows.append(Flow(SENT, 55, f"ipv6,{ZONE}=0,ip_frag=yes", DROP))
    for ip in _IP_KINDS:
        flows.append(Flow(SENT, 50, f"{ip},{ZONE}=0", goto(EGRESS_GROUPS)))
        flows.append(Flow(SENT, 40, ip, f"ct(table={EGRESS_STATE},zone={_ZONE_BITS})"))
    return flows


def _reassembled() -> list[Flow]:
    """Connection tracking has put fragments together: look once more at what SENT forbids."""
    kinds = (ROUTER_ADVERT, REDIRECT, NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT)
    flows = [Flow(EGRESS_STATE, 110, f"icmp6,icmp_type={kind}", DROP) for kind in kinds]
    return flows + [Flow(EGRESS_STATE, 110, match, DROP) for match in _DHCP_SERVER]


def _state(table: int, rules: int, accept: str) -> list[Flow]:
    """Let replies pass, unless their connection was cut; ask the rules about everything else.

    Packets in a connection's original direction are asked about again and again: this is what makes
    the removal of a rule cut the connections it had allowed.
    """
    return [
        Flow(table, 100, "ct_state=+trk+inv", DROP),
        Flow(table, 95, f"ct_state=+trk+rpl,{CUT}", DROP),
        Flow(table, 94, f"ct_state=+trk+rel,{CUT}", DROP),
        Flow(table, 90, "ct_state=+trk+est+rpl", accept),
        Flow(table, 89, "ct_state=+trk+rel", accept),
        Flow(table, 0, "", goto(rules)),
    ]


def _verdict(table: int, accept: str) -> list[Flow]:
    flows = [
        Flow(table, 110, f"{ALLOWED}=1,{ZONE}=0", accept),
        Flow(table, 90, f"{ALLOWED}=1", accept),
        Flow(table, 85, f"{ZONE}=0", DROP),
    ]
    for ip in _IP_KINDS:
        commit = f"ct(commit,zone={_ZONE_BITS})"
        restore = f"ct(commit,zone={_ZONE_BITS},exec(set_field:0x0/0x1->ct_mark))"
        cut = f"ct(commit,zone={_ZONE_BITS},exec(set_field:0x1/0x1->ct_mark))"
        flows += [
            Flow(table, 100, f"{ip},{ALLOWED}=1,ct_state=+trk+new", f"{commit},{accept}"),
            Flow(table, 95, f"{ip},{ALLOWED}=1,ct_state=+trk+est,{CUT}", f"{restore},{accept}"),
            Flow(table, 80, f"{ip},ct_state=+trk+est,{NOT_CUT}", cut),
        ]
    return flows


def _switching() -> list[Flow]:
    return [
        # Replaces the one that a bridge has when it was made without fail_mode=secure.
        Flow(CLASSIFY, 0, "", DROP),
        Flow(LEARN, 0, "", goto(LOCAL)),
        Flow(LOCAL, 0, "", f"{goto(LEARNED)},{goto(CHOOSE)}"),
        Flow(CHOOSE, 10, f"{TO}=0", goto(REMOTE)),
        Flow(CHOOSE, 0, "", goto(TO_PORT)),
        Flow(REMOTE, 30, f"{FROM_PORT}=0", goto(UNKNOWN)),
        Flow(REMOTE, 0, "", goto(UNKNOWN)),
        Flow(UNKNOWN, 0, "", goto(FLOOD_OUT)),
        # What came from outside never goes there again: that would be a loop.
        Flow(FLOOD_OUT, 10, f"{FROM_PORT}=0", DROP),
    ]


def _receive() -> list[Flow]:
    output = f"output:{TO}"
    flows = [Flow(RECEIVE, 100, f"{FILTERED}=0", output), Flow(RECEIVE, 90, "arp", output)]
    flows += [Flow(RECEIVE, 90, match, output) for match in _DHCP_SERVER]
    flows += [Flow(RECEIVE, 90, f"icmp6,icmp_type={kind}", output) for kind in MAY_RECEIVE]
    for ip in _IP_KINDS:
        flows.append(Flow(RECEIVE, 80, f"{ip},{ZONE}=0", goto(INGRESS_GROUPS)))
        flows.append(Flow(RECEIVE, 70, ip, f"ct(table={INGRESS_STATE},zone={_ZONE_BITS})"))
    return flows
