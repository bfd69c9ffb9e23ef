#!/usr/bin/env python3
"""Type every image command of `openstack` and `glance` at a simulated cloud, as a newcomer would.

Owns: the sessions, the count. A command that no session types counts as failed, so a new one of a newer
client shows up. Needs python-openstackclient and python-glanceclient beside the project; takes a minute.

usage: tests/compat/try_image_commands.py [--only WORD]
"""

import argparse
import collections
import contextlib
import io
import json
import os
import shlex
import sys
import tempfile
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points, version
from pathlib import Path

from gureum.testing import Cloud

LIMIT_S = 30.0


class Failed(Exception):
    """A command did not do what it should; the text says what it said."""


class Tried:
    """Runs commands in this process, and remembers which did what they should."""

    def __init__(self, only):
        self.outcome = collections.defaultdict(list)
        self._only = only

    def openstack(self, line, expect="", *, as_json=False):
        """Run `openstack LINE`; returns what it printed, read as JSON if asked."""
        from openstackclient import shell

        words = shlex.split(line) + (["-f", "json"] if as_json else [])
        said = self._run("openstack", line, lambda: shell.main(words), expect)
        return json.loads(said) if as_json else said

    def glance(self, line, expect="", *, options=""):
        """Run `glance LINE`; returns what it printed."""
        from glanceclient.shell import OpenStackImagesShell

        words = shlex.split(options) + shlex.split(line)
        return self._run("glance", line, lambda: OpenStackImagesShell().main(words), expect)

    def _run(self, program, line, act, expect):
        out, err, code = io.StringIO(), io.StringIO(), None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = act()
            except SystemExit as end:
                code = end.code
            except Exception:
                code, _ = 1, err.write(traceback.format_exc(limit=-3))
        said = out.getvalue()
        fine = not code and expect in said
        name = _name(program, line)
        self.outcome[name].append(fine)
        if self._only in name or not fine:
            print(f"{'ok    ' if fine else 'FAILED'} {program} {line}", flush=True)
        if not fine:
            print(f"       exit {code}; {err.getvalue()[-1500:]}{said[-600:]}", flush=True)
            raise Failed(line)
        return said


def _name(program, line):
    if program == "glance":
        return f"glance {line.split()[0]}"
    known = [name for name in openstack_commands() if f"{line} ".startswith(f"{name} ")]
    return f"openstack {max(known, key=len)}" if known else f"openstack {line}"


def openstack_commands():
    """Return the image commands of the openstack client."""
    return [point.name.replace("_", " ") for point in entry_points(group="openstack.image.v2")]


def glance_commands():
    """Return the commands of the glance client."""
    from glanceclient.shell import OpenStackImagesShell

    shell = OpenStackImagesShell()
    shell.get_subcommand_parser(2)
    return sorted(set(shell.subcommands) - {"bash_completion"})


class Terminal(io.StringIO):
    """A newcomer's keyboard, at which nobody types: clients do not take it for the bytes of an image."""

    def isatty(self):
        return True


class World:
    """A cloud, a web server with an image on it, and two users' settings."""

    def __init__(self, cloud, folder, url, tried):
        self.cloud, self.folder, self.url, self.tried = cloud, folder, url, tried
        self.project = ""
        self.file = folder / "disk"
        self.file.write_bytes(b"a disk " * 1000)

    def wait(self, id, *, status=None, stores=None):
        """Wait until an image is so."""
        api = self.cloud.connect().image
        deadline = time.monotonic() + LIMIT_S
        while True:
            image = api.get(f"/images/{id}").json()
            shown = set(image.get("stores", "").split(","))
            if (status is None or image["status"] == status) and (not stores or shown == stores):
                return
            if time.monotonic() > deadline:
                tasks = api.get(f"/images/{id}/tasks").text
                raise Failed(f"image {id} is {image['status']} in {shown}: {tasks}")
            time.sleep(0.05)


