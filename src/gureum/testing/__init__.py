"""A simulated cloud for tests: of SDKs, tools and roles that talk to OpenStack.

    from gureum.testing import Cloud

    with Cloud(preset="web.yaml") as cloud:
        connection = cloud.connect()              # an openstacksdk Connection
        cloud.faults.fail("spawn", nth=3)

With pytest: `pytest_plugins = ["gureum.testing.plugin"]`, then the fixtures `gureum_cloud`,
`gureum_connection` and `gureum_faults`. See docs/simulated.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gureum.testing.cloud import Cloud, CloudFailed

__all__ = ["Cloud", "CloudFailed"]


def __getattr__(name: str) -> Any:
    """Import the cloud when it is asked for: a command that looks up a port does without."""
    if name in __all__:
        from gureum.testing import cloud

        return getattr(cloud, name)
    raise AttributeError(name)
