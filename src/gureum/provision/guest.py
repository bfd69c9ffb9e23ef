"""The guest image of a new cloud: built once, kept, uploaded.

Owns: when it is built and under which name it is uploaded. Must not: know how an image is built; that is
gureum/guestimage.
"""

import sys
from pathlib import Path

from gureum.cli.place import Place
from gureum.core.runner import CommandError, Runner
from gureum.provision import seed
from gureum.provision.api import Api
from gureum.provision.steps import Progress, StepFailed

BUILD_TIMEOUT_S = 900.0


def provide(runner: Runner, api: Api, place: Place, progress: Progress, *, simulated: bool) -> str:
    """Build the image if it is not there, and upload it. Raises: StepFailed, ApiFailed."""
    if simulated:
        return "a blank disk uploaded" if provide_blank(api, place) else "there"
    path = place.state_dir / "guest-image" / "gureum-guest.qcow2"
    built = False
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        build(runner, path, progress)
        built = True
    progress.at("uploading")
    made = seed.make_image(api, path)
    size_mib = path.stat().st_size >> 20
    words = ["built"] if built else []
    words += ["uploaded"] if made else []
    return f"{seed.IMAGE}, {size_mib} MiB: {' and '.join(words) or 'there'}"


def provide_blank(api: Api, place: Place) -> bool:
    """Upload an empty disk, which is all that a simulated guest needs. Raises: ApiFailed."""
    path = place.state_dir / "tmp" / "blank.img"
    if not path.exists():
        with path.open("wb") as file:
            file.truncate(1 << 20)
    return seed.make_image(api, path, disk_format="raw")


def build(runner: Runner, path: Path, progress: Progress) -> None:
    """Build the guest image in a process of its own. Raises: StepFailed."""
    progress.at("building (once, from Debian packages)")
    words = [sys.executable, "-m", "gureum", "image", "build", "--output", str(path)]
    try:
        runner.run(words, timeout_s=BUILD_TIMEOUT_S)
    except CommandError as error:
        raise StepFailed(
            "the guest image could not be built",
            f"{str(error)[-800:]}\nTry by hand: ./gureum image build",
        ) from error
