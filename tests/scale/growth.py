"""Makes a cloud grow: so many of every noun, by rows where that is much faster, else through the APIs.

Owns: what there is at a size, and the ids that paths name. Must not: measure.
"""

import uuid
from typing import Any

import benchpath  # noqa: F401 (first: it makes the others importable)
import seed
from incloud import InCloud

from gureum.glance.store import tables as images

NOVA = {"x-openstack-nova-api-version": "2.96", "openstack-api-version": "compute 2.96"}
PLACEMENT = {"openstack-api-version": "placement 1.39"}
SETTINGS = """
[neutron.quotas]
quota_network = -1
quota_subnet = -1
quota_port = -1
quota_router = -1
quota_floatingip = -1
quota_security_group = -1
quota_security_group_rule = -1
quota_rbac_policy = -1
quota_address_group = -1
[nova.quota]
instances = -1
cores = -1
ram = -1
key_pairs = -1
server_groups = -1
metadata_items = -1
"""
HOSTS = 10
"""Hosts that have servers: the same at every size, since an answer names the hosts of its servers."""
KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYvTsPRrOJDlE2lnOKYqyDLLgsmDLqVqeK6Fd1AfdTH user@example"
)


class Growing:
    """A cloud whose nouns can be made more. `ids` holds the newest value for each name in a path."""

    def __init__(self, cloud: InCloud) -> None:
        self.cloud = cloud
        self.size = 0
        self.ids: dict[str, str] = {}
        self.net = seed.network(cloud)
        seed.flavor(cloud)
        external = {"name": "outside", "router:external": True}
        self.outside = self._make("network", "/v2.0/networks", "network", external)["id"]
        body = {"network_id": self.outside, "ip_version": 4, "cidr": "172.24.0.0/16"}
        self._make("network", "/v2.0/subnets", "subnet", body)

    def _make(self, service: str, path: str, wrap: str, body: Any, **kw: Any) -> Any:
        return self.cloud.call("POST", service, path, {wrap: body} if wrap else body, **kw)[wrap]

    def grow(self, size: int) -> None:
        """Have `size` of every noun that counts."""
        numbers = range(self.size, size)
        seed.hosts(self.cloud, numbers)
        seed.servers(self.cloud, numbers, [self.net], HOSTS, each=1)
        for i in numbers:
            self._networking(i)
            self._compute(i)
            self._identity(i)
            self._images(i)
            self._placement(i)
        self.size = size
        last = size - 1
        self.ids |= {
            "server_id": seed.identity("server", last),
            "port_id": seed.identity("port", last),
            "host_name": seed.host_name(0),
            "hypervisor_hostname_pattern": "fleet",
            "hypervisor_id": seed.node_id(0),
            "uuid": seed.node_id(0),
            "consumer_uuid": seed.identity("server", last),
            "tenant_id": self.cloud.project_id,
            "resource_class": "VCPU",
            "request_id": "req-" + seed.identity("request", last),
            "network_label": "bench",
            "agent_id": seed.identity("agent", 0),
        }

    def _networking(self, i: int) -> None:
        net = self._make("network", "/v2.0/networks", "network", {"name": f"n{i}"})
        body = {"network_id": net["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}
        subnet = self._make("network", "/v2.0/subnets", "subnet", body)
        router = self._make("network", "/v2.0/routers", "router", {"name": f"r{i}"})
        path = f"/v2.0/routers/{router['id']}/add_router_interface"
        self.cloud.call("PUT", "network", path, {"subnet_id": subnet["id"]})
        floating = self._make(
            "network", "/v2.0/floatingips", "floatingip", {"floating_network_id": self.outside}
        )
        group = self._make("network", "/v2.0/security-groups", "security_group", {"name": f"g{i}"})
        pool = {"name": f"p{i}", "prefixes": [f"10.{i % 250}.0.0/16"], "default_prefixlen": 24}
        addresses = {"name": f"a{i}", "addresses": ["10.0.0.1/32"]}
        scope = {"name": f"s{i}", "ip_version": 4}
        policy = {
            "object_type": "network",
            "object_id": net["id"],
            "action": "access_as_shared",
            "target_tenant": uuid.uuid4().hex,
        }
        for noun, one in (("networks", net), ("ports", {"id": seed.identity("port", i)})):
            self.cloud.call("PUT", "network", f"/v2.0/{noun}/{one['id']}/tags/red")
        self.ids |= {
            "network_id": net["id"],
            "subnet_id": subnet["id"],
            "router_id": router["id"],
            "floatingip_id": floating["id"],
            "security_group_id": group["id"],
            "security_group_rule_id": group["security_group_rules"][0]["id"],
            "subnetpool_id": self._make("network", "/v2.0/subnetpools", "subnetpool", pool)["id"],
            "address_group_id": self._make(
                "network", "/v2.0/address-groups", "address_group", addresses
            )["id"],
            "address_scope_id": self._make(
                "network", "/v2.0/address-scopes", "address_scope", scope
            )["id"],
            "rbac_policy_id": self._make("network", "/v2.0/rbac-policies", "rbac_policy", policy)[
                "id"
            ],
            "tag": "red",
        }

    def _compute(self, i: int) -> None:
        flavor = {"name": f"f{i}", "ram": 64, "vcpus": 1, "disk": 1, "id": f"f{i}"}
        self._make("compute", "/flavors", "flavor", flavor)
        self.cloud.call(
            "POST", "compute", f"/flavors/f{i}/os-extra_specs", {"extra_specs": {"hw:a": "1"}}
        )
        self._make(
            "compute",
            "/os-keypairs",
            "keypair",
            {"name": f"k{i}", "public_key": KEY, "type": "ssh"},
            headers=NOVA,
        )
        group = self._make(
            "compute",
            "/os-server-groups",
            "server_group",
            {"name": f"g{i}", "policy": "affinity"},
            headers=NOVA,
        )
        aggregate = self._make("compute", "/os-aggregates", "aggregate", {"name": f"a{i}"})
        self.cloud.call(
            "POST",
            "compute",
            f"/os-aggregates/{aggregate['id']}/action",
            {"add_host": {"host": seed.host_name(i)}},
        )
        server = seed.identity("server", i)
        metadata = {"metadata": {"colour": "red"}}
        self.cloud.call("POST", "compute", f"/servers/{server}/metadata", metadata)
        self.cloud.call("PUT", "compute", f"/servers/{server}/tags/red", headers=NOVA)
        self.ids |= {
            "flavor_id": f"f{i}",
            "keypair_name": f"k{i}",
            "server_group_id": group["id"],
            "aggregate_id": str(aggregate["id"]),
            "compute:key": "colour",
        }

    def _identity(self, i: int) -> None:
        project = self._make("identity", "/projects", "project", {"name": f"p{i}"})
        user = {"name": f"u{i}", "default_project_id": project["id"]}
        user_id = self._make("identity", "/users", "user", user)["id"]
        group_id = self._make("identity", "/groups", "group", {"name": f"g{i}"})["id"]
        role_id = self._make("identity", "/roles", "role", {"name": f"r{i}"})["id"]
        self.cloud.call("PUT", "identity", f"/groups/{group_id}/users/{user_id}")
        grant = f"/projects/{project['id']}/users/{user_id}/roles/{role_id}"
        self.cloud.call("PUT", "identity", grant)
        region = self._make("identity", "/regions", "region", {"id": f"region{i}"})["id"]
        service = {"name": f"s{i}", "type": f"kind{i}"}
        service_id = self._make("identity", "/services", "service", service)["id"]
        endpoint = {"service_id": service_id, "interface": "public", "url": "http://x"}
        credential = {"type": "cert", "blob": "{}", "user_id": user_id}
        self.ids |= {
            "project_id": project["id"],
            "user_id": user_id,
            "group_id": group_id,
            "role_id": role_id,
            "region_id": region,
            "service_id": service_id,
            "endpoint_id": self._make("identity", "/endpoints", "endpoint", endpoint)["id"],
            "domain_id": self._make("identity", "/domains", "domain", {"name": f"d{i}"})["id"],
            "identity:credential_id": self._make(
                "identity", "/credentials", "credential", credential
            )["id"],
        }

    def _images(self, i: int) -> None:
        image = {"name": f"i{i}", "visibility": "shared", "tags": ["red"], "colour": "red"}
        body = {**image, "disk_format": "raw", "container_format": "bare"}
        made = self.cloud.call("POST", "image", "/v2/images", body)
        path = f"/v2/images/{made['id']}/members"
        self.cloud.call("POST", "image", path, {"member": uuid.uuid4().hex})
        self.cloud.call("POST", "image", "/v2/metadefs/namespaces", {"namespace": f"n{i}"})
        self.ids |= {"image_id": made["id"], "namespace_name": f"n{i}"}

    def active_image(self) -> str:
        """Return an image that servers can be made of; its bytes are never asked for."""
        table = images.metadata.tables["images"]
        with self.cloud.runtime.database("glance").write() as tx:
            tx.update(table, table.c.id == self.ids["image_id"], status="active", size=1)
        return self.ids["image_id"]

    def _placement(self, i: int) -> None:
        for noun in ("traits", "resource_classes"):
            self.cloud.call("PUT", "placement", f"/{noun}/CUSTOM_A{i}", headers=PLACEMENT)
        self.ids["name"] = f"CUSTOM_A{i}"
