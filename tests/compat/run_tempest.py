#!/usr/bin/env python3
"""Run a part of the acceptance list of Tempest and its plugins against a running cloud.

Owns: the virtual environment of the suites, the rendered configuration, the filter by prefix, the count.
Must not: change a test, or turn an option off to hide a failure. The templates and lists come from a folder
that the caller names; a test that did not run although it was asked for counts as failed.

usage: eval "$(./gureum openrc)"; tests/compat/run_tempest.py CONFORMANCE PREFIX… [--set KEY=VALUE …]
"""

import argparse
import collections
import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).parent
_PLACEHOLDER = re.compile(r"@([A-Z0-9_]+)@")
_READ_RESULTS = """
import json, sys
import subunit
from testtools import StreamResult

class Seen(StreamResult):
    def status(self, test_id=None, test_status=None, file_name=None, file_bytes=None, **rest):
        if test_id is None:
            return
        entry = found.setdefault(test_id, {"status": None, "details": ""})
        if test_status not in (None, "inprogress"):
            entry["status"] = test_status
        if file_name in ("traceback", "reason") and file_bytes:
            entry["details"] += bytes(file_bytes).decode("utf-8", "replace")

found = {}
subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout").run(Seen())
json.dump(found, sys.stdout)
"""


def main() -> int:
    """Run and print a table; the exit status is 1 when anything failed."""
    args = _arguments()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    bin_dir = _environment(args.venv.resolve(), args.requirements)
    wanted = [
        line
        for line in (args.conformance / "lists" / args.list).read_text().split()
        if line.startswith(tuple(args.prefix or [""]))
    ]
    if not wanted:
        print("no test of the list begins so", file=sys.stderr)
        return 2
    workspace = work / "workspace"
    if not (workspace / "etc").is_dir():
        init = ["init", "--workspace-path", work / "workspaces.yaml", workspace]
        _run([bin_dir / "tempest", *init], cwd=work, stdout=subprocess.DEVNULL)
    values = _settings(workspace, args.set)
    _render(args.conformance / "tempest.conf.in", workspace / "etc" / "tempest.conf", values)
    load_list = work / "load-list"
    load_list.write_text("\n".join(wanted) + "\n")
    command = [bin_dir / "tempest", "run", "--workspace-path", work / "workspaces.yaml"]
    command += ["--load-list", load_list, "--concurrency", str(args.concurrency)]
    with (work / "run.log").open("w") as log, _inside(args.inside, values, work) as inside:
        subprocess.run([*inside, *command], cwd=workspace, stdout=log, stderr=log, check=False)
    results = _results(bin_dir, workspace)
    outcome = {test: _outcome(test, results) for test in wanted}
    _write(work, outcome, results, args.depth)
    return 1 if "failed" in outcome.values() else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conformance", type=Path, help="folder with tempest.conf.in and lists/")
    parser.add_argument("prefix", nargs="*", help="run only tests that begin so")
    parser.add_argument("--list", default="acceptance.load-list")
    parser.add_argument("--work", type=Path, default=Path("/tmp/gureum-tempest"))
    parser.add_argument("--venv", type=Path, default=Path("/tmp/gureum-tempest/venv"))
    parser.add_argument("--requirements", type=Path, default=HERE / "tempest-requirements.txt")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--depth", type=int, default=0, help="parts of a name that make a row")
    parser.add_argument(
        "--inside",
        metavar="NAMESPACE",
        help="run the suites in this network namespace, such as `external`, where floating IPs are reached",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _run(command: Sequence[Any], **more: Any) -> None:
    subprocess.run([str(part) for part in command], check=True, **more)


@contextlib.contextmanager
def _inside(namespace: str | None, values: Mapping[str, str], work: Path) -> Iterator[list[str]]:
    """Give the words that run a command in a namespace; the cloud's ports are carried into it."""
    if namespace is None:
        yield []
        return
    prefix = ["ip", "netns", "exec", namespace]
    near: list[str] = []
    far: list[str] = []
    for host, port in sorted(_ports(values)):
        path = work / f"port-{port}"
        path.unlink(missing_ok=True)
        near += [f"unix:{path}", f"tcp:{host}:{port}"]
        far += [f"tcp:{host}:{port}", f"unix:{path}"]
    carriers = [
        subprocess.Popen([*words, sys.executable, str(HERE / "forward.py"), *pairs])
        for words, pairs in (([], near), (prefix, far))
    ]
    try:
        yield prefix
    finally:
        for carrier in carriers:
            carrier.terminate()
            carrier.wait()


def _ports(values: Mapping[str, str]) -> set[tuple[str, int]]:
    """Return host and port of Keystone and of everything that the catalogue names."""
    _, catalog = _token(values)
    urls = [end["url"] for service in catalog for end in service["endpoints"]]
    parts = [urlsplit(url) for url in [*urls, values["AUTH_URL"]]]
    return {(part.hostname or "127.0.0.1", part.port or 80) for part in parts}


def _environment(venv: Path, requirements: Path) -> Path:
    if not (venv / "bin" / "tempest").exists():
        _run([sys.executable, "-m", "venv", venv])
        _run([venv / "bin" / "pip", "install", "-q", "-r", requirements])
    return venv / "bin"


# -- settings --------------------------------------------------------------------------------------


def _settings(workspace: Path, given: Sequence[str]) -> dict[str, str]:
    """Return values of placeholders: what was given, then what the cloud itself tells."""
    env = os.environ
    values = {
        "AUTH_URL": env["OS_AUTH_URL"],
        "ADMIN_USER": env["OS_USERNAME"],
        "ADMIN_PASSWORD": env["OS_PASSWORD"],
        "ADMIN_PROJECT": env["OS_PROJECT_NAME"],
        "REGION": env.get("OS_REGION_NAME", "RegionOne"),
        "LOG_DIR": str(workspace / "logs"),
        "LOCK_DIR": str(workspace / "tempest_lock"),
        "TLS_INSECURE": "false",
        "ENCRYPTED_VOLUMES": "false",
        "UNIFIED_LIMITS": "false",
        "BARBICAN": "false",
        "GUEST_USER": "gureum",  # of the image that `up` builds and uploads
        "GUEST_PASSWORD": "gureum",
        "PHYSNET": "physnet1",
        "LB_NOOP": "false",
    }
    values.update(_discover(values))
    values.update(pair.split("=", 1) for pair in given)
    return values


def _token(values: Mapping[str, str]) -> tuple[str, list[dict[str, Any]]]:
    """Return a token of the administrator and its catalogue."""
    domain = {"name": os.environ.get("OS_USER_DOMAIN_NAME", "Default")}
    user = {"name": values["ADMIN_USER"], "password": values["ADMIN_PASSWORD"], "domain": domain}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": values["ADMIN_PROJECT"], "domain": domain}},
    }
    body = json.dumps({"auth": auth}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{values['AUTH_URL']}/auth/tokens", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["X-Subject-Token"], json.load(answer)["token"]["catalog"]


def _discover(values: Mapping[str, str]) -> dict[str, str]:
    token, catalog = _token(values)
    urls = {
        service["type"]: endpoint["url"].rstrip("/")
        for service in catalog
        for endpoint in service["endpoints"]
        if endpoint["interface"] == "public"
    }

    def get(kind: str, path: str, key: str) -> list[dict[str, Any]]:
        if kind not in urls:
            return []
        asked = urllib.request.Request(urls[kind] + path, headers={"X-Auth-Token": token})
        try:
            with urllib.request.urlopen(asked, timeout=30) as reply:
                return list(json.load(reply)[key])
        except (urllib.error.URLError, KeyError, ValueError):
            return []

    found: dict[str, str] = {}
    for number, image in enumerate(get("image", "/v2/images?status=active&sort=name:asc", "images")):
        if number < 2:
            found["IMAGE_ALT_ID" if number else "IMAGE_ID"] = image["id"]
            found.setdefault("IMAGE_ALT_ID", image["id"])
            found.setdefault("IMAGE_NAME", image["name"])
    flavors = sorted(get("compute", "/flavors/detail", "flavors"), key=lambda f: (f["ram"], f["disk"]))
    for key, flavor in zip(("FLAVOR_ID", "FLAVOR_ALT_ID"), flavors, strict=False):
        found[key] = flavor["id"]
        found.setdefault("FLAVOR_NAME", flavor["name"])
    for network in get("network", "/v2.0/networks?router:external=true", "networks")[:1]:
        found.update(PUBLIC_NETWORK_ID=network["id"], PUBLIC_NETWORK_NAME=network["name"])
    aliases = [item["alias"] for item in get("network", "/v2.0/extensions", "extensions")]
    if aliases:
        found["NETWORK_EXTENSIONS"] = ",".join(sorted(aliases))
    services = get("compute", "/os-services?binary=nova-compute", "services")
    for number, service in enumerate(services[:2], 1):
        found[f"COMPUTE_HOST_{number}"] = service["host"]
    return found


def _render(template: Path, target: Path, values: Mapping[str, str]) -> None:
    """Fill the placeholders. A line with one that nobody knows is left to the suite's default, and told."""
    left: set[str] = set()
    lines = []
    for line in template.read_text().splitlines():
        missing = set(_PLACEHOLDER.findall(line)) - values.keys()
        if missing and not line.startswith("#"):
            left |= missing
            line = f"# not known: {line}"
        lines.append(_PLACEHOLDER.sub(lambda m: values.get(m[1], m[0]), line))
    if left:
        print("not known, left to the defaults:", " ".join(sorted(left)), file=sys.stderr)
    target.write_text("\n".join(lines) + "\n")


# -- results ---------------------------------------------------------------------------------------


def _results(bin_dir: Path, workspace: Path) -> dict[str, dict[str, str]]:
    stream = subprocess.run(
        [bin_dir / "stestr", "last", "--subunit"], cwd=workspace, capture_output=True, check=False
    )
    read = [bin_dir / "python", "-c", _READ_RESULTS]
    parsed = subprocess.run(read, input=stream.stdout, capture_output=True, check=True)
    found: dict[str, dict[str, str]] = json.loads(parsed.stdout)
    return found


def _outcome(test: str, results: Mapping[str, Mapping[str, str]]) -> str:
    """Return passed, failed or skipped; a class that failed to set up fails all of its tests."""
    words = {"success": "passed", "skip": "skipped", "xfail": "passed"}
    entry = results.get(test)
    if entry is None:
        name = test.partition("[")[0]
        entry = next((found for id, found in results.items() if id.partition("[")[0] == name), None)
    if entry is None:
        entry = results.get(f"setUpClass ({test.partition('[')[0].rpartition('.')[0]})")
        if entry is not None and entry["status"] != "skip":
            return "failed"
    return "failed" if entry is None else words.get(str(entry["status"]), "failed")


def _row(test: str, depth: int) -> str:
    name = test.partition("[")[0].split(".")
    return ".".join(name[:depth] if depth else name[:-2])


def _write(
    work: Path, outcome: Mapping[str, str], results: Mapping[str, Mapping[str, str]], depth: int
) -> None:
    """Print passed, failed and skipped by prefix; leave outcome and tracebacks in files."""
    rows: dict[str, collections.Counter[str]] = {}
    for test, how in outcome.items():
        rows.setdefault(_row(test, depth), collections.Counter())[how] += 1
    print(f"{'prefix':70} passed failed skipped total")
    total: collections.Counter[str] = collections.Counter()
    for name, counts in sorted(rows.items()):
        total += counts
        _line(name, counts)
    _line("all", total)
    lines = [f"{how}\t{test}" for test, how in sorted(outcome.items())]
    (work / "outcome.tsv").write_text("\n".join(lines) + "\n")
    bad = {id: entry["details"] for id, entry in results.items() if entry["status"] == "fail"}
    (work / "failures.txt").write_text(
        "".join(f"==== {id}\n{details}\n" for id, details in sorted(bad.items()))
    )


def _line(name: str, counts: Mapping[str, int]) -> None:
    numbers = [counts.get(word, 0) for word in ("passed", "failed", "skipped")]
    print(f"{name:70} {numbers[0]:6} {numbers[1]:6} {numbers[2]:7} {sum(numbers):5}")


if __name__ == "__main__":
    sys.exit(main())
