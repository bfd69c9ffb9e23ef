"""Nova's own account with Keystone.

Owns: how nova's components find their session. Must not: be used for what a user asks in their own name.
"""

from gureum.core.run import Runtime
from gureum.keystone.client import Credentials, Session
from gureum.keystone.config import ServicePasswordOptions, ServiceUserOptions

USER = "nova"
KEYSTONE_PORT = 5000


def service_session(runtime: Runtime) -> Session:
    """Return a session of the service user `nova`."""
    common = runtime.config.get(ServiceUserOptions)
    own = runtime.config.named(ServicePasswordOptions).get(USER, ServicePasswordOptions())
    url = common.auth_url or f"http://{runtime.cloud.address}:{runtime.port(KEYSTONE_PORT)}/v3"
    credentials = Credentials(
        auth_url=url,
        username=common.name_prefix + USER,
        password=own.password,
        project_name=common.project_name,
        region=runtime.cloud.region,
    )
    return Session(runtime.client, credentials)
