"""Calls every method that python-keystoneclient's managers have, and counts them.

Owns: the calls, in an order in which each finds what it needs. Must not: start a cloud.
"""

import inspect

from try_identity_calls import RULES, Calls, has, same


def keystoneclient_calls(w):
    """Call the managers; returns what passed and all names."""
    from keystoneauth1 import session
    from keystoneauth1.identity import v3
    from keystoneclient.v3 import client

    told = w.environ()
    auth = v3.Password(
        told["OS_AUTH_URL"],
        username="admin",
        password=told["OS_PASSWORD"],
        user_domain_id="default",
        project_name="admin",
        project_domain_id="default",
    )
    made = client.Client(session=session.Session(auth=auth))
    names = sorted(_names(made))
    c = Calls(made)
    for part in (_people, _grants, _catalogue, _limits, _own, _federation, _oauth):
        try:
            part(c, w, made)
        except (AttributeError, TypeError, KeyError, IndexError) as error:
            print(f"session {part.__name__} ended: {error!r}"[:500])
    return c.passed(names), names


def _names(thing, prefix=""):
    """Return the methods of all managers, without those that only say that they are not offered."""
    from keystoneclient import base

    for key, manager in vars(thing).items():
        kind = type(manager)
        if key.startswith("_") or not kind.__module__.startswith("keystoneclient.v3"):
            continue
        for name in dir(kind):
            f = getattr(kind, name)
            own = getattr(f, "__qualname__", "").split(".")[0]
            common = {cls.__name__ for cls in vars(base).values() if inspect.isclass(cls)}
            if name.startswith("_") or not inspect.isfunction(f) or own in common:
                continue
            text = inspect.getsource(f)
            if (
                name != "build_url"
                and "MethodNotImplemented" not in text
                and "NotSupported" not in text
            ):
                yield f"{prefix}{key}.{name}"
        yield from _names(manager, f"{prefix}{key}.")


def _noun(c, manager, id, *args, change, **values):
    """Make, show, list and change one; returns it."""
    one = c(f"{manager}.create", *args, **values)
    c(f"{manager}.get", id(one), expect=same(one))
    c(f"{manager}.list", expect=has(one))
    c(f"{manager}.update", id(one), **change)
    return one


def _id(one):
    return one.id


def _people(c, w, made):
    text = {"description": "changed"}
    domain = _noun(c, "domains", _id, "kc", change=text)
    project = _noun(c, "projects", _id, "p", domain, change=text)
    c("projects.find", name="p", expect=same(project))
    c("projects.add_tag", project, "red")
    c("projects.check_tag", project, "red", expect=bool)
    c("projects.list_tags", project, expect=lambda a: list(a) == ["red"])
    c("projects.update_tags", project, ["blue"])
    c("projects.delete_tag", project, "blue")
    user = _noun(c, "users", _id, "u", domain, change=text, password="pw")
    group = _noun(c, "groups", _id, "g", domain, change=text)
    c("users.add_to_group", user, group)
    c("users.check_in_group", user, group)
    c("groups.list", user=user, expect=has(group))
    c("users.remove_from_group", user, group)
    c("domain_configs.create", domain, {"identity": {"driver": "sql"}})
    c("domain_configs.get", domain)
    c("domain_configs.update", domain, {"ldap": {"url": "ldap://x"}})
    c("domain_configs.delete", domain)
    for noun, one in (("users", user), ("groups", group), ("projects", project)):
        c(f"{noun}.delete", one)
    made.domains.update(domain, enabled=False)
    c("domains.delete", domain)


def _grants(c, w, made):
    role = _noun(c, "roles", _id, "kc-role", change={"name": "kc-role2"})
    other = made.roles.create("kc-other")
    where = {"user": w.cloud.user_id, "project": w.cloud.project_id}
    c("roles.grant", role, **where)
    c("roles.check", role, **where)
    c("roles.list", **where, expect=has(role))
    c("role_assignments.list", user=w.cloud.user_id, include_names=True, expect=len)
    c("roles.revoke", role, **where)
    c("roles.create_implied", role, other)
    c("roles.get_implied", role, other)
    c("roles.check_implied", role, other)
    c("roles.list_role_inferences", expect=len)
    c("roles.delete_implied", role, other)
    c("inference_rules.create", role, other)
    c("inference_rules.get", role, other)
    c("inference_rules.check", role, other)
    c("inference_rules.list", role)
    c("inference_rules.list_inference_roles", expect=len)
    c("inference_rules.delete", role, other)
    c("roles.delete", role)
    c("auth.projects", expect=len)
    c("auth.domains")
    c("auth.systems")


def _catalogue(c, w, made):
    text = {"description": "changed"}
    region = _noun(c, "regions", _id, "kc-region", change=text)
    service = _noun(c, "services", _id, "s", "kc", change=text)
    change = {"url": "http://y"}
    endpoint = _noun(c, "endpoints", _id, service, "http://x", "public", region.id, change=change)
    group = _noun(c, "endpoint_groups", _id, "eg", {"service_id": service.id}, change=text)
    c("endpoint_groups.check", group)
    project = w.cloud.project_id
    f = "endpoint_filter"
    c(f"{f}.add_endpoint_to_project", project, endpoint)
    c(f"{f}.check_endpoint_in_project", project, endpoint)
    c(f"{f}.list_endpoints_for_project", project, expect=has(endpoint))
    c(f"{f}.list_projects_for_endpoint", endpoint, expect=len)
    c(f"{f}.delete_endpoint_from_project", project, endpoint)
    c(f"{f}.add_endpoint_group_to_project", group, project)
    c(f"{f}.check_endpoint_group_in_project", group, project)
    c(f"{f}.list_endpoint_groups_for_project", project, expect=has(group))
    c(f"{f}.list_projects_for_endpoint_group", group, expect=len)
    c(f"{f}.delete_endpoint_group_from_project", group, project)
    policy = _noun(c, "policies", _id, "{}", change={"blob": "{1}"})
    f = "endpoint_policy"
    for name, what in (
        ("endpoint", (endpoint,)),
        ("service", (service,)),
        ("region_and_service", (region, service)),
    ):
        c(f"{f}.create_policy_association_for_{name}", policy, *what)
        c(f"{f}.check_policy_association_for_{name}", policy, *what)
        c(f"{f}.get_policy_for_endpoint", endpoint, expect=same(policy))
        c(f"{f}.list_endpoints_for_policy", policy, expect=has(endpoint))
        c(f"{f}.delete_policy_association_for_{name}", policy, *what)
    for noun, one in (
        ("policies", policy),
        ("endpoint_groups", group),
        ("endpoints", endpoint),
        ("services", service),
        ("regions", region),
    ):
        c(f"{noun}.delete", one)


