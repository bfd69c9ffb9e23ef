"""A whole simulated cloud in this process.

Owns: its folder, ports, start and end; the ways in for a test. Must not: start a process, need root or
change anything outside its folder.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from gureum import components, presets
from gureum.cli import place as places
from gureum.cli.logfile import LogFile
from gureum.core import log
from gureum.core.config import CloudOptions, Config
from gureum.core.faults import FaultBook, SimulatedOptions
from gureum.core.listen import AddressInUse
from gureum.core.run import Component, Process, Runtime
from gureum.provision import cloud as clouds
from gureum.provision import guest, host, seed, settings
from gureum.provision.api import Api, ApiFailed
from gureum.provision.databases import bootstrap_all, migrate_all
from gureum.testing.folders import Folder
from gureum.testing.ports import ANY_PORTS, NoPorts, free_offset, refuse_taken

if TYPE_CHECKING:
    from openstack.connection import Connection

START_S = 60.0
CHEAP_HASHES: settings.Table = {"keystone": {"hash_time_cost": 1, "hash_memory_kib": 8192}}
"""Passwords of a cloud that ends with the test guard nothing."""


class CloudFailed(Exception):
    """The cloud could not be started, or not be filled; the text says why."""


class Cloud:
    """A simulated cloud, from nothing. A context manager; `start` and `stop` do the same.

    preset: a file or a mapping of what it holds (see docs/simulated.md). port_offset: added to every
    API port; ANY_PORTS takes free ones. options: settings by section, such as
    {"simulated": {"delays": {"spawn": 0.5}}}. seeded: whether it holds the network, the image and the
    flavors that `gureum up` makes. state_dir: where it lives; it must be new, and is gone at the end.
    log_level: write a log in that folder instead of handing lines to Python's logging.
    """

    def __init__(
        self,
        *,
        preset: str | Path | Mapping[str, Any] | None = None,
        port_offset: int = ANY_PORTS,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        admin_password: str = "",
        seeded: bool = True,
        state_dir: str | Path | None = None,
        address: str = "127.0.0.1",
        log_level: str = "",
    ) -> None:
        self._preset = presets.read(preset) if preset is not None else None
        self._offset = port_offset
        self._options = dict(options or {})
        self._seeded = seeded
        self._state_dir = Path(state_dir).absolute() if state_dir else None
        self._address = address
        self._log_level = log_level
        self._folder: Folder | None = None
        self._process: Process | None = None
        self.admin_password = admin_password
        self.cloud: clouds.Cloud | None = None
        self.seconds = 0.0

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> "Cloud":
        """Start every component, and make what the cloud holds. Raises: CloudFailed."""
        begun = time.monotonic()
        tries = 1 if self._offset != ANY_PORTS else 5
        try:
            for attempt in range(1, tries + 1):
                try:
                    self._begin(free_offset() if self._offset == ANY_PORTS else self._offset)
                    break
                except (AddressInUse, NoPorts) as error:
                    self._end()
                    if attempt == tries:
                        raise CloudFailed(str(error)) from error
            self._fill()
        except BaseException:
            self.stop()
            raise
        self.seconds = time.monotonic() - begun
        return self

    def stop(self) -> None:
        """End everything; nothing is left. A second time is fine."""
        self._end()

    def __enter__(self) -> "Cloud":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _begin(self, offset: int) -> None:
        self._folder = self._make_folder()
        place = places.under(
            self._folder.path / "cloud" if not self._state_dir else self._state_dir
        )
        self.cloud = clouds.Cloud(
            place,
            simulated=True,
            ephemeral=True,
            port_offset=offset,
            address=self._address,
            admin_password=self.admin_password,
            options={**CHEAP_HASHES, **{name: dict(v) for name, v in self._options.items()}},
        )
        if len(str(place.run_dir / "bus.sock")) > 100:
            raise CloudFailed(f"{place.state_dir} is too long a path for Unix sockets")
        place.config_dir.mkdir(parents=True)
        host.make_folders(self.cloud.ledger, place, None)
        if self._log_level:
            log.setup(self._log_level, LogFile(place.log_dir / "simulated.log"))
        clouds.write_settings(self.cloud)
        config = places.read_config(place)
        self.cloud.region = config.get(CloudOptions).region
        refuse_taken(self._address, offset)
        runtime = Runtime(config, name="simulated")
        loaded: list[Component] = [components.load(n) for n in components.simulated_names()]
        self._process = Process(runtime, loaded)
        migrate_all(runtime)
        bootstrap_all(runtime)
        self._process.start()

    def _make_folder(self) -> Folder:
        if self._state_dir is not None:
            if self._state_dir.exists():
                raise CloudFailed(
                    f"{self._state_dir} is there already; an ephemeral cloud needs a new folder"
                )
            self._state_dir.parent.mkdir(parents=True, exist_ok=True)
        return Folder()

    def _fill(self) -> None:
        cloud = self._running()
        api = Api(cloud.auth_url, cloud.admin_password)
        try:
            api.login()
            self._wait_for_hosts(api)
            if self._seeded:
                seed.make_flavors(api)
                seed.make_public_network(api, cloud.outside, "physnet1")
                guest.provide_blank(api, cloud.place)
            if self._preset is not None:
                presets.apply(self._preset, api)
        except (ApiFailed, presets.PresetError) as error:
            raise CloudFailed(str(error)) from error
        finally:
            api.close()
        entry = settings.cloud_entry(cloud.auth_url, cloud.admin_password, cloud.region)
        settings.merge_clouds_yaml(self.clouds_yaml, "gureum", entry)

    @staticmethod
    def _wait_for_hosts(api: Api) -> None:
        deadline = time.monotonic() + START_S
        while not clouds.compute_up(api):
            if time.monotonic() > deadline:
                raise CloudFailed("no compute host reported")
            time.sleep(0.02)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()
        self.forget()

    def forget(self) -> None:
        """Remove its folder, whether it runs or not."""
        folder, self._folder = self._folder, None
        if folder is not None:
            if self._state_dir is not None and self.cloud is not None:
                shutil.rmtree(self._state_dir, ignore_errors=True)
            folder.remove()

    # --- ways in -------------------------------------------------------------------------------

    def _running(self) -> clouds.Cloud:
        if self.cloud is None or self._process is None:
            raise CloudFailed("the cloud does not run; call start() or use `with`")
        return self.cloud

    @property
    def runtime(self) -> Runtime:
        """What its components were handed: settings, databases, the bus."""
        self._running()
        return cast(Process, self._process).runtime

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.runtime.config

    @property
    def state_dir(self) -> Path:
        """Its folder; `gureum status --state-dir` and the like take it."""
        return self._running().place.state_dir

    @property
    def auth_url(self) -> str:
        """Keystone's URL."""
        return self._running().auth_url

    @property
    def clouds_yaml(self) -> Path:
        """A clouds.yaml with the entry `gureum`, for tools that read one."""
        return self.state_dir / "clouds.yaml"

    @property
    def faults(self) -> FaultBook:
        """What is to go wrong: `faults.fail("spawn", nth=3)`, `delay`, `silence`, `clear`."""
        return FaultBook(Path(self.config.get(SimulatedOptions).faults_file))

    def environ(self, username: str = "", password: str = "", project: str = "") -> dict[str, str]:
        """The OS_ variables of a user (admin by default), for a command that a test starts."""
        cloud = self._running()
        return {
            "OS_AUTH_URL": cloud.auth_url,
            "OS_USERNAME": username or "admin",
            "OS_PASSWORD": password or cloud.admin_password,
            "OS_PROJECT_NAME": project or "admin",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": cloud.region,
            "OS_IDENTITY_API_VERSION": "3",
            "OS_INTERFACE": "public",
        }

    def connect(
        self, username: str = "", password: str = "", project: str = "", **more: Any
    ) -> "Connection":
        """An openstacksdk Connection of a user; of admin by default."""
        import openstack

        given = self.environ(username, password, project)
        words: dict[str, Any] = {name[3:].lower(): value for name, value in given.items()}
        del words["identity_api_version"]
        return openstack.connection.Connection(**words, identity_api_version="3", **more)
