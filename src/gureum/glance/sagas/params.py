"""What Glance's sagas are given."""

from collections.abc import Mapping
from dataclasses import dataclass, field

GLANCE_DIRECT, WEB_DOWNLOAD = "glance-direct", "web-download"
GLANCE_DOWNLOAD, COPY_IMAGE = "glance-download", "copy-image"
METHODS = (GLANCE_DIRECT, WEB_DOWNLOAD, GLANCE_DOWNLOAD, COPY_IMAGE)


@dataclass(frozen=True, slots=True)
class ImportJob:
    """One import. stores: where the bytes shall be kept, all of which did not have them before.

    token: the user's, for glance-download alone; forgotten when the import ends.
    """

    image_id: str
    task_id: str
    method: str
    stores: tuple[str, ...]
    all_must_succeed: bool = True
    uri: str = ""
    source: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


@dataclass(frozen=True, slots=True)
class LocationJob:
    """A location that is added to a queued image. validation: os_hash_algo and os_hash_value, or empty."""

    image_id: str
    store: str
    url: str
    validation: Mapping[str, str] = field(default_factory=dict)
