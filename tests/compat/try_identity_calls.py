"""Calls every method that openstacksdk has for Keystone, and counts them.

Owns: the calls, in an order in which each finds what it needs. Must not: start a cloud.
"""

import collections.abc
import traceback

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RULES = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "HTTP_OIDC_SUB"}]}]


class Calls:
    """Calls methods by name and remembers which did what they should."""

    def __init__(self, what):
        self._what = what
        self.outcome = collections.defaultdict(list)

    def __call__(self, name, /, *args, expect=None, **rest):
        """Call a method; returns its answer, lists as lists. expect: a test of the answer."""
        target = self._what
        for part in name.split("."):
            target = getattr(target, part)
        answer, fine = None, True
        try:
            answer = target(*args, **rest)
            if isinstance(answer, collections.abc.Iterator):
                answer = list(answer)
            fine = expect is None or bool(expect(answer))
            if not fine:
                print(f"FAILED {name}: {answer!r}"[:500])
        except Exception:
            fine = False
            print(f"FAILED {name}{args!r}: {traceback.format_exc(limit=-1)}"[:900])
        self.outcome[name].append(fine)
        return answer

    def passed(self, names):
        """Return the names that were called and always did what they should."""
        return [name for name in names if self.outcome.get(name) and all(self.outcome[name])]


def has(one):
    """Return a test of a list: whether one of the same id is in it."""
    return lambda answer: any(getattr(other, "id", None) == one.id for other in answer)


def same(one):
    """Return a test of an answer: whether it has the same id."""
    return lambda answer: getattr(answer, "id", None) == one.id


# -- openstacksdk ----------------------------------------------------------------------------------


def sdk_calls(w):
    """Call the identity proxy of openstacksdk; returns what passed and all names."""
    import openstack
    from openstack.identity.v3._proxy import Proxy

    told = {key[3:].lower(): value for key, value in w.environ().items() if key.startswith("OS_")}
    told.pop("identity_api_version")
    region = told.pop("region_name")
    connection = openstack.connect(auth=told, region_name=region, load_envvars=False)
    names = sorted(name for name, f in vars(Proxy).items() if name[0] != "_" and callable(f))
    c = Calls(connection.identity)
    for session in (_sdk_people, _sdk_catalogue, _sdk_rest):
        try:
            session(c, w, connection)
        except (AttributeError, TypeError, KeyError, IndexError) as error:
            print(f"session {session.__name__} ended: {error!r}"[:500])
    return c.passed(names), names


def _sdk_noun(c, noun, plural, change, /, *, find=True, make=None, **values):
    """Make, show, find, list and change one; returns it."""
    one = make() if make else c(f"create_{noun}", **values)
    c(f"get_{noun}", one.id, expect=same(one))
    if find:
        c(f"find_{noun}", getattr(one, "name", None) or one.id, expect=same(one))
    c(plural, expect=has(one))
    if change:
        c(f"update_{noun}", one, **change)
    return one


def _sdk_people(c, w, connection):
    text = {"description": "changed"}
    domain = _sdk_noun(c, "domain", "domains", text, name="sdk")
    values = {"domain_id": domain.id}
    project = _sdk_noun(c, "project", "projects", text, name="p", **values)
    user = _sdk_noun(c, "user", "users", text, name="u", password="pw", **values)
    group = _sdk_noun(c, "group", "groups", text, name="g", **values)
    role = _sdk_noun(c, "role", "roles", text, name="r")
    c("create_domain_config", domain, identity={"driver": "sql"})
    c("get_domain_config", domain, expect=lambda a: a.identity.driver == "sql")
    c("update_domain_config", domain, ldap={"url": "ldap://x"})
    c("delete_domain_config", domain)
    c("add_user_to_group", user, group)
    c("check_user_in_group", user, group, expect=lambda a: a is True)
    c("group_users", group, expect=has(user))
    c("user_groups", user, expect=has(group))
    for place, at in (("domain", domain), ("project", project), ("system", "all")):
        for who, actor in (("user", user), ("group", group)):
            words = (at, actor, role) if place != "system" else (actor, role, at)
            c(f"assign_{place}_role_to_{who}", *words)
            c(f"validate_{who}_has_{place}_role", *words, expect=lambda a: a is True)
            if (place, who) == ("project", "user"):
                c("role_assignments", user_id=user.id, expect=len)
                c("role_assignments_filter", project=project, user=user, expect=has(role))
                c("user_projects", user, expect=has(project))
            c(f"unassign_{place}_role_from_{who}", *words)
    c("remove_user_from_group", user, group)
    c("delete_role", role)
    c("delete_group", group)
    c("delete_user", user)
    c("delete_project", project)
    c("update_domain", domain, is_enabled=False)
    c("delete_domain", domain)