def _limits(c, w, made):
    service = made.services.create("limited", "kc-limited")
    change = {"default_limit": 8}
    limit = _noun(c, "registered_limits", _id, service, "cars", 5, change=change)
    change = {"resource_limit": 3}
    own = _noun(c, "limits", _id, w.cloud.project_id, service, "cars", 2, change=change)
    c("limits.delete", own)
    c("registered_limits.delete", limit)


def _own(c, w, made):
    me, project = w.cloud.user_id, w.cloud.project_id
    secret = _noun(c, "credentials", _id, me, "cert", "b", change={"user": me, "blob": "c"})
    c("credentials.delete", secret)
    pair = c("ec2.create", me, project)
    c("ec2.get", me, pair.access)
    c("ec2.list", me, expect=len)
    c("ec2.delete", me, pair.access)
    rules = [{"service": "compute", "method": "GET", "path": "/v2.1"}]
    f = "application_credentials"
    app = c(f"{f}.create", "kc-app", access_rules=rules)
    c(f"{f}.get", app.id, expect=same(app))
    c(f"{f}.find", name="kc-app", expect=same(app))
    c(f"{f}.list", expect=has(app))
    c(f"{f}.delete", app)
    rule = c("access_rules.list", expect=len)[0]
    c("access_rules.get", rule.id, expect=same(rule))
    c("access_rules.find", path="/v2.1")
    c("access_rules.delete", rule)
    other = made.users.create("kc-trustee", "default", password="pw")
    trust = c("trusts.create", other.id, me, ["member"], project=project)
    c("trusts.get", trust.id, expect=same(trust))
    c("trusts.list", expect=has(trust))
    c("trusts.delete", trust)
    token = _client(w, other, "pw").session.get_token()
    c("tokens.validate", token)
    c("tokens.get_token_data", token, expect=lambda a: a["token"]["user"]["id"] == other.id)
    c("tokens.revoke_token", token)
    if w.signed:
        c("tokens.get_revoked", audit_id_only=True)
        c("simple_cert.get_ca_certificates", expect=len)
        c("simple_cert.get_certificates", expect=len)
    theirs = Calls(_client(w, other, "pw"))
    theirs("users.update_password", "pw", "pw2")
    c.outcome["users.update_password"] += theirs.outcome["users.update_password"]


def _client(w, user, password):
    from keystoneauth1 import session
    from keystoneauth1.identity import v3
    from keystoneclient.v3 import client

    auth = v3.Password(w.environ()["OS_AUTH_URL"], user_id=user.id, password=password)
    url = w.environ()["OS_AUTH_URL"]  # a token without a project has no catalogue
    return client.Client(session=session.Session(auth=auth), endpoint_override=url)


def _federation(c, w, made):
    text = {"description": "changed"}
    f = "federation"
    mapping = _noun(c, f"{f}.mappings", _id, change={"rules": RULES}, mapping_id="kc", rules=RULES)
    idp = _noun(c, f"{f}.identity_providers", _id, "kc-idp", change=text)
    protocol = c(f"{f}.protocols.create", "openid", idp.id, mapping.id)
    c(f"{f}.protocols.get", idp.id, "openid", expect=same(protocol))
    c(f"{f}.protocols.list", idp.id, expect=has(protocol))
    c(f"{f}.protocols.update", idp.id, "openid", mapping.id)
    c(f"{f}.protocols.delete", idp.id, "openid")
    way = {"auth_url": "http://b/auth", "sp_url": "http://b/sp", "enabled": True}
    partner = _noun(c, f"{f}.service_providers", _id, "kc-sp", change=text, **way)
    c(f"{f}.saml.create_saml_assertion", partner.id, made.session.get_token(), expect=len)
    c(f"{f}.saml.create_ecp_assertion", partner.id, made.session.get_token(), expect=len)
    c(f"{f}.service_providers.delete", partner)
    c(f"{f}.identity_providers.delete", idp)
    c(f"{f}.mappings.delete", mapping)
    c(f"{f}.projects.list", expect=len)
    c(f"{f}.domains.list")


def _oauth(c, w, made):
    key = _noun(c, "oauth1.consumers", _id, "d", change={"description": "e"})
    mine = (key.id, key.secret)
    asked = c("oauth1.request_tokens.create", *mine, w.cloud.project_id)
    role = next(one for one in made.roles.list() if one.name == "member")
    pin = c("oauth1.request_tokens.authorize", asked.key, [role])
    words = (*mine, asked.key, asked.secret, pin.oauth_verifier)
    c("oauth1.access_tokens.create", *words, expect=lambda a: a.secret)
    c("oauth1.consumers.delete", key)
