"""The LDAP driver and whole logins against a real slapd on loopback, in a folder of its own."""

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gureum.keystone.drivers.base import DirectoryUnavailable
from gureum.keystone.drivers.ldap import LdapDirectory
from gureum.keystone.logic.domain_options import DEFAULTS

SCHEMAS = Path("/etc/ldap/schema")
SUFFIX = "dc=corp,dc=example"
PEOPLE, TEAMS = f"ou=people,{SUFFIX}", f"ou=teams,{SUFFIX}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("slapd") is None and not Path("/usr/sbin/slapd").exists(),
        reason="slapd is not installed (apt-get install slapd)",
    ),
]

CONFIG = f"""
include {SCHEMAS}/core.schema
include {SCHEMAS}/cosine.schema
include {SCHEMAS}/inetorgperson.schema
include {SCHEMAS}/nis.schema
pidfile FOLDER/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
sizelimit size.soft=50 size.hard=50 size.prtotal=unlimited
database mdb
suffix "{SUFFIX}"
rootdn "cn=root,{SUFFIX}"
rootpw rootpw
directory FOLDER/db
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


def _ldif() -> str:
    """120 people u000…u119; some of them odd."""
    lines = [f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: corp\ndc: corp\n"]
    for place in (PEOPLE, TEAMS):
        name = place.split(",")[0][3:]
        lines.append(f"dn: {place}\nobjectClass: organizationalUnit\nou: {name}\n")

    def person(uid: str, **more: str) -> None:
        dn = f"uid={uid.replace(',', chr(92) + ',')},{PEOPLE}"
        values = {"cn": uid, "sn": uid, "userPassword": f"pw-{uid}", **more}
        lines.append(_entry(dn, ["inetOrgPerson", "posixAccount"], uid=uid, **values))

    common = {"gidNumber": "1", "homeDirectory": "/x"}
    for number in range(120):
        person(f"u{number:03}", uidNumber="512", mail=f"u{number}@corp.example", **common)
    person("off", uidNumber="514", employeeType="FALSE", **common)
    person("on", uidNumber="512", employeeType="TRUE", **common)
    person("star*(x)", uidNumber="512", **common)
    person("한글", uidNumber="512", **common)
    members = [f"uid=u000,{PEOPLE}", f"uid=한글,{PEOPLE}", f"uid=nobody,{PEOPLE}"]
    lines.append(_entry(f"cn=devs,{TEAMS}", ["groupOfNames"], cn="devs", member=members))
    lines.append(_entry(f"cn=ops,{TEAMS}", ["groupOfNames"], cn="ops", member=members[:1]))
    ids = {"cn": "byid", "gidNumber": "7", "memberUid": ["u001", "u002"]}
    lines.append(_entry(f"cn=byid,{TEAMS}", ["posixGroup"], **ids))
    live = [f"UID=u000, {PEOPLE}"]
    lines.append(_entry(f"cn=live,{TEAMS}", ["groupOfNames"], cn="live", member=live))
    return "\n".join(lines)


def _entry(dn: str, classes: list[str], **values: Any) -> str:
    def line(name: str, value: str) -> str:
        if value.isascii():
            return f"{name}: {value}"
        return f"{name}:: {base64.b64encode(value.encode()).decode()}"

    lines = [line("dn", dn), *(f"objectClass: {one}" for one in classes)]
    for name, value in values.items():
        lines += [line(name, one) for one in (value if isinstance(value, list) else [value])]
    return "\n".join(lines) + "\n"


class Slapd:
    """One server; `stop` and `start` keep its data."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"ldap://127.0.0.1:{self.port}"
        self._config = folder / "slapd.conf"
        (folder / "db").mkdir()
        self._config.write_text(CONFIG.replace("FOLDER", str(folder)))
        ldif = folder / "all.ldif"
        ldif.write_text(_ldif(), encoding="utf-8")
        add = ["/usr/sbin/slapadd", "-q", "-f", str(self._config), "-l", str(ldif)]
        done = subprocess.run(add, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["/usr/sbin/slapd", "-f", str(self._config), "-h", self.url, "-d", "0"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline and self._process.poll() is None
                time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: Any) -> Iterator[Slapd]:
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    server.start()
    yield server
    server.stop()


def _options(slapd: Slapd, **values: Any) -> dict[str, Any]:
    own = {
        "url": slapd.url,
        "suffix": SUFFIX,
        "page_size": 40,
        "user_tree_dn": PEOPLE,
        "user_id_attribute": "uid",
        "user_name_attribute": "uid",
        "group_tree_dn": TEAMS,
        "group_name_attribute": "cn",
        "connection_timeout": 5,
    }
    return {**DEFAULTS["ldap"], **own, **values}


@pytest.fixture
def make(slapd: Slapd) -> Iterator[Any]:
    made: list[LdapDirectory] = []

    def directory(**values: Any) -> LdapDirectory:
        made.append(LdapDirectory(_options(slapd, **values)))
        return made[-1]

    yield directory
    for one in made:
        one.close()


def test_users_are_read_in_pages_beyond_the_servers_limit(make):
    assert len(list(make().users())) == 124
    with pytest.raises(DirectoryUnavailable, match="sizeLimitExceeded"):
        list(make(page_size=0).users())


def test_one_user_by_name_and_by_id(make):
    user = make().user(name="u007")
    assert user is not None and user.email == "u7@corp.example" and user.enabled
    assert make().user(local_id="u007") == user
    assert make().user(name="nobody") is None
    korean = make().user(name="한글")
    assert korean is not None and korean.name == "한글"


@pytest.mark.parametrize("name", ["*", "u00*", "u007)(uid=*", "\\2a", "\0", "(", "star*(y)"])
def test_special_characters_are_no_filter(make, name):
    assert make().user(name=name) is None
    assert make().user(local_id=name) is None


def test_name_of_special_characters_is_found_and_logs_in(make):
    user = make().user(name="star*(x)")
    assert user is not None and make().authenticate(user.dn, "pw-star*(x)")


def test_password_is_checked_by_a_bind(make):
    directory = make()
    user = directory.user(name="u001")
    assert directory.authenticate(user.dn, "pw-u001") is True
    for wrong in ("pw-u002", "", "\0", "\u00ad", "pw-u001\0"):
        assert directory.authenticate(user.dn, wrong) is False
    assert directory.authenticate(None, "pw-u001") is False


def test_own_account_binds_and_a_wrong_password_of_it_is_no_empty_directory(make):
    root = f"cn=root,{SUFFIX}"
    assert make(user=root, password="rootpw").user(name="u001") is not None
    with pytest.raises(DirectoryUnavailable, match="49"):
        make(user=root, password="no").user(name="u001")


def test_filter_and_scope_narrow_the_users(make):
    assert [one.name for one in make(user_filter="(uid=u11*)", page_size=5).users()] == [
        f"u{n}" for n in range(110, 120)
    ]
    assert [one.name for one in make(user_filter="uid=u111").users()] == ["u111"]
    assert list(make(user_tree_dn=SUFFIX, query_scope="one").users()) == []
    assert len(list(make(user_tree_dn=SUFFIX, query_scope="sub").users())) == 124


@pytest.mark.parametrize(
    ("options", "off", "on", "other"),
    [
        ({"user_enabled_attribute": "employeeType"}, False, True, True),
        (
            {"user_enabled_attribute": "employeeType", "user_enabled_default": "False"},
            False,
            True,
            False,
        ),
        (
            {"user_enabled_attribute": "employeeType", "user_enabled_invert": True},
            True,
            False,
            False,
        ),
        (
            {"user_enabled_attribute": "uidNumber", "user_enabled_mask": 2},
            False,
            True,
            True,
        ),
        (
            {
                "user_enabled_emulation": True,
                "user_enabled_emulation_dn": f"cn=live,{TEAMS}",
            },
            False,
            False,
            True,
        ),
    ],
    ids=["text", "default", "inverted", "bits", "group"],
)
def test_enabled(make, options, off, on, other):
    directory = make(**options)
    found = {name: directory.user(name=name).enabled for name in ("off", "on", "u000")}
    assert found == {"off": off, "on": on, "u000": other}


def test_groups_and_their_members(make):
    directory = make()
    user = directory.user(name="u000")
    assert sorted(group.name for group in directory.groups()) == ["devs", "live", "ops"]
    assert sorted(group.name for group in directory.groups(of=user)) == ["devs", "live", "ops"]
    devs = directory.group("devs")
    assert sorted(one.name for one in directory.members(devs)) == ["u000", "한글"]
    korean = directory.user(name="한글")
    assert [group.name for group in directory.groups(of=korean)] == ["devs"]


def test_members_by_id(make):
    directory = make(
        group_objectclass="posixGroup",
        group_member_attribute="memberUid",
        group_members_are_ids=True,
    )
    group = directory.group("byid")
    assert [one.name for one in directory.members(group)] == ["u001", "u002"]
    user = directory.user(name="u002")
    assert [one.name for one in directory.groups(of=user)] == ["byid"]


def test_first_server_that_answers_is_used(make, slapd):
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        url = f"ldap://127.0.0.1:{dead.getsockname()[1]},{slapd.url}"
        assert make(url=url).user(name="u001") is not None


@pytest.fixture
def keystone(tmp_path: Path, slapd: Slapd) -> Any:
    """A Keystone with a domain that the API ties to the server."""
    import sys

    sys.path.insert(0, str(Path(__file__).parent.parent / "api/keystone"))
    from keystone_cloud import Cloud

    from gureum.keystone.logic.directories import Directories

    cloud = Cloud(tmp_path)
    cloud.deps.directories = Directories(cloud.db, cache_s=0.0, away_s=0.0)
    domain = cloud.ok("POST", "/v3/domains", {"domain": {"name": "corp"}})["domain"]["id"]
    set_by_api = {
        name: value
        for name, value in _options(slapd).items()
        if value != DEFAULTS["ldap"][name] and value is not None
    }
    config = {"identity": {"driver": "ldap"}, "ldap": set_by_api}
    cloud.ok("PUT", f"/v3/domains/{domain}/config", {"config": config})
    return cloud, domain


def test_whole_login_with_roles_through_a_group(keystone):
    cloud, domain = keystone
    users = cloud.ok("GET", f"/v3/users?domain_id={domain}")["users"]
    assert len(users) == 124
    groups = cloud.ok("GET", f"/v3/groups?domain_id={domain}&name=devs")["groups"]
    project = cloud.project("demo")
    path = f"/v3/projects/{project['id']}/groups/{groups[0]['id']}/roles/{cloud.role('member')}"
    cloud.ok("PUT", path)
    scope = {"project": {"id": project["id"]}}
    for name, wanted in (("u000", 201), ("한글", 201), ("u001", 401)):
        assert cloud.try_login(name, f"pw-{name}", scope, domain)[0] == wanted
    for name, password in (("u000", "wrong"), ("u000", ""), ("*", "pw-u000"), ("none", "x")):
        assert cloud.try_login(name, password, None, domain)[0] == 401


def test_abuse_18_a_word_for_false_in_the_directory_does_not_enable(keystone):
    """The directory says "FALSE" as a string; so may the option that holds for who has no such attribute."""
    cloud, domain = keystone
    token = cloud.login("off", "pw-off", None, domain)
    path = f"/v3/domains/{domain}/config"
    options = {"user_enabled_attribute": "employeeType", "user_enabled_default": "False"}
    cloud.ok("PATCH", path, {"config": {"ldap": options}})
    cloud.deps.directories.forget()
    assert cloud.try_login("on", "pw-on", None, domain)[0] == 201
    for name in ("off", "u000"):
        assert cloud.try_login(name, f"pw-{name}", None, domain)[0] == 401
    assert cloud.call("GET", "/v3/auth/projects", token=token)[0] == 401
    users = cloud.ok("GET", f"/v3/users?domain_id={domain}")["users"]
    assert [user["name"] for user in users if user["enabled"] is not False] == ["on"]


def test_server_that_dies_stops_its_logins_only(keystone, slapd):
    cloud, domain = keystone
    token = cloud.login("u005", "pw-u005", None, domain)
    slapd.stop()
    try:
        assert cloud.try_login("u005", "pw-u005", None, domain)[0] == 503
        assert cloud.call("GET", "/v3/auth/projects", token=token)[0] == 200
        assert cloud.try_login("admin", "secret")[0] == 201
    finally:
        slapd.start()
    cloud.deps.compliance = replace(cloud.deps.compliance)
    assert cloud.try_login("u005", "pw-u005", None, domain)[0] == 201
