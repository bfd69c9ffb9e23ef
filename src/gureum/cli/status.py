"""`gureum status`: what runs, where, and how well. Exit code 0 when all is well, else 3."""

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import httpx

from gureum import components
from gureum.cli import place as places
from gureum.cli.place import Place
from gureum.cli.table import ago, table
from gureum.core.config import CloudOptions, Config
from gureum.provision import supervisor
from gureum.provision.api import Api, ApiFailed
from gureum.provision.options import InstallOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cloud, for whom."""
    places.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Look at processes, ports and agents."""
    place = places.existing(args)
    config = places.read_config(place)
    seen = look(place, config)
    if args.json:
        print(json.dumps(seen, indent=2))
    else:
        _show(place, seen)
    return 0 if seen["ok"] else 3


def look(place: Place, config: Config) -> dict[str, Any]:
    """Everything that `status` tells, as data."""
    cloud = config.get(CloudOptions)
    status = supervisor.read_status(place.run_dir)
    processes = [
        {
            "name": child.name,
            "state": child.state,
            "pid": child.pid,
            "since": child.since,
            "restarts": child.restarts,
            "memory_mib": session_mib(child.pid) if child.pid else 0.0,
            "last_exit": child.last_exit,
        }
        for child in (status.children if status else [])
    ]
    if status is not None:
        processes.append(
            {
                "name": "supervisor",
                "state": "running",
                "pid": status.pid,
                "since": (place.run_dir / supervisor.LOCK_FILE).stat().st_mtime,
                "restarts": 0,
                "memory_mib": memory_mib(status.pid),
                "last_exit": "",
            }
        )
    ours = any(process["state"] == "running" for process in processes[:-1])
    apis = [_api(name, entry.port, cloud, ours=ours) for name, entry in components.COMPONENTS.items()
            if entry.port is not None and name in components.names()]  # fmt: skip
    unwell: dict[str, str] = {}
    for child in status.children if status else []:
        unwell.update(_unwell(place.run_dir / f"{child.name}.sock"))
    agents = _agents(config) if status is not None else []
    return {
        "ok": status is not None
        and all(p["state"] in ("running", "done") for p in processes)
        and all(api["ready"] for api in apis)
        and not unwell
        and all(agent["up"] for agent in agents),
        "running": status is not None,
        "simulated": config.get(InstallOptions).simulated,
        "distributed": config.get(InstallOptions).distributed,
        "processes": processes,
        "apis": apis,
        "unwell": unwell,
        "agents": agents,
        "config": str(place.config_file),
    }


def _api(name: str, port: int | None, cloud: CloudOptions, *, ours: bool) -> dict[str, Any]:
    at = f"{cloud.address}:{(port or 0) + cloud.port_offset}"
    try:
        answer = httpx.get(f"http://{at}/readyz", timeout=5, trust_env=False)
    except httpx.TransportError:
        return {"name": name, "address": at, "ready": False, "text": "does not answer"}
    try:
        body = answer.json() if ours else {}
    except ValueError:
        body = {}
    if "components" not in body:
        text = f"another program answers; see which: ss -ltnp 'sport = :{at.rpartition(':')[2]}'"
        return {"name": name, "address": at, "ready": False, "text": text}
    own = body["components"].get(name, {"ok": True, "text": ""})
    text = own["text"] if not own["ok"] else "" if body["ready"] else "stopping or starting"
    return {
        "name": name,
        "address": at,
        "ready": bool(body["ready"]),
        "text": text,
    }


def _unwell(socket: Path) -> dict[str, str]:
    """The ill components of a process, with what they say."""
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=5) as client:
            states = client.get("http://process/readyz").json()["components"]
    except httpx.TransportError:
        return {}
    return {name: state["text"] for name, state in states.items() if not state["ok"]}


def _agents(config: Config) -> list[dict[str, Any]]:
    cloud = config.get(CloudOptions)
    url = f"http://{cloud.address}:{5000 + cloud.port_offset}/v3"
    api = Api(url, config.get(InstallOptions).admin_password)
    found: list[dict[str, Any]] = []
    try:
        api.login()
        if api.has("compute"):
            for row in api.get("compute", "/os-services")["services"]:
                found.append(
                    {"name": row["binary"], "host": row["host"], "up": row["state"] == "up"}
                )
        if api.has("network"):
            for row in api.get("network", "/v2.0/agents")["agents"]:
                found.append({"name": row["binary"], "host": row["host"], "up": row["alive"]})
    except (ApiFailed, KeyError):
        pass  # the table of APIs says it already
    finally:
        api.close()
    return found


def memory_mib(pid: int) -> float:
    """Proportional set size of a process; 0 when it may not be read."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        pass
    return 0.0


def session_mib(pid: int) -> float:
    """Memory of a child of the supervisor and of what it started; each child leads a session."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(after_name[3]) == pid:
                    total += memory_mib(int(entry.name))
    return round(total, 1)


def _show(place: Place, seen: dict[str, Any]) -> None:
    kind = "simulated cloud" if seen["simulated"] else "cloud"
    if not seen["running"]:
        start = places.command(place, "up", simulated=seen["simulated"])
        print(f"The {kind} in {place.state_dir} is not running. Start it with: {start}")
        return
    now = time.time()
    rows = [
        [p["name"], p["state"], p["pid"] or "-", ago(now - p["since"]), p["restarts"],
         f"{p['memory_mib']:.0f} MiB", p["last_exit"]]
        for p in seen["processes"]
    ]  # fmt: skip
    print(table(["process", "state", "pid", "since", "restarts", "memory", "last exit"], rows))
    total = sum(p["memory_mib"] for p in seen["processes"])
    print(f"{total:.0f} MiB in all\n")
    rows = [[a["name"], a["address"], "ready" if a["ready"] else "NOT READY", a["text"]]
            for a in seen["apis"]]  # fmt: skip
    if rows:
        print(table(["api", "address", "state", ""], rows))
    for name, text in seen["unwell"].items():
        print(f"{name} is not well: {text}")
    if seen["agents"]:
        rows = [[a["name"], a["host"], "up" if a["up"] else "DOWN"] for a in seen["agents"]]
        print("\n" + table(["agent", "host", "state"], rows))
    doctor = places.command(place, "doctor", simulated=seen["simulated"])
    print("\nAll is well." if seen["ok"] else f"\nSomething is not well: {doctor}")
