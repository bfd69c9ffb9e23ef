"""`gureum up` as a list of steps, for the real and for the simulated cloud.

Owns: which steps, in which order, with which values. Must not: hold the how; that is in the modules beside.
"""

import contextlib
import os
import pwd
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gureum import components, presets
from gureum.cli import place as places
from gureum.cli import process
from gureum.cli.place import Place
from gureum.core.runner import Runner
from gureum.provision import (
    daemons,
    host,
    network,
    packages,
    runtime,
    seed,
    settings,
    supervisor,
)
from gureum.provision.api import Api, ApiFailed
from gureum.provision.daemons import Daemons
from gureum.provision.ledger import Ledger
from gureum.provision.network import Outside
from gureum.provision.options import InstallOptions
from gureum.provision.steps import Progress, Step, StepFailed

SERVICE_USERS = ("glance", "placement", "nova", "neutron")


@dataclass(slots=True)
class Cloud:
    """One run of `gureum up`: what was asked, and what the steps found out."""

    place: Place
    simulated: bool
    ephemeral: bool = False
    name: str = ""
    port_offset: int = 0
    address: str = "127.0.0.1"
    with_image: bool = True
    with_client: bool = True
    runner: Runner = field(default_factory=Runner)
    python: Path = field(default_factory=lambda: Path(sys.executable))
    source: Path = field(default_factory=process.own_source)
    admin_password: str = ""
    region: str = "RegionOne"
    image_path: Path | None = None
    options: settings.Table = field(default_factory=dict)
    preset: "presets.Preset | None" = None
    distributed: bool = False
    database: str = daemons.MARIADB
    processes: int = 1
    daemon_password: str = ""

    @property
    def ledger(self) -> Ledger:
        """What was changed on this machine so far."""
        return Ledger(self.place.config_dir / "ledger.json")

    @property
    def outside(self) -> Outside:
        """Names and addresses of the provider network."""
        return Outside.named(self.name)

    @property
    def owner(self) -> str | None:
        """The user of the control process; None: whoever calls."""
        return None if self.simulated else host.USER

    @property
    def daemons(self) -> Daemons | None:
        """The servers that `up` runs for a distributed one."""
        if not self.distributed:
            return None
        return Daemons(self.place, self.database, self.port_offset, self.daemon_password)

    @property
    def makeup(self) -> process.Makeup:
        """How its processes are cut."""
        return process.Makeup(self.simulated, self.daemons, self.processes)

    @property
    def auth_url(self) -> str:
        """Keystone's URL for users."""
        return f"http://{self.address}:{5000 + self.port_offset}/v3"


def steps(cloud: Cloud) -> list[Step[Cloud]]:
    """What has to be true for this cloud to run."""
    prepare: list[Step[Cloud]] = [
        Step("machine", lambda c, p: host.check_machine(c.runner)),
        Step("Debian packages", _packages),
        Step("Python packages", lambda c, p: host.link_libvirt_binding(c.runner, p)),
        Step("user", lambda c, p: host.make_user(c.runner, c.ledger, c.place)),
    ]
    system: list[Step[Cloud]] = [
        Step("program", _program),
        Step("libvirt", lambda c, p: host.start_libvirt(c.runner, c.ledger, p)),
        Step("Open vSwitch", lambda c, p: host.start_openvswitch(c.runner, c.ledger, p)),
        Step("provider network", _outside),
    ]
    common: list[Step[Cloud]] = [
        Step("folders", lambda c, p: host.make_folders(c.ledger, c.place, c.owner)),
        Step("settings", _settings),
    ]
    running: list[Step[Cloud]] = [
        Step("processes", _processes),
        Step("APIs", _apis),
        Step("agents", _agents),
        Step("networks and flavors", _resources),
    ]
    if cloud.with_image:
        running.append(Step("guest image", _image))
    if cloud.preset is not None:
        running.append(Step("preset", _preset))
    running.append(Step("clouds.yaml", _clouds_yaml))
    if cloud.with_client:
        running.append(Step("openstack client", _client))
    servers: list[Step[Cloud]] = [Step("servers", _servers)] if cloud.distributed else []
    if cloud.simulated:
        checked = [Step("Debian packages", _server_packages)] if cloud.distributed else []
        return [*checked, *common, *servers, *running]
    return [*prepare, *common, *servers, *system, *running]


