"""Makes what a preset names, through the REST APIs.

Owns: the order (who owns comes before what is owned), looking before making. Must not: change or remove
what is there; what is missing is added, so a second run does nothing.
Follows: the API references of Identity v3, Image v2, Compute v2.1 and Networking v2.0.
"""

import contextlib
import ipaddress
import tempfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

from gureum.core.problems import Problem
from gureum.presets import schema
from gureum.presets.document import PresetError
from gureum.provision.api import Api

Made = Mapping[str, int]
"""How many of each kind were made."""

_KEYS_OF_OTHERS = "compute 2.10"
"""The first version in which an administrator gives a key pair to a user."""


def apply(preset: schema.Preset, api: Api) -> Made:
    """Make what is missing. `api` is an administrator's. Raises: ApiFailed, PresetError."""
    return _Work(preset, api).run()


class _Work:
    """One run; remembers the ids of what it met."""

    def __init__(self, preset: schema.Preset, api: Api) -> None:
        self.preset = preset
        self.api = api
        self.made: Counter[str] = Counter()
        self.projects: dict[str, str] = {}
        self.users: dict[str, str] = {}
        self.subnets: dict[str, str] = {}

    def run(self) -> Made:
        preset = self.preset
        self._identity(preset)
        for flavor in preset.flavors:
            self._flavor(flavor)
        for image in preset.images:
            self._image(image)
        for network in preset.networks:
            self._network(network)
        for router in preset.routers:
            self._router(router)
        groups = {(g.project, g.name): self._group(g) for g in preset.security_groups}
        for group in preset.security_groups:
            self._rules(group, groups)
        for pair in preset.key_pairs:
            self._key_pair(pair)
        return dict(self.made)

    # --- identity --------------------------------------------------------------------------------

    def _identity(self, preset: schema.Preset) -> None:
        roles = {r["name"]: r["id"] for r in self.api.get("identity", "/roles")["roles"]}
        for name in preset.roles:
            if name not in roles:
                role = self.api.post("identity", "/roles", {"role": {"name": name}})["role"]
                roles[name] = role["id"]
                self.made["roles"] += 1
        there = self.api.get("identity", "/projects", domain_id="default")["projects"]
        self.projects = {p["name"]: p["id"] for p in there}
        for project in preset.projects:
            self._project(project)
        found = self.api.get("identity", "/users", domain_id="default")["users"]
        self.users = {u["name"]: u["id"] for u in found}
        for user in preset.users:
            self._user(user, roles)

    def _project(self, project: schema.Project) -> None:
        if project.name not in self.projects:
            body = {
                "name": project.name,
                "description": project.description,
                "enabled": project.enabled,
                "domain_id": "default",
            }
            made = self.api.post("identity", "/projects", {"project": body})["project"]
            self.projects[project.name] = made["id"]
            self.made["projects"] += 1
        if project.quotas is None:
            return
        owner = self.projects[project.name]
        if project.quotas.compute:
            body = {"quota_set": project.quotas.compute}
            self.api.put("compute", f"/os-quota-sets/{owner}", body)
        if project.quotas.network:
            self.api.put("network", f"/v2.0/quotas/{owner}", {"quota": project.quotas.network})

    def _user(self, user: schema.User, roles: Mapping[str, str]) -> None:
        if user.name not in self.users:
            body: dict[str, Any] = {
                "name": user.name,
                "password": user.password,
                "description": user.description,
                "enabled": user.enabled,
                "domain_id": "default",
            }
            if user.email:
                body["email"] = user.email
            if user.default_project:
                body["default_project_id"] = self.projects[user.default_project]
            made = self.api.post("identity", "/users", {"user": body})["user"]
            self.users[user.name] = made["id"]
            self.made["users"] += 1
        for grant in user.roles:
            project = self.projects[grant.project]
            path = f"/projects/{project}/users/{self.users[user.name]}/roles/{roles[grant.role]}"
            self.api.put("identity", path, None)

    # --- compute and images ----------------------------------------------------------------------

    def _flavor(self, flavor: schema.Flavor) -> None:
        there = self.api.get("compute", "/flavors", is_public="None")["flavors"]
        found = next((f["id"] for f in there if f["name"] == flavor.name), None)
        if found is None:
            body = {
                "name": flavor.name,
                "vcpus": flavor.vcpus,
                "ram": flavor.ram_mib,
                "disk": flavor.disk_gib,
                "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gib,
                "swap": flavor.swap_mib,
                "os-flavor-access:is_public": flavor.public,
                "id": flavor.id,
            }
            found = self.api.post("compute", "/flavors", {"flavor": body})["flavor"]["id"]
            self.made["flavors"] += 1
            if flavor.extra_specs:
                specs = {"extra_specs": flavor.extra_specs}
                self.api.post("compute", f"/flavors/{found}/os-extra_specs", specs)

    def _image(self, image: schema.Image) -> None:
        there = self.api.get("image", "/v2/images", name=image.name, limit="100")["images"]
        owner = self.projects[image.project] if image.project else None
        mine = [i for i in there if owner in (None, i["owner"])]
        if any(i["status"] == "active" for i in mine):
            return
        for left in mine:
            if left["status"] == "queued":  # an earlier run stopped before the upload
                self.api.delete("image", f"/v2/images/{left['id']}")
        body: dict[str, Any] = {
            "name": image.name,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "visibility": image.visibility,
            "min_ram": image.min_ram_mib,
            "min_disk": image.min_disk_gib,
            "tags": image.tags,
            **image.properties,
        }
        if owner:
            body["owner"] = owner
        made = self.api.post("image", "/v2/images", body)
        with contextlib.ExitStack() as stack:
            content: Any
            if image.file:
                path = (self.preset.folder / image.file).expanduser()
                content = stack.enter_context(path.open("rb"))
            else:
                content = stack.enter_context(tempfile.TemporaryFile())
                content.truncate(image.size_mib << 20)
            self.api.upload("image", f"/v2/images/{made['id']}/file", content)
        self.made["images"] += 1

    def _key_pair(self, pair: schema.KeyPair) -> None:
        owner = self.users[pair.user]
        there = self.api.get("compute", "/os-keypairs", version=_KEYS_OF_OTHERS, user_id=owner)[
            "keypairs"
        ]
        if any(row["keypair"]["name"] == pair.name for row in there):
            return
        text = pair.public_key
        if pair.public_key_file:
            path = (self.preset.folder / pair.public_key_file).expanduser()
            text = path.read_text(encoding="utf-8").strip()
        body = {"name": pair.name, "public_key": text, "user_id": owner, "type": "ssh"}
        self.api.post("compute", "/os-keypairs", {"keypair": body}, version=_KEYS_OF_OTHERS)
        self.made["key pairs"] += 1

    # --- networks --------------------------------------------------------------------------------

    def _owner(self, project: str) -> str:
        return self.projects[project or "admin"]

    def _network(self, network: schema.Network) -> None:
        owner = self._owner(network.project)
        words = {"name": network.name, "project_id": owner}
        there = self.api.get("network", "/v2.0/networks", **words)["networks"]
        if there:
            found = there[0]
        else:
            body: dict[str, Any] = {
                **words,
                "description": network.description,
                "shared": network.shared,
                "router:external": network.external,
            }
            if network.mtu:
                body["mtu"] = network.mtu
            if network.provider is not None:
                body["provider:network_type"] = network.provider.type
                if network.provider.physical_network:
                    body["provider:physical_network"] = network.provider.physical_network
                if network.provider.segmentation_id:
                    body["provider:segmentation_id"] = network.provider.segmentation_id
            found = self.api.post("network", "/v2.0/networks", {"network": body})["network"]
            self.made["networks"] += 1
        for subnet in network.subnets:
            self._subnet(subnet, found["id"], owner)

    def _subnet(self, subnet: schema.Subnet, network: str, owner: str) -> None:
        there = self.api.get("network", "/v2.0/subnets", name=subnet.name, network_id=network)[
            "subnets"
        ]
        if there:
            self.subnets[subnet.name] = there[0]["id"]
            return
        version = ipaddress.ip_network(subnet.cidr).version
        body: dict[str, Any] = {
            "name": subnet.name,
            "network_id": network,
            "project_id": owner,
            "cidr": subnet.cidr,
            "ip_version": version,
            "enable_dhcp": subnet.dhcp,
            "dns_nameservers": subnet.dns,
            "host_routes": [
                {"destination": r.destination, "nexthop": r.nexthop} for r in subnet.routes
            ],
        }
        if subnet.gateway:
            body["gateway_ip"] = None if subnet.gateway == "none" else subnet.gateway
        if subnet.pools:
            pools = [{"start": pool.start, "end": pool.end} for pool in subnet.pools]
            body["allocation_pools"] = pools
        if subnet.ipv6_mode:
            body["ipv6_address_mode"] = body["ipv6_ra_mode"] = subnet.ipv6_mode
        made = self.api.post("network", "/v2.0/subnets", {"subnet": body})["subnet"]
        self.subnets[subnet.name] = made["id"]
        self.made["subnets"] += 1

    def _router(self, router: schema.Router) -> None:
        owner = self._owner(router.project)
        words = {"name": router.name, "project_id": owner}
        there = self.api.get("network", "/v2.0/routers", **words)["routers"]
        if there:
            found = there[0]
        else:
            body: dict[str, Any] = {**words, "description": router.description}
            if router.external_network:
                outside = {"network_id": self._external(router)}
                body["external_gateway_info"] = outside
            found = self.api.post("network", "/v2.0/routers", {"router": body})["router"]
            self.made["routers"] += 1
        ports = self.api.get("network", "/v2.0/ports", device_id=found["id"])["ports"]
        joined = {ip["subnet_id"] for port in ports for ip in port["fixed_ips"]}
        for name in router.subnets:
            if self.subnets[name] not in joined:
                body = {"subnet_id": self.subnets[name]}
                path = f"/v2.0/routers/{found['id']}/add_router_interface"
                self.api.put("network", path, body)
                self.made["router interfaces"] += 1

    def _external(self, router: schema.Router) -> str:
        words = {"name": router.external_network, "router:external": "true"}
        there = self.api.get("network", "/v2.0/networks", **words)["networks"]
        if not there:
            text = (
                f"no external network {router.external_network!r} is in the cloud; define it here"
            )
            key = f"routers {router.name}: external_network"
            raise PresetError([Problem(self.preset.name, key, text)])
        return str(there[0]["id"])

    def _group(self, group: schema.SecurityGroup) -> str:
        owner = self._owner(group.project)
        words = {"name": group.name, "project_id": owner}
        there = self.api.get("network", "/v2.0/security-groups", **words)["security_groups"]
        if there:
            return str(there[0]["id"])
        body = {**words, "description": group.description}
        made = self.api.post("network", "/v2.0/security-groups", {"security_group": body})
        self.made["security groups"] += 1
        return str(made["security_group"]["id"])

    def _rules(self, group: schema.SecurityGroup, groups: Mapping[tuple[str, str], str]) -> None:
        own = groups[(group.project, group.name)]
        there = self.api.get("network", "/v2.0/security-group-rules", security_group_id=own)[
            "security_group_rules"
        ]
        known = {tuple(row.get(key) for key in _RULE_KEYS) for row in there}
        for rule in group.rules:
            body = self._rule_body(group, rule, groups)
            if tuple(body.get(key) for key in _RULE_KEYS) in known:
                continue
            self.api.post(
                "network",
                "/v2.0/security-group-rules",
                {"security_group_rule": {**body, "security_group_id": own}},
            )
            self.made["security group rules"] += 1

    def _rule_body(
        self,
        group: schema.SecurityGroup,
        rule: schema.GroupRule,
        groups: Mapping[tuple[str, str], str],
    ) -> dict[str, Any]:
        first, _, last = rule.ports.partition("-")
        body: dict[str, Any] = {
            "direction": rule.direction,
            "ethertype": rule.ethertype,
            "project_id": self._owner(group.project),
        }
        if rule.protocol and rule.protocol != "any":
            body["protocol"] = rule.protocol
        if rule.ports:
            body["port_range_min"], body["port_range_max"] = int(first), int(last or first)
        if rule.remote_cidr:
            body["remote_ip_prefix"] = str(ipaddress.ip_network(rule.remote_cidr))
        if rule.remote_group:
            known = groups.get((group.project, rule.remote_group))
            body["remote_group_id"] = known or self._group(
                schema.SecurityGroup(rule.remote_group, group.project)
            )
        return body


_RULE_KEYS = (
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
)
