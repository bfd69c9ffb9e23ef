"""The README's first page on this machine: from `./gureum up` to ssh into a server through its
floating address, with the unmodified client, and nothing left behind after the delete.

The tests build on each other, in this order; run them with `-x` to stop at the first failure.
"""

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import browser, chromium, screenshot
from cloudlab import Failed, Lab, lines, run, wait_for
from nodelab import comes_back

from gureum.cli.test import why_not_real
from gureum.provision import supervisor

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(bool(why_not_real()), reason=why_not_real() or "runs"),
]

BOOT_S = 240.0
"""A guest under software emulation on a busy machine."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab(shlex.split(os.environ.get("GUREUM_REAL_ARGS", "")))
    found = lab.place.exists()
    if found and os.environ.get("CI"):
        lab.gureum("down", "--purge", "--yes", "--keep-packages")
        found = False
    yield lab
    if not found and not os.environ.get("GUREUM_REAL_KEEP"):
        lab.gureum("down", "--purge", "--yes", "--keep-packages")


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A folder that no other run of pytest clears away meanwhile."""
    with tempfile.TemporaryDirectory(prefix="main-job-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def seen() -> dict[str, str]:
    """What an earlier test found and a later one uses."""
    return {}


def test_up_makes_a_cloud(lab: Lab):
    text = lab.gureum("up")
    assert "The cloud is up" in text
    lab.load_environment()
    status = json.loads(lab.gureum("status", "--json"))
    assert status["ok"], status


def test_second_up_changes_nothing_and_is_quick(lab: Lab):
    before = supervisor.running_pid(lab.place.run_dir)
    begun = time.monotonic()
    lab.gureum("up")
    assert time.monotonic() - begun < 30
    assert supervisor.running_pid(lab.place.run_dir) == before


def test_secrets_are_closed_to_other_users_and_not_in_logs(lab: Lab):
    assert lab.place.secrets_file.stat().st_mode & 0o077 == 0
    password = lab.environment["OS_PASSWORD"]
    for path in lab.place.log_dir.glob("*.log"):
        assert password not in path.read_text(errors="replace"), path


def test_control_process_runs_without_root(lab: Lab):
    status = supervisor.read_status(lab.place.run_dir)
    assert status is not None
    control = next(child for child in status.children if child.name == "control")
    assert Path(f"/proc/{control.pid}").stat().st_uid != 0


def test_identity_commands_of_the_front_page(lab: Lab):
    assert lab.openstack("project", "create", "service")["name"] == "service"
    user = ("user", "create", "nova", "--password", "test", "--project", "service")
    assert lab.openstack(*user)["name"] == "nova"
    assert lab.openstack("token", "issue")["project_id"]
    types = {entry["Type"] for entry in lab.openstack("catalog", "list")}
    assert {"identity", "image", "placement", "compute", "network"} <= types
    assert len(lab.openstack("endpoint", "list")) >= 15


def test_hosts_and_agents_are_up(lab: Lab):
    services = lab.openstack("compute", "service", "list")
    assert {row["Binary"] for row in services} >= {"nova-compute", "nova-scheduler"}
    assert all(row["State"] == "up" for row in services), services
    assert len(lab.openstack("hypervisor", "list")) == 1
    agents = lab.openstack("network", "agent", "list")
    assert len(agents) == 4
    assert all(row["Alive"] in (True, ":-)") for row in agents), agents


def test_image_and_flavor_are_created(lab: Lab, work: Path):
    disk = work / "blank.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", str(disk), "16M")
    words = ("image", "create", "blank", "--disk-format", "qcow2", "--container-format", "bare")
    lab.openstack(*words, "--file", str(disk))
    assert lab.openstack("image", "show", "blank")["status"] == "active"
    flavor = ("flavor", "create", "tiny", "--ram", "256", "--disk", "1", "--vcpus", "1")
    assert lab.openstack(*flavor)["ram"] == 256