def openstack_images(w):
    """Images, their bytes, members, tags."""
    o = w.tried.openstack
    made = o(
        f"image create --file {w.file} --disk-format raw --container-format bare --shared"
        " --property os_distro=debian --tag blue first",
        as_json=True,
    )
    assert made["status"] == "active", made
    o("image list", "first")
    o("image list --long --property os_distro=debian --tag blue --sort name:asc", "first")
    o("image show first", "debian")
    o(f"image save --file {w.folder}/saved first")
    assert (w.folder / "saved").read_bytes() == w.file.read_bytes()
    o("image set --property colour=red --min-disk 1 --tag green --name second first")
    o("image show second", "colour='red'")
    o("image unset --property colour --tag blue second")
    said = o("image show second")
    assert "colour" not in said and "blue" not in said
    o("image set --deactivate second")
    o("image show second", "deactivated")
    o("image set --activate second")
    o("image set --protected second")
    o("image set --unprotected second")
    o("image add project second friends", "pending")
    o("image member list second", "pending")
    o(f"image member get second {w.project}", "pending")
    o("image set --accept --project friends second")
    o("image member list second", "accepted")
    o("image remove project second friends")
    o("image set --public second")
    o("image list --public", "second")
    o("image set --hidden second")
    assert "second" not in o("image list")
    o("image list --hidden", "second")
    o("image delete second")
    assert "second" not in o("image list --hidden")


def openstack_imports(w):
    """Staging, every method of import, stores, tasks, the cache."""
    o = w.tried.openstack
    o("image import info", "glance-download")
    o("image stores list", "second")
    o("image create --disk-format raw --container-format bare imported", "queued")
    o(f"image stage --file {w.file} imported")
    o("image import --method glance-direct imported")
    id = o("image show imported", as_json=True)["id"]
    w.wait(id, status="active")
    o("image import --method copy-image imported --store second")
    w.wait(id, stores={"file", "second"})
    for name, options in (
        ("fetched", f"--method web-download --uri {w.url}/image"),
        # Without the interface openstacksdk 4.22 sends neither region nor image.
        (
            "copied",
            f"--method glance-download --remote-region RegionOne --remote-image {id}"
            " --remote-service-interface public",
        ),
    ):
        other = o(f"image create --disk-format raw --container-format bare {name}", as_json=True)[
            "id"
        ]
        o(f"image import {options} {name}")
        w.wait(other, status="active")
    o("image import --method copy-image --all-stores --disallow-failure fetched")
    tasks = o("image task list", as_json=True)
    assert tasks, "no task"
    o(f"image task show {tasks[0]['ID']}", "input")
    o(f"cached image queue {id}")
    o("cached image list", id)
    o(f"cached image delete {id}")
    o(f"cached image queue {id}")
    o("cached image clear --queue")
    o("cached image clear")
    o("image delete imported fetched copied")


def openstack_metadefs(w):
    """Metadata definitions."""
    o = w.tried.openstack
    o("image metadef namespace create --display-name Colours --private colours", "colours")
    o("image metadef namespace list", "colours")
    o("image metadef namespace set --description paint --public --tag bright colours")
    o("image metadef namespace show colours", "paint")
    o("image metadef namespace unset --tag bright colours")
    o("image metadef object create --namespace colours wall", "wall")
    o("image metadef object list colours", "wall")
    o("image metadef object show colours wall", "wall")
    o("image metadef object update --name fence colours wall")
    o("image metadef object show colours fence", "fence")
    schema = json.dumps({"title": "Paint", "type": "string"})
    body = {"name": "gate", "properties": {"paint": json.loads(schema)}}
    image = w.cloud.connect().image
    answer = image.post("/metadefs/namespaces/colours/objects", json=body)
    assert answer.status_code == 201, answer.text
    o("image metadef object property show colours gate paint", "Paint")
    given = f"--title Paint --type string --schema '{schema}'"
    o(f"image metadef property create --name paint {given} colours", "Paint")
    o("image metadef property list colours", "paint")
    o("image metadef property show colours paint", "Paint")
    o("image metadef property set --title Varnish colours paint")
    o("image metadef property show colours paint", "Varnish")
    o("image metadef property delete colours paint")
    o("image metadef resource type list", "OS::Nova::Server")
    o("image metadef resource type association create colours OS::Nova::Server")
    o("image metadef resource type association list colours", "OS::Nova::Server")
    o("image metadef resource type association delete colours OS::Nova::Server")
    o("image metadef object delete colours fence gate")
    o("image metadef namespace delete colours")