def _packages(cloud: Cloud, progress: Progress) -> str:
    needed = [*packages.PACKAGES]
    if cloud.distributed:
        needed += [*daemons.PACKAGES[cloud.database], *daemons.COMMON_PACKAGES]
    return packages.install(cloud.runner, cloud.ledger, progress, needed)


def _server_packages(cloud: Cloud, progress: Progress) -> str:
    """A simulated cloud needs nothing of the system but these. Raises: StepFailed."""
    wanted = daemons.missing(cloud.database)
    if not wanted:
        return f"{cloud.database}, RabbitMQ and memcached are there"
    if os.geteuid() != 0:
        names = " ".join(wanted)
        raise StepFailed(
            f"these Debian packages are missing: {names}",
            f"Install them with: sudo apt-get install --no-install-recommends {names}",
        )
    return packages.install(cloud.runner, cloud.ledger, progress, wanted)


def _servers(cloud: Cloud, progress: Progress) -> str:
    from gureum.provision import databases

    assert cloud.daemons is not None
    return daemons.prepare(cloud.daemons, databases.names(), cloud.runner, progress)


def _program(cloud: Cloud, progress: Progress) -> str:
    cloud.python, cloud.source, text = runtime.prepare(
        cloud.runner, cloud.ledger, cloud.place, host.USER, cloud.source, progress
    )
    if (cloud.source / "gureum").stat().st_uid == os.geteuid():
        progress.at("compiling")  # its user may not write there, and would compile at each start
        words = [str(cloud.python), "-m", "compileall", "-q", str(cloud.source / "gureum")]
        cloud.runner.run(words, timeout_s=120, check=False)
    return text


def _outside(cloud: Cloud, progress: Progress) -> str:
    datapath = host.datapath_type(cloud.runner)
    return network.make(cloud.runner, cloud.ledger, cloud.outside, datapath)


def _settings(cloud: Cloud, progress: Progress) -> str:
    return write_settings(cloud)


def write_settings(cloud: Cloud) -> str:
    """Settings and secrets of a new cloud; those of an old one stay. Returns what was done."""
    shared = settings.new_secret()
    wanted: settings.Table = {
        "install": {"admin_password": cloud.admin_password or settings.new_secret()},
        "nova.metadata": {"metadata_proxy_shared_secret": shared},
        **{f"service_user.{n}": {"password": settings.new_secret()} for n in SERVICE_USERS},
    }
    known = known_options()
    wanted["neutron.metadata_agent"] = {"metadata_proxy_shared_secret": shared}
    for name in SERVICE_USERS:
        if f"{name}.keystone_authtoken" in known:
            password = wanted[f"service_user.{name}"]["password"]
            wanted[f"{name}.keystone_authtoken"] = {"password": password}
    place = cloud.place
    if cloud.distributed:
        wanted["install"]["daemon_password"] = settings.new_secret()
    secrets = settings.complete_secrets(place.secrets_file, wanted, cloud.owner)
    cloud.admin_password = secrets["install"]["admin_password"]
    if cloud.daemons is not None:
        cloud.daemon_password = secrets["install"]["daemon_password"]
        ours = cloud.daemons
        urls: settings.Table = {
            "database": {"connection": ours.database_url},
            "bus": {"transport_url": ours.transport_url},
            "cache": {"secret_key": settings.new_secret()},
        }
        settings.complete_secrets(place.secrets_file, urls, cloud.owner)
    mode = 0o640 if cloud.owner else 0o600
    first = _first_settings(cloud, known)
    for section, values in cloud.options.items():
        first.setdefault(section, {}).update(values)
    made = settings.write_settings(place.config_file, first, cloud.owner, mode=mode)
    return f"{place.config_file} {'written' if made else 'kept'}"