def _sdk_catalogue(c, w, connection):
    text = {"description": "changed"}
    region = _sdk_noun(c, "region", "regions", text, id="sdk-region")
    service = _sdk_noun(c, "service", "services", text, name="s", type="sdk")
    values = {"service_id": service.id, "interface": "public", "url": "http://x"}
    endpoint = _sdk_noun(c, "endpoint", "endpoints", {"url": "http://y"}, **values)
    project = connection.identity.create_project(name="tied", domain_id="default")
    c("associate_endpoint_with_project", project, endpoint)
    c("project_endpoints", project, expect=has(endpoint))
    c("endpoint_projects", endpoint, expect=has(project))
    c("disassociate_endpoint_from_project", project, endpoint)
    values = {"name": "eg", "filters": {"service_id": service.id}}
    group = _sdk_noun(c, "endpoint_group", "endpoint_groups", text, **values)
    c("endpoint_group_endpoints", group, expect=has(endpoint))
    c("associate_project_with_endpoint_group", group, project)
    c("endpoint_group_projects", group, expect=has(project))
    c("project_endpoint_groups", project, expect=has(group))
    c("disassociate_project_from_endpoint_group", group, project)
    c("delete_endpoint_group", group)
    values = {"service_id": service.id, "resource_name": "r", "default_limit": 9}
    limit = _sdk_noun(
        c,
        "registered_limit",
        "registered_limits",
        {"default_limit": 10, "service_id": service.id},
        find=False,
        **values,
    )
    values = {"service_id": service.id, "resource_name": "r", "resource_limit": 4}
    values["project_id"] = project.id
    own = _sdk_noun(c, "limit", "limits", {"resource_limit": 5}, find=False, **values)
    c("delete_limit", own)
    c("delete_registered_limit", limit)
    policy = _sdk_noun(c, "policy", "policies", {"type": "text/plain"}, blob="b", type="t/t")
    c("delete_policy", policy)
    c("delete_endpoint", endpoint)
    c("delete_service", service)
    c("delete_region", region)


def _sdk_rest(c, w, connection):
    me, project = w.cloud.user_id, w.cloud.project_id
    text = {"description": "changed"}
    blob = {"user_id": me, "type": "cert", "blob": "b", "project_id": project}
    made = _sdk_noun(c, "credential", "credentials", {"blob": "c"}, **blob)
    c("delete_credential", made)
    rules = [{"service": "compute", "method": "GET", "path": "/v2.1"}]
    app = c("create_application_credential", me, "sdk-app", access_rules=rules)
    c("get_application_credential", me, app.id, expect=same(app))
    c("find_application_credential", me, "sdk-app", expect=same(app))
    c("application_credentials", me, expect=has(app))
    c("delete_application_credential", me, app)
    rule = c("access_rules", me, expect=len)[0]
    c("get_access_rule", me, rule.id, expect=same(rule))
    c("delete_access_rule", me, rule)
    other = connection.identity.create_user(name="trustee", password="pw", domain_id="default")
    trust = {"trustor_user_id": me, "trustee_user_id": other.id, "project_id": project}
    trust |= {"is_impersonation": False, "roles": [{"name": "member"}]}
    made = _sdk_noun(c, "trust", "trusts", None, **trust)
    c("delete_trust", made)
    own = connection.identity.create_user(name="own", password="pw", domain_id="default")
    mine = connection.connect_as(user_id=own.id, password="pw", project_id=None, project_name=None)
    token = mine.auth_token
    c("validate_token", token)
    c("check_token", token)
    c("revoke_token", token)
    c("update_password", own, current_password="pw", password="pw2")
    mapping = _sdk_noun(c, "mapping", "mappings", {"rules": RULES}, id="sdk-map", rules=RULES)
    idp = _sdk_noun(c, "identity_provider", "identity_providers", text, id="sdk-idp")
    values = {"idp_id": idp.id, "id": "openid", "mapping_id": mapping.id}
    protocol = c("create_federation_protocol", idp, **{k: values[k] for k in ("id", "mapping_id")})
    c("get_federation_protocol", idp, "openid", expect=same(protocol))
    c("find_federation_protocol", idp, "openid", expect=same(protocol))
    c("federation_protocols", idp, expect=has(protocol))
    c("update_federation_protocol", idp, "openid", mapping_id=mapping.id)
    c("delete_federation_protocol", idp, "openid")
    c("delete_identity_provider", idp)
    c("delete_mapping", mapping)
    way = {"auth_url": "http://b/auth", "sp_url": "http://b/sp"}
    partner = _sdk_noun(c, "service_provider", "service_providers", text, id="sdk-sp", **way)
    c("delete_service_provider", partner)
    last = connection.identity.create_project(name="last", domain_id="default")
    c("wait_for_status", last, status="last", attribute="name", interval=0.1, wait=5)
    connection.identity.delete_project(last)
    c("wait_for_delete", last, interval=0.1, wait=5)