def glance_images(w):
    """Images, their bytes, members, tags."""
    g = w.tried.glance
    common = "--disk-format raw --container-format bare"
    id = _id(
        g(f"image-create --name one {common} --property a=b --file {w.file} --visibility shared")
    )
    g("image-list", "one")
    g("image-list --property-filter a=b --sort name:asc --include-stores", "file")
    g(f"image-show {id}", "active")
    g(f"image-show --human-readable {id}", "6.8kB")
    g(f"image-download --file {w.folder}/down {id}")
    assert (w.folder / "down").read_bytes() == w.file.read_bytes()
    g(f"image-update --name two --property c=d --remove-property a --min-ram 1 {id}", "two")
    g(f"image-tag-update {id} blue")
    g(f"image-show {id}", "blue")
    g(f"image-tag-delete {id} blue")
    g(f"image-deactivate {id}")
    g(f"image-reactivate {id}")
    g(f"member-create {id} {w.project}", "pending")
    g(f"member-list --image-id {id}", w.project)
    g(f"member-get {id} {w.project}", "pending")
    g(f"member-update {id} {w.project} accepted", "accepted")
    g(f"member-delete {id} {w.project}")
    g("usage", "image_count_total")
    g("explain image", "min_disk")
    g("explain metadefs/object", "properties")
    other = _id(g(f"image-create --name three {common}"))
    g(f"image-upload --file {w.file} {other}")
    g(f"image-show {other}", "active")
    g(f"image-delete {id} {other}")
    g("help image-create", "usage")
    g("bash-completion", "image-list")


def glance_imports(w):
    """Imports, stores, locations, tasks, the cache."""
    g = w.tried.glance
    common = "--disk-format raw --container-format bare"
    g("import-info", "web-download")
    g("stores-info --detail", "second")
    id = _id(g(f"image-create --name staged {common}"))
    g(f"image-stage --file {w.file} {id}")
    g(f"image-import --import-method glance-direct {id}")
    w.wait(id, status="active")
    g(f"image-tasks {id}", "success")
    g(f"image-import --import-method copy-image --stores second {id}")
    w.wait(id, stores={"file", "second"})
    g(f"stores-delete --store second {id}")
    w.wait(id, stores={"file"})
    ids = [id]
    for options in (
        f"--import-method glance-direct --file {w.file}",
        f"--import-method web-download --uri {w.url}/image --all-stores True",
        f"--import-method glance-download --remote-region RegionOne --remote-image-id {id}",
    ):
        ids.append(_id(g(f"image-create-via-import --name made {common} {options}")))
        w.wait(ids[-1], status="active")
    last = _id(g(f"image-create --name placed {common}"))
    g(f"add-location --url {w.url}/image {last}")
    w.wait(last, status="active")
    placed = _id(g(f"image-create --name owned {common}"))
    g(f"location-add --url {w.url}/image --metadata '{{}}' {placed}", "active")
    g(f"location-add --url {w.url}/other {placed}")
    g(f'location-update --url {w.url}/image --metadata \'{{"a": "b"}}\' {placed}')
    g(f"location-delete --url {w.url}/other {placed}")
    given = {
        "import_from": f"{w.url}/image",
        "import_from_format": "raw",
        "image_properties": {"disk_format": "raw", "container_format": "bare", "name": "by-task"},
    }
    task = _id(g(f"task-create --type import --input '{json.dumps(given)}'"))
    g("task-list", task)
    g(f"task-show {task}", "import")
    direct = (
        f"--os-image-url {w.cloud.connect().image.get_endpoint().rstrip('/').removesuffix('/v2')}"
    )
    g(f"cache-queue {id}", options=direct)
    g("cache-list", id, options=direct)
    g(f"cache-delete {id}", options=direct)
    g("cache-clear --target both", options=direct)
    g("cache-prune", options=direct)
    g("cache-clean", options=direct)
    g(f"cache-nodes-list {id}", options=direct)
    g(f"image-delete {' '.join([*ids, last, placed])}")