def known_options() -> dict[str, set[str]]:
    """The options of every section, by its path."""
    import dataclasses

    from gureum.core.config import section_of

    return {
        section_of(cls).path: {f.name for f in dataclasses.fields(cls)}
        for cls in components.sections()
    }


def _first_settings(cloud: Cloud, known: dict[str, set[str]]) -> settings.Table:
    """The settings of a new cloud; only options that this version knows."""
    place, outside = cloud.place, cloud.outside
    table: settings.Table = {
        "gureum": {
            "state_dir": str(place.state_dir),
            "run_dir": str(place.run_dir),
            "config_dir": str(place.config_dir),
            "log_dir": str(place.log_dir),
            "region": cloud.region,
            "address": cloud.address,
            "bind_address": cloud.address,
            "port_offset": cloud.port_offset,
        },
        "install": {"name": cloud.name, "simulated": cloud.simulated, "ephemeral": cloud.ephemeral},
        "bus": {"transport_url": f"local://{place.run_dir}/bus.sock"},
    }
    if cloud.simulated:
        # One process; a command such as `gureum audit` joins its bus.
        table["bus"] = {"transport_url": f"local://{place.run_dir}/bus.sock?role=hub"}
        table["nova.compute"] = {"compute_driver": "fake"}
    else:
        if cloud.name:  # another cloud may share libvirtd with this one
            table["nova.libvirt"] = {"instance_name_template": f"{cloud.name}-instance-%08x"}
        datapath = host.datapath_type(cloud.runner)
        mappings = {"physnet1": outside.bridge}
        for section in ("neutron.ovs_agent", "neutron.l3_agent", "neutron.dhcp_agent"):
            table[section] = {
                "integration_bridge": outside.integration_bridge,
                "bridge_mappings": mappings,
                "datapath_type": datapath,
                "local_ip": cloud.address,
            }
    if cloud.distributed:
        assert cloud.daemons is not None
        table["cache"] = {"servers": [cloud.daemons.cache_server]}
        del table["bus"]  # it holds a password and stands among the secrets
        table["install"] |= {
            "distributed": True,
            "database": cloud.database,
            "processes": cloud.processes,
        }
    return {
        section: {key: value for key, value in values.items() if key in known[section]}
        for section, values in table.items()
        if section in known
    }


def _processes(cloud: Cloud, progress: Progress) -> str:
    place = cloud.place
    plan = process.plan(
        place,
        cloud.makeup,
        user=cloud.owner,
        python=cloud.python,
        source=cloud.source,
        stamp=runtime.stamp(
            process.own_source(),
            Path(sysconfig.get_path("purelib")),
            place.config_file,
            place.secrets_file,
        ),
    )
    status = supervisor.read_status(place.run_dir)
    if status is not None:
        path = place.run_dir / supervisor.PLAN_FILE
        crashing = any(child.state == "waiting" for child in status.children)
        if not crashing and supervisor.read_plan(path) == plan:
            return f"run already (supervisor {status.pid})"
        progress.at("stopping the old ones")
        supervisor.stop(place.run_dir)
    try:
        pid = supervisor.start(plan, place.log_dir / "supervisor.log")
    except RuntimeError as error:
        raise StepFailed(str(error), f"Read {place.log_dir / 'supervisor.log'}") from error
    names = ", ".join(child.name for child in plan.children)
    if len(plan.children) > 5:
        names = f"{len(plan.children)} processes"
    return f"{names} under supervisor {pid}"