def test_image_that_is_not_what_it_claims_is_refused(lab: Lab, work: Path):
    bad = work / "bad.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", str(bad), "1M")
    words = ("image", "create", "bad", "--disk-format", "qcow2", "--file", str(bad))
    with pytest.raises(Failed):
        lab.openstack(*words)
    states = [i["Status"] for i in lab.openstack("image", "list") if i["Name"] == "bad"]
    assert "active" not in states
    run_quietly(lab, "image", "delete", "bad")


def run_quietly(lab: Lab, *words: str) -> None:
    """A command whose failure does not matter."""
    try:
        lab.openstack(*words, as_json=False)
    except Failed:
        return


def test_network_with_router_is_made(lab: Lab):
    lab.openstack("network", "create", "net1")
    subnet = ("subnet", "create", "subnet1", "--network", "net1", "--subnet-range", "10.77.0.0/24")
    lab.openstack(*subnet)
    lab.openstack("router", "create", "router1")
    lab.openstack("router", "set", "--external-gateway", "public", "router1", as_json=False)
    lab.openstack("router", "add", "subnet", "router1", "subnet1", as_json=False)
    assert lab.openstack("router", "show", "router1")["external_gateway_info"]


def test_key_pair_and_rules_are_made(lab: Lab, work: Path):
    key = work / "key1.pem"
    text = lab.openstack("keypair", "create", "key1", as_json=False)
    key.write_text(text)
    key.chmod(0o600)
    group = my_default_group(lab)
    for words in (("--protocol", "tcp", "--dst-port", "22"), ("--protocol", "icmp")):
        lab.openstack("security", "group", "rule", "create", *words, group)


def my_default_group(lab: Lab) -> str:
    """The default group of the administrator's own project; others have one too."""
    project = lab.openstack("token", "issue")["project_id"]
    groups = lab.openstack("security", "group", "list", "--project", project)
    return next(group["ID"] for group in groups if group["Name"] == "default")


def test_servers_become_active(lab: Lab, seen: dict[str, str]):
    for name in ("server1", "server2"):
        words = ("server", "create", "--flavor", "g1.small", "--image", "gureum-guest")
        server = lab.openstack(
            *words, "--network", "net1", "--key-name", "key1", "--wait", name, timeout_s=600
        )
        assert server["status"] == "ACTIVE", server
        seen[name] = server["id"]
        ports = lab.openstack("port", "list", "--server", server["id"])
        seen[f"{name} address"] = ports[0]["Fixed IP Addresses"][0]["ip_address"]
        seen[f"{name} port"] = ports[0]["ID"]


def test_ssh_through_the_floating_address(lab: Lab, work: Path, seen: dict[str, str]):
    floating = lab.openstack("floating", "ip", "create", "public")["floating_ip_address"]
    lab.openstack("server", "add", "floating", "ip", "server1", floating, as_json=False)
    seen["floating"] = floating
    key = work / "key1.pem"
    name = wait_for("ssh", lambda: lab.ssh(key, floating, "hostname"), BOOT_S, 3)
    assert name == "server1"


def test_metadata_is_the_servers_own(lab: Lab, work: Path, seen: dict[str, str]):
    key, floating = work / "key1.pem", seen["floating"]
    url = "http://169.254.169.254/openstack/latest/meta_data.json"
    metadata = json.loads(lab.ssh(key, floating, f"curl -s -m 20 {url}"))
    assert metadata["uuid"] == seen["server1"]
    assert metadata["name"] == "server1"


def test_guests_of_a_network_reach_each_other(lab: Lab, work: Path, seen: dict[str, str]):
    command = f"ping -c 3 -W 5 {seen['server2 address']}"
    key, floating = work / "key1.pem", seen["floating"]
    wait_for("ping", lambda: "0% packet loss" in lab.ssh(key, floating, command), BOOT_S, 3)


