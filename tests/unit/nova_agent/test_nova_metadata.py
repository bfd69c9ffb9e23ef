"""What guests read about themselves, over HTTP and on the config drive."""

import asyncio
import json
from dataclasses import replace

import httpx
import pytest
from nova_guests import guest

from gureum.nova.metadata import config_drive
from gureum.nova.metadata.app import MetadataApp, sign
from gureum.nova.metadata.config import MetadataOptions
from gureum.nova.metadata.model import InstanceMetadata, from_guest

SECRET = "shared"
SPEC = guest()
INSTANCE = from_guest(SPEC, dhcp_domain="cloud.test")


class Cloud:
    """One server that the application may be asked for, and the passwords it posted."""

    def __init__(self) -> None:
        self.instance = INSTANCE
        self.lookups = 0
        self.password: str | None = None

    def lookup(self, instance_id: str, project_id: str, address: str) -> InstanceMetadata | None:
        self.lookups += 1
        if instance_id != self.instance.server_id or address != "10.0.0.5":
            return None
        return replace(self.instance, password=self.password or "")

    def store(self, instance_id: str, password: str) -> bool:
        if self.password is not None:
            return False
        self.password = password
        return True


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def ask(
    cloud: Cloud, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> httpx.Response:
    """Send a request as the metadata agent does, with `headers` replaced (empty: left out)."""
    sent = {
        "X-Instance-ID": INSTANCE.server_id,
        "X-Tenant-ID": INSTANCE.project_id,
        "X-Forwarded-For": "10.0.0.5",
        "X-Instance-ID-Signature": sign(SECRET, INSTANCE.server_id),
    }
    sent.update({name.replace("_", "-"): value for name, value in headers.items()})

    async def run() -> httpx.Response:
        app = MetadataApp(
            MetadataOptions(metadata_proxy_shared_secret=SECRET), cloud.lookup, cloud.store
        )
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://metadata") as client:
            return await client.request(
                method, path, content=body, headers={k: v for k, v in sent.items() if v}
            )

    return asyncio.run(run())


def test_ec2_tree_walks_from_the_root_to_the_key(cloud: Cloud) -> None:
    assert "2009-04-04" in ask(cloud, "/").text.split()
    assert ask(cloud, "/latest").text == "meta-data/\nuser-data"
    names = ask(cloud, "/latest/meta-data/").text.split("\n")
    assert {"ami-id", "instance-id", "placement/", "public-keys/", "local-ipv4"} <= set(names)
    assert ask(cloud, "/latest/meta-data/instance-id").text == "i-0000002a"
    assert ask(cloud, "/latest/meta-data/hostname").text == "web-one.cloud.test"
    assert ask(cloud, "/latest/meta-data/local-ipv4").text == "10.0.0.5"
    assert ask(cloud, "/latest/meta-data/public-ipv4").text == "172.24.4.10"
    assert ask(cloud, "/latest/meta-data/placement/availability-zone").text == "nova"
    assert ask(cloud, "/latest/meta-data/public-keys/").text == "0=laptop"
    assert ask(cloud, "/latest/meta-data/public-keys/0/").text == "openssh-key"
    assert ask(cloud, "/latest/meta-data/public-keys/0/openssh-key").text.startswith("ssh-ed25519")
    assert ask(cloud, "/latest/user-data").content == b"#!/bin/sh\necho hi\n"


def test_old_ec2_version_lacks_newer_names(cloud: Cloud) -> None:
    assert "placement/" not in ask(cloud, "/2007-01-19/meta-data/").text.split()
    assert ask(cloud, "/2007-01-19/meta-data/placement/availability-zone").status_code == 404


def test_openstack_tree_shows_the_server_itself(cloud: Cloud) -> None:
    assert ask(cloud, "/openstack").text.split()[-1] == "latest"
    assert "network_data.json" in ask(cloud, "/openstack/latest/").text.split()
    data = ask(cloud, "/openstack/latest/meta_data.json").json()
    assert data["uuid"] == SPEC.server_id
    assert data["public_keys"] == {"laptop": "ssh-ed25519 AAAA alice"}
    assert data["meta"] == {"role": "web"}
    assert data["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
    assert len(data["random_seed"]) > 600
    assert ask(cloud, "/openstack/content/0000").content == b"hello"
    assert ask(cloud, "/openstack/latest/vendor_data.json").json() == {}


def test_network_data_names_links_networks_and_dns(cloud: Cloud) -> None:
    data = ask(cloud, "/openstack/latest/network_data.json").json()
    assert data["links"][0]["ethernet_mac_address"] == "fa:16:3e:00:00:01"
    assert data["links"][0]["mtu"] == 1450
    assert data["networks"][0]["type"] == "ipv4_dhcp"
    assert data["services"] == [{"type": "dns", "address": "10.0.0.2"}]


def test_network_data_of_a_subnet_without_dhcp_gives_addresses_and_routes(cloud: Cloud) -> None:
    port = SPEC.ports[0]
    fixed = replace(port.subnets[0], dhcp=False)
    cloud.instance = replace(INSTANCE, ports=(replace(port, subnets=(fixed,)),))
    network = ask(cloud, "/openstack/latest/network_data.json").json()["networks"][0]
    assert network["type"] == "ipv4"
    assert (network["ip_address"], network["netmask"]) == ("10.0.0.5", "255.255.255.0")
    assert network["routes"] == [
        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}
    ]


def test_old_openstack_version_lacks_newer_documents(cloud: Cloud) -> None:
    assert ask(cloud, "/openstack/2013-04-04/network_data.json").status_code == 404
    old = ask(cloud, "/openstack/2012-08-10/meta_data.json").json()
    assert "project_id" not in old
    assert "random_seed" not in old
    assert ask(cloud, "/openstack/2099-01-01/meta_data.json").status_code == 404


@pytest.mark.parametrize(
    "path", ["/latest/meta-data/../x", "/nothing", "/latest/meta-data/ami-id/x"]
)
def test_unknown_path_is_404(cloud: Cloud, path: str) -> None:
    assert ask(cloud, path).status_code == 404


def test_wrong_signature_is_403(cloud: Cloud) -> None:
    wrong = sign("guessed", INSTANCE.server_id)
    assert ask(cloud, "/latest", X_Instance_ID_Signature=wrong).status_code == 403
    assert ask(cloud, "/latest", X_Instance_ID_Signature="").status_code == 403
    assert cloud.lookups == 0


@pytest.mark.parametrize("name", ["X_Instance_ID", "X_Tenant_ID", "X_Forwarded_For"])
def test_missing_header_is_400(cloud: Cloud, name: str) -> None:
    assert ask(cloud, "/latest", **{name: ""}).status_code == 400


def test_instance_of_another_project_is_404(cloud: Cloud) -> None:
    assert ask(cloud, "/latest", X_Tenant_ID="c" * 32).status_code == 404


def test_password_can_be_posted_once(cloud: Cloud) -> None:
    path = "/openstack/2013-04-04/password"
    assert ask(cloud, path, "POST", b"x" * 1021).status_code == 400
    assert ask(cloud, path, "POST", b"encrypted").status_code == 200
    assert ask(cloud, path).text == "encrypted"
    assert ask(cloud, path, "POST", b"again").status_code == 409
    assert ask(cloud, "/openstack/latest/meta_data.json", "POST", b"x").status_code == 405


def test_config_drive_says_what_the_service_says(cloud: Cloud) -> None:
    drive = config_drive.files(INSTANCE)
    served = ask(cloud, "/openstack/latest/network_data.json").content
    assert drive["openstack/latest/network_data.json"] == served
    on_drive = json.loads(drive["openstack/latest/meta_data.json"])
    assert on_drive["admin_pass"] == "s3cret-pass"
    assert drive["openstack/latest/user_data"] == b"#!/bin/sh\necho hi\n"
    assert drive["openstack/content/0000"] == b"hello"
    assert json.loads(drive["ec2/latest/meta-data.json"])["instance-id"] == "i-0000002a"
    assert "openstack/latest/vendor_data2.json" in drive
    assert not any(path.endswith("/password") for path in drive)


def test_secrets_are_not_in_the_repr() -> None:
    assert "s3cret-pass" not in repr(SPEC)
    assert "s3cret-pass" not in repr(INSTANCE)