def _apis(cloud: Cloud, progress: Progress) -> str:
    waiting = {
        name: entry.port + cloud.port_offset
        for name, entry in components.COMPONENTS.items()
        if entry.port is not None and name in components.names(components.CONTROL)
    }
    import httpx  # while the processes start, there is time

    count = len(waiting)
    deadline = time.monotonic() + 120
    with httpx.Client(timeout=5, trust_env=False) as client:
        while waiting:
            # Before our own process is ready, another cloud may be what answers at the port.
            ready = _running(cloud)
            for name, port in list(waiting.items()) if ready else ():
                with contextlib.suppress(httpx.TransportError):
                    url = f"http://{cloud.address}:{port}/readyz"
                    if client.get(url).status_code == 200:
                        del waiting[name]
            if not waiting:
                break
            progress.at("waiting for " + ", ".join(waiting))
            _give_up_early(cloud, deadline, "these do not answer: " + ", ".join(waiting))
            time.sleep(0.05)
    return f"{count} answer at {cloud.address}"


def _running(cloud: Cloud, *names: str) -> bool:
    """Whether children of the supervisor, or those that hold the APIs, have started all they run."""
    status = supervisor.read_status(cloud.place.run_dir)
    if status is None:
        return False
    if cloud.distributed:
        return all(child.state in ("running", "done") for child in status.children)
    wanted = names or (process.SIMULATED if cloud.simulated else process.CONTROL,)
    running = {child.name for child in status.children if child.state == "running"}
    return running.issuperset(wanted)


def _give_up_early(cloud: Cloud, deadline: float, text: str) -> None:
    """Raises: StepFailed when time is up or a process crashes again and again."""
    status = supervisor.read_status(cloud.place.run_dir)
    children = status.children if status else []
    crashing = [c for c in children if c.restarts >= 3]
    gone = supervisor.running_pid(cloud.place.run_dir) is None
    if gone or crashing or time.monotonic() > deadline:
        late = [c for c in children if c.state not in ("running", "done")]
        usual = process.SIMULATED if cloud.simulated else components.CONTROL
        name = next((c.name for c in (*crashing, *late)), usual)
        log = cloud.place.log_dir / f"{name}.log"
        what = f"the process {name} {crashing[0].last_exit}" if crashing else text
        raise StepFailed(what, f"{tail(log)}\n{_read_logs(cloud, name)}")


def _read_logs(cloud: Cloud, *names: str) -> str:
    return f"Read more: {places.command(cloud.place, 'logs', *names, simulated=cloud.simulated)}"