def glance_metadefs(w):
    """Metadata definitions."""
    g = w.tried.glance
    g("md-namespace-create --display-name Paints --visibility private paints", "paints")
    g("md-namespace-list", "paints")
    g("md-namespace-show paints", "Paints")
    g("md-namespace-update --description wet paints", "wet")
    schema = json.dumps({"title": "Paint", "type": "string"})
    g(
        f"md-property-create --name paint --title Paint --type string --schema '{schema}' paints",
        "Paint",
    )
    g("md-property-list paints", "paint")
    g("md-property-show paints paint", "Paint")
    oil = schema.replace("Paint", "Oil")
    g(f"md-property-update --title Oil --schema '{oil}' paints paint", "Oil")
    g("md-property-delete paints paint")
    inner = json.dumps({"properties": {"paint": json.loads(schema)}})
    g(f"md-object-create --name wall --schema '{inner}' paints", "wall")
    g("md-object-list paints", "wall")
    g("md-object-show paints wall", "wall")
    g("md-object-property-show paints wall paint", "Paint")
    g("md-object-update --name fence paints wall", "fence")
    g("md-object-delete paints fence")
    g("md-resource-type-list", "OS::Nova::Server")
    g("md-resource-type-associate --name OS::Nova::Server --prefix p_ paints", "p_")
    g("md-namespace-resource-type-list paints", "OS::Nova::Server")
    g("md-resource-type-deassociate paints OS::Nova::Server")
    g("md-tag-create --name matt paints", "matt")
    g("md-tag-create-multiple --names x,matt paints", "x")
    g("md-tag-list paints", "matt")
    g("md-tag-show paints matt", "matt")
    g("md-tag-update --name shiny paints matt", "shiny")
    g("md-tag-delete paints shiny")
    g("md-namespace-tags-delete paints")
    g("md-namespace-objects-delete paints")
    g("md-namespace-properties-delete paints")
    g("md-namespace-delete paints")
    whole = w.folder / "namespace.json"
    properties = {"paint": json.loads(schema)}
    whole.write_text(json.dumps({"namespace": "whole", "properties": properties}))
    g(f"md-namespace-import --file {whole}", "whole")
    g("md-property-list whole", "paint")
    g("md-namespace-delete whole")


def _id(said):
    """Return the id in a table that the glance client printed."""
    for line in said.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1] == "id":
            return cells[2]
    raise Failed(f"no id in {said[:200]}")


@contextlib.contextmanager
def web():
    """Serve one image."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "70")
            self.end_headers()
            self.wfile.write(b"from afar " * 7)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SESSIONS = (
    openstack_images,
    openstack_imports,
    openstack_metadefs,
    glance_images,
    glance_imports,
    glance_metadefs,
)


def main():
    """Run all sessions and print what passed; the exit status is 1 when anything did not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", default="", metavar="WORD", help="sessions with this in their name"
    )
    args = parser.parse_args()
    tried = Tried(args.only or "\0")
    with web() as port, tempfile.TemporaryDirectory(prefix="gureum-commands-") as folder:
        options = {
            "glance": {
                "enabled_backends": ["file:file", "second:file", "web:http"],
                "default_backend": "file",
                "show_multiple_locations": True,
                "show_image_direct_url": True,
            },
            "glance.backend.file": {"filesystem_store_datadir": f"{folder}/file"},
            "glance.backend.second": {"filesystem_store_datadir": f"{folder}/second"},
            "glance.import_filtering_opts": {
                "allowed_ports": [port],
                "allowed_private_networks": ["127.0.0.0/8"],
            },
        }
        with Cloud(options=options) as cloud:
            os.environ.update(cloud.environ())
            sys.stdin = Terminal()
            w = World(cloud, Path(folder), f"http://127.0.0.1:{port}", tried)
            w.project = (
                cloud.connect().identity.create_project(name="friends", domain_id="default").id
            )
            for session in SESSIONS:
                if args.only in session.__name__:
                    try:
                        session(w)
                    except (Failed, AssertionError) as error:
                        print(f"session {session.__name__} ended: {error}"[:1000], flush=True)
    return _report(tried, args.only)


def _report(tried, only):
    missed = 0
    programs = (
        ("openstack", "python-openstackclient", openstack_commands()),
        ("glance", "python-glanceclient", glance_commands()),
    )
    for program, package, names in programs:
        names = [f"{program} {name}" for name in names]
        passed = [name for name in names if tried.outcome.get(name) and all(tried.outcome[name])]
        print(f"{program} ({package} {version(package)}): {len(passed)} of {len(names)} commands")
        left = sorted(set(names) - set(passed))
        missed += len(left)
        if left and not only:
            print("  not passed:", ", ".join(left))
    return 1 if missed and not only else 0


if __name__ == "__main__":
    sys.exit(main())
