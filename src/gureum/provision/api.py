"""The administrator's client of a cloud's REST APIs, for what `gureum up` makes through them.

Owns: one token, the catalogue, JSON calls. Must not: know which objects are made (seed.py does).
Follows: Identity API v3, "Password authentication with scoped authorization".
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


class ApiFailed(Exception):
    """An API did not answer as documented; the text is its own."""


class Api:
    """One authenticated session. Not thread-safe."""

    def __init__(self, auth_url: str, password: str, *, username: str = "admin") -> None:
        import httpx  # `up` starts the processes first, and logs in later

        self._auth_url = auth_url.rstrip("/")
        self._password = password
        self._username = username
        self._http = httpx.Client(timeout=120, trust_env=False)
        self._token = ""
        self._catalog: list[dict[str, Any]] = []
        self.project_id = ""

    def login(self) -> None:
        """Get a token for the project `admin`. Raises: ApiFailed."""
        user = {
            "name": self._username,
            "domain": {"id": "default"},
            "password": self._password,
        }
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        url = f"{self._auth_url}/auth/tokens"
        answer = self._send("POST", url, json={"auth": {"identity": identity, "scope": scope}})
        self._token = answer.headers["x-subject-token"]
        token = answer.json()["token"]
        self._catalog = token.get("catalog", [])
        self.project_id = token["project"]["id"]

    def url(self, service_type: str) -> str:
        """The public endpoint of a service. Raises: ApiFailed."""
        for service in self._catalog:
            if service["type"] == service_type:
                for endpoint in service["endpoints"]:
                    if endpoint["interface"] == "public":
                        return str(endpoint["url"]).rstrip("/")
        raise ApiFailed(f"the catalogue has no public endpoint of type {service_type}")

    def has(self, service_type: str) -> bool:
        """Whether the catalogue names a service."""
        return any(service["type"] == service_type for service in self._catalog)

    def get(self, service_type: str, path: str, *, version: str = "", **params: str) -> Any:
        """GET and decode; `version` is a microversion as its header has it. Raises: ApiFailed."""
        url = self.url(service_type) + path
        return self._send("GET", url, params=params, headers=_asked(version)).json()

    def post(self, service_type: str, path: str, body: Any, *, version: str = "") -> Any:
        """POST and decode. Raises: ApiFailed."""
        url = self.url(service_type) + path
        answer = self._send("POST", url, json=body, headers=_asked(version))
        return answer.json() if answer.content else None

    def put(self, service_type: str, path: str, body: Any) -> Any:
        """PUT and decode; None sends no body. Raises: ApiFailed."""
        how = {} if body is None else {"json": body}
        answer = self._send("PUT", self.url(service_type) + path, **how)
        return answer.json() if answer.content else None

    def upload(self, service_type: str, path: str, content: Any) -> None:
        """PUT bytes or an open file. Raises: ApiFailed."""
        self._send(
            "PUT",
            self.url(service_type) + path,
            content=content,
            headers={"content-type": "application/octet-stream"},
        )

    def delete(self, service_type: str, path: str) -> None:
        """DELETE. Raises: ApiFailed."""
        self._send("DELETE", self.url(service_type) + path)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _send(self, method: str, url: str, **how: Any) -> "httpx.Response":
        import httpx

        headers = {"x-auth-token": self._token, **how.pop("headers", {})}
        headers.setdefault("openstack-api-version", "compute 2.1")
        try:
            answer = self._http.request(method, url, headers=headers, **how)
        except httpx.TransportError as error:
            raise ApiFailed(f"{method} {url}: {error}") from error
        if answer.status_code >= 300:
            raise ApiFailed(f"{method} {url}: {answer.status_code} {answer.text[:300]}")
        return answer


def _asked(version: str) -> dict[str, str]:
    return {"openstack-api-version": version} if version else {}