def tail(path: Path, lines: int = 8) -> str:
    """The end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"({path} cannot be read)"


def login(cloud: Cloud) -> Api:
    """A session of the administrator. Raises: StepFailed."""
    api = Api(cloud.auth_url, cloud.admin_password)
    try:
        api.login()
    except ApiFailed as error:
        raise StepFailed(f"admin cannot log in: {error}", _read_logs(cloud)) from error
    return api


def _agents(cloud: Cloud, progress: Progress) -> str:
    """Every node component was heard of: the hypervisor, and the network agents."""
    api = login(cloud)
    names = components.names(components.NODE)
    agents = [name for name in names if name.startswith("neutron-")]
    checks: list[tuple[str, Callable[[], bool]]] = []
    if not cloud.simulated:  # old heartbeats may still count
        checks.append(("the node process", lambda: _running(cloud, process.NODE)))
    if "nova-compute" in names and api.has("compute"):
        checks.append(("nova-compute", lambda: compute_up(api)))
    if agents and api.has("network") and not cloud.simulated:
        checks.append(("network agents", lambda: _network_agents_up(api, len(agents))))
    deadline = time.monotonic() + 120
    for what, up in checks:
        progress.at(f"waiting for {what}")
        while not up():
            _give_up_early(cloud, deadline, f"{what} did not report")
            time.sleep(0.1)
    api.close()
    return "heard of " + ", ".join(what for what, _ in checks) if checks else "none to wait for"


def compute_up(api: Api) -> bool:
    """Whether a compute host was heard of."""
    found = api.get("compute", "/os-services", binary="nova-compute")["services"]
    if not any(service["state"] == "up" for service in found):
        return False
    return bool(api.get("compute", "/os-hypervisors")["hypervisors"])


def _network_agents_up(api: Api, count: int) -> bool:
    agents = api.get("network", "/v2.0/agents")["agents"]
    return sum(1 for agent in agents if agent["alive"]) >= count


def _resources(cloud: Cloud, progress: Progress) -> str:
    api = login(cloud)
    try:
        done = []
        if api.has("compute"):
            flavors = seed.make_flavors(api)
            done.append("" if not flavors else "1 flavor" if flavors == 1 else f"{flavors} flavors")
        if api.has("network"):
            made = seed.make_public_network(api, cloud.outside, "physnet1")
            done.append("network public" if made else "")
    except ApiFailed as error:
        raise StepFailed(str(error), _read_logs(cloud)) from error
    finally:
        api.close()
    if not done:
        return "no service to make them"
    return ", ".join(filter(None, done)) + " made" if any(done) else "there"


def _image(cloud: Cloud, progress: Progress) -> str:
    from gureum.provision import guest

    api = login(cloud)
    try:
        if not api.has("image"):
            return "no image service"
        return guest.provide(cloud.runner, api, cloud.place, progress, simulated=cloud.simulated)
    except ApiFailed as error:
        raise StepFailed(str(error), _read_logs(cloud)) from error
    finally:
        api.close()


def _preset(cloud: Cloud, progress: Progress) -> str:
    assert cloud.preset is not None
    api = login(cloud)
    try:
        made = presets.apply(cloud.preset, api)
    except (ApiFailed, presets.PresetError) as error:
        raise StepFailed(str(error), f"Mend {cloud.preset.name}") from error
    finally:
        api.close()
    return ", ".join(f"{count} {kind}" for kind, count in made.items()) or "nothing was missing"


def _clouds_yaml(cloud: Cloud, progress: Progress) -> str:
    entry = settings.cloud_entry(cloud.auth_url, cloud.admin_password, cloud.region)
    own = cloud.place.state_dir / "clouds.yaml"
    settings.merge_clouds_yaml(own, cloud_name(cloud), entry)
    if not cloud.simulated:
        os.chmod(own, 0o600)
    path, owner = user_clouds_yaml()
    try:
        changed = settings.merge_clouds_yaml(path, cloud_name(cloud), entry, owner)
    except (ValueError, OSError) as error:
        return f"{own} ({error}: left alone)"
    cloud.ledger.note("files", f"clouds.yaml:{path}:{cloud_name(cloud)}")
    return f"{path}: {cloud_name(cloud)} {'set' if changed else 'is there'}"


def cloud_name(cloud: Cloud) -> str:
    """The name of this cloud in clouds.yaml."""
    return f"gureum-{cloud.name}" if cloud.name else "gureum"


def user_clouds_yaml() -> tuple[Path, tuple[int, int] | None]:
    """Where the openstack client of the person at the keyboard looks, and whose file that is."""
    behind_sudo = os.environ.get("SUDO_UID")
    if behind_sudo and os.geteuid() == 0:
        person = pwd.getpwuid(int(behind_sudo))
        home = Path(person.pw_dir) / ".config"
        return home / "openstack" / "clouds.yaml", (person.pw_uid, person.pw_gid)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "openstack" / "clouds.yaml", None


def _client(cloud: Cloud, progress: Progress) -> str:
    from gureum.provision import client

    return client.provide(cloud.runner, progress)


def cloud_from(place: Place, install: InstallOptions, port_offset: int, address: str) -> Cloud:
    """The cloud that lives at a place, as its settings say."""
    return Cloud(
        place,
        simulated=install.simulated,
        ephemeral=install.ephemeral,
        name=install.name,
        distributed=install.distributed,
        database=install.database,
        processes=install.processes,
        daemon_password=install.daemon_password,
        port_offset=port_offset,
        address=address,
        admin_password=install.admin_password,
    )
