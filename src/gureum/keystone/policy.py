"""Keystone's rules: OpenStack's names, and the personas admin, manager, member and reader by scope."""

from __future__ import annotations

from gureum.core.policy.rules import Rule
from gureum.keystone import policy_extensions

_ANY = ("system", "domain", "project")
_NO_DOMAIN = ("system", "project")
_ALSO_UNSCOPED = ("system", "domain", "project", "none")

_ADMIN = "rule:admin_required"
_SYSTEM_READER = "(role:reader and system_scope:all)"


def _domain(role: str, key: str) -> str:
    return f"(role:{role} and domain_id:%({key})s)"


def _rules() -> list[Rule]:
    rules = [
        Rule("admin_required", "role:admin", "An administrator, in any scope.", ()),
        Rule("service_role", "role:service", "A service of the cloud.", ()),
        Rule(
            "domain_managed_target_role",
            "'manager':%(target.role.name)s or 'member':%(target.role.name)s"
            " or 'reader':%(target.role.name)s",
            "A role that a domain manager may grant.",
            (),
        ),
    ]

    def add(name: str, check: str, text: str, scopes: tuple[str, ...] = _ANY) -> None:
        rules.append(Rule(f"identity:{name}", check, text, scopes))

    read = f"{_ADMIN} or {_SYSTEM_READER}"
    own_domain = "domain_id:%(target.domain.id)s or project_domain_id:%(target.domain.id)s"
    add("get_domain", f"{read} or {own_domain}", "Show a domain.")
    add(
        "list_domains", f"{read} or role:reader and domain_id:%(target.domain.id)s", "List domains."
    )
    for verb in ("create", "update", "delete"):
        add(f"{verb}_domain", _ADMIN, f"{verb.title()} a domain.")

    key = "target.project.domain_id"
    domain_read = _domain("reader", key)
    add(
        "get_project",
        f"{read} or {domain_read} or project_id:%(target.project.id)s",
        "Show a project.",
    )
    add("list_projects", f"{read} or {_domain('reader', 'target.domain_id')}", "List projects.")
    for verb in ("create", "update", "delete"):
        add(
            f"{verb}_project",
            f"{_ADMIN} or {_domain('manager', key)}",
            f"{verb.title()} a project.",
        )
    mine = "project_id:%(target.project.id)s"
    for name in ("list_project_tags", "get_project_tag"):
        add(name, f"{read} or {domain_read} or {mine}", "Show the tags of a project.")
    for name in (
        "update_project_tags",
        "create_project_tag",
        "delete_project_tag",
        "delete_project_tags",
    ):
        add(name, f"{_ADMIN} or {_domain('manager', key)}", "Change the tags of a project.")

    key = "target.user.domain_id"
    self_ = "user_id:%(target.user.id)s"
    add(
        "get_user", f"{read} or {_domain('reader', key)} or {self_}", "Show a user.", _ALSO_UNSCOPED
    )
    add("list_users", f"{read} or {_domain('reader', 'target.domain_id')}", "List users.")
    add(
        "list_user_projects",
        f"{read} or {_domain('reader', key)} or {self_}",
        "List the projects of a user.",
        _ALSO_UNSCOPED,
    )
    for verb in ("create", "update", "delete"):
        add(f"{verb}_user", f"{_ADMIN} or {_domain('manager', key)}", f"{verb.title()} a user.")

    key = "target.group.domain_id"
    add("get_group", f"{read} or {_domain('reader', key)}", "Show a group.")
    add("list_groups", f"{read} or {_domain('reader', 'target.domain_id')}", "List groups.")
    add(
        "list_groups_for_user",
        f"{read} or {_domain('reader', 'target.user.domain_id')} or {self_}",
        "List the groups of a user.",
        _ALSO_UNSCOPED,
    )
    for verb in ("create", "update", "delete"):
        add(f"{verb}_group", f"{_ADMIN} or {_domain('manager', key)}", f"{verb.title()} a group.")
    add(
        "list_users_in_group", f"{read} or {_domain('reader', key)}", "List the members of a group."
    )
    both = f"(role:manager and domain_id:%({key})s and domain_id:%(target.user.domain_id)s)"
    reads = f"(role:reader and domain_id:%({key})s and domain_id:%(target.user.domain_id)s)"
    add("check_user_in_group", f"{read} or {reads}", "Ask whether a user is in a group.")
    add("add_user_to_group", f"{_ADMIN} or {both}", "Put a user into a group.")
    add("remove_user_from_group", f"{_ADMIN} or {both}", "Take a user out of a group.")

    managers = "(role:manager and not domain_id:None)"
    for name in ("get_role", "list_roles"):
        add(name, f"{read} or {managers}", "Show roles.")
    for name in ("get_domain_role", "list_domain_roles"):
        add(name, read, "Show the roles of a domain.", _NO_DOMAIN)
    for verb in ("create", "update", "delete"):
        add(f"{verb}_role", _ADMIN, f"{verb.title()} a role.", _NO_DOMAIN)
        add(f"{verb}_domain_role", _ADMIN, f"{verb.title()} a role of a domain.", _NO_DOMAIN)
    for name in (
        "get_implied_role",
        "list_implied_roles",
        "list_role_inference_rules",
        "check_implied_role",
    ):
        add(name, read, "Show which roles imply which.")
    for name in ("create_implied_role", "delete_implied_role"):
        add(name, _ADMIN, "Change which roles imply which.")

    target = (
        "(domain_id:%(target.project.domain_id)s or domain_id:%(target.domain.id)s)"
        " and (domain_id:%(target.user.domain_id)s or domain_id:%(target.group.domain_id)s)"
    )
    manager = f"(role:manager and {target} and rule:domain_managed_target_role)"
    role_fits = "(domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s)"
    add("list_grants", f"{read} or (role:reader and {target})", "Show grants.")
    add("check_grant", f"{read} or (role:reader and {target} and {role_fits})", "Show a grant.")
    for name in ("create_grant", "revoke_grant"):
        add(name, f"{_ADMIN} or ({manager} and {role_fits})", "Change grants.")
    for actor in ("", "_for_group"):
        add(f"list_system_grants{actor or '_for_user'}", read, "List grants on the system.")
        add(f"check_system_grant{actor or '_for_user'}", read, "Check a grant on the system.")
        add(f"create_system_grant{actor or '_for_user'}", _ADMIN, "Grant a role on the system.")
        add(f"revoke_system_grant{actor or '_for_user'}", _ADMIN, "Revoke a role on the system.")
    add(
        "list_role_assignments",
        f"{read} or {_domain('reader', 'target.domain_id')}",
        "List role assignments.",
    )
    add(
        "list_role_assignments_for_tree",
        f"{read} or (role:admin and project_id:%(target.project.id)s)"
        f" or {_domain('reader', 'target.project.domain_id')}",
        "List role assignments of a tree of projects.",
    )

    for noun in ("service", "endpoint"):
        add(f"get_{noun}", read, f"Show a {noun}.")
        add(f"list_{noun}s", read, f"List {noun}s.")
    for name in ("get_region", "list_regions"):
        add(name, "", "Show regions.", _ALSO_UNSCOPED)
    for noun in ("service", "endpoint", "region"):
        for verb in ("create", "update", "delete"):
            add(f"{verb}_{noun}", _ADMIN, f"{verb.title()} a {noun}.")

    owner = "user_id:%(target.user.id)s"
    for name in ("get_application_credential", "list_application_credentials"):
        add(name, f"{read} or {owner}", "Show application credentials.")
    add("create_application_credential", owner, "Create an application credential.", ("project",))
    add(
        "delete_application_credential", f"{_ADMIN} or {owner}", "Delete an application credential."
    )
    for name in ("get_access_rule", "list_access_rules"):
        add(name, f"{_SYSTEM_READER} or {owner}", "Show access rules.", _NO_DOMAIN)
    system_admin = "(role:admin and system_scope:all)"
    add("delete_access_rule", f"{system_admin} or {owner}", "Delete an access rule.", _NO_DOMAIN)
    return rules


RULES = [*_rules(), *policy_extensions.RULES]