def test_forbidden_port_stays_closed(lab: Lab, work: Path, seen: dict[str, str]):
    key, floating = work / "key1.pem", seen["floating"]
    listen = "(sudo nc -lk -p 8080 </dev/zero >/dev/null 2>&1 &)"
    lab.ssh(key, floating, listen)
    assert lab.outside_reaches(floating, 22)
    assert not lab.outside_reaches(floating, 8080)
    rule = ("security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "8080")
    lab.openstack(*rule, my_default_group(lab))
    wait_for("port opens", lambda: lab.outside_reaches(floating, 8080), 60)


def test_console_log_shows_the_boot(lab: Lab):
    text = lab.openstack("console", "log", "show", "server1", as_json=False)
    assert len(text.splitlines()) > 10


def test_console_url_leads_to_the_screen(lab: Lab):
    url = lab.openstack("console", "url", "show", "--novnc", "server1")["url"]
    page = run("curl", "-s", "-m", "20", url.split("?")[0]).stdout
    assert "noVNC" in page
    assert read_rfb_greeting(url).startswith(b"RFB 003.")


@pytest.mark.skipif(chromium() is None, reason="chromium is not installed")
def test_screen_is_seen_in_a_browser(lab: Lab):
    url = lab.openstack("console", "url", "show", "--novnc", "server1")["url"]
    with browser() as address:
        png = screenshot(address, url, SCREEN_SHOWS_TEXT, 60)
    picture = os.environ.get("GUREUM_SCREENSHOT")
    if picture:
        Path(picture).write_bytes(png)
    assert png.startswith(b"\x89PNG")


SCREEN_SHOWS_TEXT = """(() => {
    const canvas = document.querySelector("canvas");
    if (!canvas || canvas.width < 300) return "no screen yet";
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let bright = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] > 300) bright++;
    return bright > 200 ? true : `${bright} bright points on ${canvas.width}x${canvas.height}`;
})()"""
"""The guest's text console has drawn letters on the page's canvas."""


def read_rfb_greeting(url: str) -> bytes:
    """Follow the page to its websocket, as a browser does; the first bytes of the screen's protocol."""
    from urllib.parse import parse_qs, unquote, urlsplit

    from websockets.sync.client import connect

    parts = urlsplit(url)
    query = parse_qs(parts.query)
    path = unquote(query.get("path", ["websockify"])[0]).lstrip("/")
    if "token=" not in path:
        path += f"?token={query['token'][0]}"
    origin = f"{parts.scheme}://{parts.netloc}"
    with connect(f"ws://{parts.netloc}/{path}", origin=origin, open_timeout=20) as socket:  # type: ignore[arg-type]
        message = socket.recv(timeout=20)
    return message if isinstance(message, bytes) else message.encode()


def test_guest_survives_down_and_up(lab: Lab, work: Path, seen: dict[str, str]):
    key, floating = work / "key1.pem", seen["floating"]
    boot = lab.ssh(key, floating, "cat /proc/sys/kernel/random/boot_id")
    lab.gureum("down")
    assert lab.ssh(key, floating, "cat /proc/sys/kernel/random/boot_id") == boot
    lab.gureum("up")
    assert lab.ssh(key, floating, "cat /proc/sys/kernel/random/boot_id") == boot
    assert lab.openstack("server", "show", "server1")["status"] == "ACTIVE"


def test_stop_start_and_reboot(lab: Lab, work: Path, seen: dict[str, str]):
    def status() -> str:
        return lab.openstack("server", "show", "server2")["status"]

    lab.openstack("server", "stop", "server2", as_json=False)
    wait_for("SHUTOFF", lambda: status() == "SHUTOFF", 180)
    lab.openstack("server", "start", "server2", as_json=False)
    wait_for("ACTIVE", lambda: status() == "ACTIVE", 180)
    lab.openstack("server", "reboot", "--hard", "--wait", "server2", as_json=False)
    wait_for("ACTIVE", lambda: status() == "ACTIVE", 180)
    events = lab.openstack("server", "event", "list", "server2")
    assert {"create", "stop", "start", "reboot"} <= {event["Action"] for event in events}


def test_audit_finds_nothing_while_servers_run(lab: Lab):
    comes_back(lab)


def test_flavor_that_fits_nowhere_ends_in_error_with_the_reason(lab: Lab):
    huge = ("flavor", "create", "huge", "--ram", "256", "--disk", "900000", "--vcpus", "1")
    lab.openstack(*huge)
    words = ("server", "create", "--flavor", "huge", "--image", "gureum-guest", "--network", "net1")
    lab.openstack(*words, "nowhere")

    def fault() -> str:
        server = lab.openstack("server", "show", "nowhere")
        return server["fault"]["message"] if server["status"] == "ERROR" else ""

    assert "host" in wait_for("ERROR", fault, 120).lower()
    lab.openstack("server", "delete", "--wait", "nowhere", as_json=False)


def test_delete_leaves_nothing_behind(lab: Lab, seen: dict[str, str]):
    lab.openstack("server", "delete", "--wait", "server1", "server2", as_json=False, timeout_s=600)
    wait_for("nothing is left", lambda: not leftovers(lab, seen) or _fail(leftovers(lab, seen)), 90)
    assert leftovers(lab, seen) == []


def _fail(what: list[str]) -> bool:
    raise Failed("; ".join(what))


def leftovers(lab: Lab, seen: dict[str, str]) -> list[str]:
    """Domains, disks, taps, flows, DHCP entries and allocations of the deleted servers."""
    found: list[str] = []
    servers = [seen["server1"], seen["server2"]]
    domains = run("virsh", "-c", "qemu:///system", "list", "--all", "--uuid").stdout
    found += [f"domain {id}" for id in servers if id in domains]
    instances = lab.place.state_dir / "instances"
    found += [f"disk {p}" for p in instances.rglob("*") if any(id in str(p) for id in servers)]
    taps = {f"tap{seen[f'{name} port'][:11]}" for name in ("server1", "server2")}
    devices = {line.split(":")[1].strip().split("@")[0] for line in lines("ip", "-o", "link")}
    found += [f"device {name}" for name in taps & devices]
    bridge = lab.outside.integration_bridge
    ports = set(lines("ovs-vsctl", "list-ports", bridge))
    found += [f"switch port {name}" for name in taps & ports]
    flows = run("ovs-ofctl", "dump-flows", bridge, "-O", "OpenFlow15", check=False).stdout
    addresses = [seen["server1 address"], seen["server2 address"]]
    found += [f"flow with {address}" for address in addresses if address + " " in flows]
    for path in lab.place.state_dir.rglob("*"):
        if path.name in ("host", "hosts", "addn_hosts", "opts") and path.is_file():
            text = path.read_text(errors="replace")
            found += [
                f"{path} has {address}" for address in addresses if address in text.split(",")
            ]
    port_ids = {row["ID"] for row in lab.openstack("port", "list")}
    found += [f"port {seen[f'{n} port']}" for n in ("server1", "server2")
              if seen[f"{n} port"] in port_ids]  # fmt: skip
    usage = allocations(lab)
    found += [f"allocation of {id}" for id in servers if id in usage]
    return found


def allocations(lab: Lab) -> str:
    """Every allocation on every resource provider, as text."""
    import urllib.request

    token = lab.openstack("token", "issue")["id"]
    base = f"http://{lab.options.address}:{8778 + lab.options.port_offset}"
    headers = {"x-auth-token": token, "openstack-api-version": "placement 1.30"}

    def get(path: str) -> str:
        request = urllib.request.Request(base + path, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    providers = json.loads(get("/resource_providers"))["resource_providers"]
    return " ".join(get(f"/resource_providers/{p['uuid']}/allocations") for p in providers)


def test_network_is_taken_down_again(lab: Lab, seen: dict[str, str]):
    lab.openstack("floating", "ip", "delete", seen["floating"], as_json=False)
    lab.openstack("router", "remove", "subnet", "router1", "subnet1", as_json=False)
    lab.openstack("router", "delete", "router1", as_json=False)
    lab.openstack("network", "delete", "net1", as_json=False)

    def namespaces() -> bool:
        names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
        return "qrouter-" not in names.stdout and "qdhcp-" not in names.stdout

    wait_for("namespaces are gone", namespaces, 60)


def test_audit_finds_nothing_at_the_end(lab: Lab):
    comes_back(lab)


def test_doctor_finds_nothing(lab: Lab):
    text = lab.gureum("doctor")
    assert "All is well." in text
