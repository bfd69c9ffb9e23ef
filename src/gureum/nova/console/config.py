"""Options of the console proxy. Its public address is `[nova.vnc] novncproxy_base_url`."""

from dataclasses import dataclass

from gureum.core.config import option, section


@section("nova.novncproxy", "The proxy between browsers and guests' screens.")
@dataclass(frozen=True, slots=True)
class NovncProxyOptions:
    """Options of nova-novncproxy."""

    novncproxy_port: int = option("Port to listen at.", default=6080, min=1, max=65535)
    web: str = option("Folder of noVNC's files.", default="/usr/share/novnc")
    allowed_origins: tuple[str, ...] = option(
        "Further hosts (name or name:port) whose pages may open a console, such as a dashboard's.",
        default=(),
    )
    max_sessions: int = option("Consoles open at once.", default=500, min=1, max=100000)
    connect_timeout_s: float = option(
        "How long a compute host may take to answer.", default=10.0, unit="s", min=0.1, max=120
    )
    session_check_s: float = option(
        "Time between looks whether the server of an open console still exists.",
        default=5.0,
        unit="s",
        min=0.05,
        max=600,
    )
