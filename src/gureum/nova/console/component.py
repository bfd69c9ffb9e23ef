"""The component nova-novncproxy: asks for tokens over the bus, so that it runs anywhere."""

from gureum.core.run import Component, Runtime
from gureum.nova.config import VncOptions
from gureum.nova.console.config import NovncProxyOptions
from gureum.nova.console.contract import ConsoleAuth
from gureum.nova.console.proxy import NovncProxy

AUTH_TIMEOUT_S = 15.0


class NovaNovncproxy(Component):
    """The console proxy."""

    name = "nova-novncproxy"

    def __init__(self) -> None:
        self._proxy: NovncProxy | None = None

    def start(self, runtime: Runtime) -> None:
        """Mount the proxy at its port."""
        options = runtime.config.get(NovncProxyOptions)
        port = runtime.port(options.novncproxy_port)
        base_url = runtime.config.get(VncOptions).novncproxy_base_url
        auth = runtime.bus.client(ConsoleAuth, timeout_s=AUTH_TIMEOUT_S)
        self._proxy = NovncProxy(
            options, base_url or f"http://{runtime.cloud.address}:{port}", auth
        )
        runtime.http.mount(
            self.name, runtime.cloud.bind_address, port, self._proxy, websockets=True
        )

    def stop(self) -> None:
        """Let go of the threads; the listeners end by themselves."""
        if self._proxy is not None:
            self._proxy.close()
