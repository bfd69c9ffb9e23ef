"""Every saga of Glance passes every disturbance of the generic harness: nothing is left, nothing twice."""

import gzip
import shutil
from dataclasses import replace

import pytest
from glance_cloud import MemoryStore, build, sha512
from web import Web

from gureum.core.saga.testing import HandClock, SagaCase, check, scenarios
from gureum.glance import sagas
from gureum.glance.config import ImportOptions
from gureum.glance.drivers.fetch import Filters
from gureum.glance.drivers.http import HttpStore
from gureum.glance.inspector.convert import Converter
from gureum.glance.store import locations

CONTENT = b"what is in the image" * 100
PLUGINS = ImportOptions(
    image_import_plugins=["image_decompression", "image_conversion"], output_format="qcow2"
)


class Copying(Converter):
    """Stands for qemu-img: the bytes stay."""

    def convert(self, source, format, target, new, most_bytes):
        shutil.copyfile(source, target)


class GlanceCase(SagaCase):
    """An image service with two stores, and a web server."""

    web: Web
    options = {"imports": PLUGINS}

    def __init__(self, directory, web):
        self.web = web
        filters = Filters(allowed_ports=(web.port,), networks=("127.0.0.0/8",))
        self.cloud = build(
            directory,
            filters=filters,
            resolver=lambda host, port: ["127.0.0.1"],
            more_stores=[MemoryStore(name="second")],
            **self.options,
        )
        deps = self.cloud.deps
        deps.stores._by_name["web"] = HttpStore(deps.fetcher, "web")
        deps.stores._order.append(deps.stores._by_name["web"])
        self.deps = replace(deps, converter=Copying())
        self.deps.sagas.clock = self.clock = HandClock()
        self.database, self.store = deps.db, deps.sagas
        self.others = [saga for saga in sagas.ALL if saga is not self.saga]
        self.image = self.prepare()

    def mend(self):
        return self.cloud.reconcile()

    def saga_of(self, id):
        with self.database.read() as tx:
            return self.store.of_resource(tx, id)[0].id

    def state(self):
        shown = self.cloud.show(self.image["id"])
        with self.database.read() as tx:
            places = sorted(place.store for place in locations.every(tx, self.image["id"]))
        return shown, places

    def effects(self):
        """Whatever is outside the database."""
        id, found = self.image["id"], []
        found += [f"staged {key}" for key in self.cloud.staged()]
        found += [f"unpublished: {self.cloud.unpublished()}"] * bool(self.cloud.unpublished())
        for store in ("file", "second"):
            found += [f"bytes in {store}"] * (self.deps.stores[store].size(id) is not None)
        return found

    def task(self):
        path = f"/v2/images/{self.image['id']}/tasks"
        return self.cloud.call("GET", path).json()["tasks"][0]


class ImportCase(GlanceCase):
    saga = sagas.IMPORT
    content = CONTENT

    def prepare(self):
        image = self.cloud.create()
        packed = gzip.compress(CONTENT)
        assert self.cloud.upload(image["id"], packed, verb="stage").status == 204
        return image

    def submit(self):
        answer = self.cloud.import_image(self.image["id"], all_stores=True)
        assert answer.status == 202, answer.body
        return self.saga_of(self.image["id"])

    def missing(self):
        shown, places = self.state()
        found = [f"not {name}" for name in ("file", "second") if name not in places]
        if (shown["status"], shown["os_hash_value"]) != ("active", sha512(CONTENT)):
            found.append(f"status {shown['status']}")
        if shown["disk_format"] != "qcow2" or shown["os_glance_importing_to_stores"]:
            found.append(str(shown))
        if self.effects() != ["bytes in file", "bytes in second"]:
            found.append(str(self.effects()))
        if self.task()["status"] != "success":
            found.append("the task has not succeeded")
        return found

    def leftovers(self):
        shown, places = self.state()
        left = [*self.effects(), *places]
        if shown["status"] != "queued" or shown["size"] is not None:
            left.append(f"image is {shown['status']}")
        if shown.get("os_glance_failed_import") != "file,second":
            left.append("nobody says that the import failed")
        if shown["os_glance_importing_to_stores"] or self.task()["status"] != "failure":
            left.append(f"the import seems to go on: {self.task()}")
        return left


class DownloadCase(ImportCase):
    options = {"imports": PLUGINS}

    def prepare(self):
        self.web.pages["/image"] = CONTENT
        return self.cloud.create()

    def submit(self):
        details = {"uri": self.web.url("/image")}
        answer = self.cloud.import_image(
            self.image["id"], "web-download", details=details, all_stores=True
        )
        assert answer.status == 202, answer.body
        return self.saga_of(self.image["id"])


class CopyCase(GlanceCase):
    saga = sagas.IMPORT
    never = frozenset({"unpack", "convert"})

    def prepare(self):
        return self.cloud.active(CONTENT)

    def submit(self):
        answer = self.cloud.import_image(
            self.image["id"], "copy-image", stores=["second"], token="ops:admin"
        )
        assert answer.status == 202, answer.body
        return self.saga_of(self.image["id"])

    def missing(self):
        shown, places = self.state()
        found = (shown["status"], shown["stores"], places, self.effects())
        bytes_of = ["bytes in file", "bytes in second"]
        wanted = ("active", "file,second", ["file", "second"], bytes_of)
        return [] if found == wanted else [str(found)]

    def leftovers(self):
        shown, places = self.state()
        found = (shown["status"], shown["os_hash_value"], places, self.effects())
        wanted = ("active", sha512(CONTENT), ["file"], ["bytes in file"])
        return [] if found == wanted else [str(found)]


class LocationCase(GlanceCase):
    saga = sagas.ADD_LOCATION
    validation = {}

    def prepare(self):
        self.web.pages["/image"] = CONTENT
        return self.cloud.create()

    def submit(self):
        body = {"url": self.web.url("/image"), "validation_data": self.validation}
        answer = self.cloud.call("POST", f"{self.image['self']}/locations", body)
        assert answer.status == 202, answer.body
        return self.saga_of(self.image["id"])

    def missing(self):
        shown, places = self.state()
        found = (shown["status"], shown["os_hash_value"], shown["size"], places, self.effects())
        wanted = ("active", sha512(CONTENT), len(CONTENT), ["web"], [])
        return [] if found == wanted else [str(found)]

    def leftovers(self):
        shown, places = self.state()
        found = (shown["status"], shown["os_hash_value"], shown["size"], places, self.effects())
        wanted = ("queued", None, None, [], [])
        return [] if found == wanted else [str(found)]


class CheckedLocationCase(LocationCase):
    validation = {"os_hash_algo": "sha512", "os_hash_value": sha512(CONTENT)}


CASES = [ImportCase, DownloadCase, CopyCase, LocationCase, CheckedLocationCase]


def is_quick(scenario):
    """Whether a scenario belongs to the quick tests: each case once without disturbance."""
    return str(scenario) == "run"


@pytest.fixture(scope="module")
def web():
    made = Web()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("case", "scenario"),
    [
        pytest.param(
            case,
            scenario,
            id=f"{case.__name__}-{scenario}",
            marks=() if is_quick(scenario) else pytest.mark.slow,
        )
        for case in CASES
        for scenario in scenarios(case.saga, never=case.never)
    ],
)
def test_saga_survives(case, scenario, tmp_path, web):
    check(case(tmp_path, web), scenario)


def test_every_saga_has_a_case():
    assert {case.saga for case in CASES} == set(sagas.ALL)
