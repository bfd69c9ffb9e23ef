#!/usr/bin/env python3
"""Type every identity command of `openstack` at a Keystone, as a newcomer would, and call what SDKs offer.

Owns: the sessions, the count. A command or method that no session uses counts as failed, so a new one of a
newer client shows up. Needs python-openstackclient, openstacksdk and python-keystoneclient; takes a minute.

usage: tests/compat/try_identity_commands.py [--only openstack|sdk|keystoneclient]
"""

import argparse
import collections
import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
import tempfile
import traceback
from importlib.metadata import entry_points, version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from incloud import PASSWORD, InCloud
from try_identity_calls import sdk_calls
from try_keystoneclient import keystoneclient_calls

from gureum.testing.ports import free_offset

SETTINGS = """
[keystone]
hash_time_cost = 1
hash_memory_kib = 8192
[keystone.token]
provider = "pkiz"
[keystone.saml]
idp_entity_id = "https://cloud.example/idp"
idp_sso_endpoint = "https://cloud.example/sso"
"""


class Failed(Exception):
    """A command did not do what it should; the text says what it said."""


class Tried:
    """Runs commands in this process, and remembers which did what they should."""

    def __init__(self):
        self.outcome = collections.defaultdict(list)
        self.names = sorted(
            point.name.replace("_", " ") for point in entry_points(group="openstack.identity.v3")
        )

    def __call__(self, line, expect="", *, env=None):
        """Run a command; returns what it printed. A failure is remembered, and the session goes on."""
        if env is not None:  # another user: clients of the first stay in the memory of a process
            words = [str(Path(sys.executable).parent / "openstack"), *shlex.split(line)]
            told = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env}
            done = subprocess.run(words, env=told, capture_output=True, text=True, check=False)
            return self._noted(line, expect, done.returncode, done.stdout, done.stderr)
        from openstackclient import shell

        out, err, code = io.StringIO(), io.StringIO(), None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = shell.main(shlex.split(line))
            except SystemExit as end:
                code = end.code
            except Exception:
                code, _ = 1, err.write(traceback.format_exc(limit=-3))
        return self._noted(line, expect, code, out.getvalue(), err.getvalue())

    def _noted(self, line, expect, code, said, complained):
        # `federation protocol set` ends with what it would show, which a shell takes for a failure
        fine = (not code or isinstance(code, tuple)) and expect in said
        self.outcome[self._name(line)].append(fine)
        if not fine:
            print(f"FAILED openstack {line}\n       exit {code}; {complained[-900:]}{said[-400:]}")
        return said

    def made(self, line, field="id", **rest):
        """Run a command that makes something; returns a field of it."""
        said = self(f"{line} -f json", **rest)
        with contextlib.suppress(ValueError):
            shown = json.loads(said)
            found = {key.lower().replace(" ", "_"): value for key, value in shown.items()}
            if found.get(field):
                return str(found[field])
        raise Failed(f"{line}: no {field} in {said[:300]}")

    def _name(self, line):
        plain = line.split(" --os-")[0]
        known = [name for name in self.names if f"{plain} ".startswith(f"{name} ")]
        return max(known, key=len) if known else plain


def people(o, w):
    """Domains, projects, users, groups, roles."""
    o("domain create --description first --enable corp", "corp")
    o("domain list", "corp")
    o("domain list --name corp --enabled", "corp")
    o("domain set --description second --name company corp")
    o("domain show company", "second")
    o("project create --domain company --description d --property size=big --tag blue work", "work")
    o("project create --or-show --domain company work", "work")
    o("project set --domain company --name office --disable --property size=small work")
    o("project set --domain company --enable --tag red --remove-tag blue office")
    o("project create --domain company --parent office below")
    o("project show --domain company --children --parents office", "office")
    o("project list --domain company --long --tags red --sort name:asc", "office")
    o("project list --parent office --domain company", "below")
    o("project list --my-projects")
    o(
        "user create --domain company --project office --project-domain company --password pw"
        " --email a@example.org --description x --enable alice",
        "alice",
    )
    o("user create --or-show --domain company alice", "alice")
    o(
        "user create --domain company --ignore-lockout-failure-attempts --ignore-password-expiry"
        " --enable-multi-factor-auth --multi-factor-auth-rule password,totp bob",
        "bob",
    )
    o("user list --domain company --long", "alice")
    o("user list --project admin", "admin")
    o(
        "user set --domain company --name ann --email b@example.org --no-ignore-password-expiry alice"
    )
    o("user set --domain company --disable bob")
    o("user set --domain company --enable bob")
    o("user show --domain company ann", "b@example.org")
    o("group create --domain company --description g staff", "staff")
    domain = o.made("domain show company")  # these two hand a name on as if it were an id
    o(f"group create --or-show --domain {domain} staff", "staff")
    o("group list --domain company --long", "staff")
    o("group set --domain company --name team --description h staff")
    o("group show --domain company team", "team")
    o("group add user --group-domain company --user-domain company team ann bob")
    o("group contains user --group-domain company --user-domain company team ann", "ann in group")
    o("group list --user ann --user-domain company", "team")
    o(f"user list --group team --domain {domain}", "ann")
    o("group remove user --group-domain company --user-domain company team bob")
    o("role create --description r painter", "painter")
    o("role create --domain company artist")
    o("role create --or-show painter", "painter")
    o("role list", "painter")
    o("role list --domain company", "artist")
    o("role set --name drawer painter")
    o("role show drawer", "drawer")
    o("implied role create member --implied-role drawer")
    o("implied role list", "drawer")
    o("implied role delete member --implied-role drawer")
    project = "--project office --project-domain company"
    o(f"role add {project} --user ann --user-domain company member")
    o(f"role add {project} --group team --group-domain company --inherited drawer")
    o("role add --domain company --user ann --user-domain company reader")
    o("role add --system all --user ann --user-domain company reader")
    o(f"role assignment list {project} --names", "ann@company")
    o("role assignment list --user ann --user-domain company --effective")
    o("role assignment list --system all --names --user admin", "admin")
    o("role assignment list --auth-user --auth-project")
    o(f"role remove {project} --user ann --user-domain company member")
    o("role remove --system all --user ann --user-domain company reader")
    o(f"role add {project} --user ann --user-domain company member")


def own(o, w):
    """What a user does in her own name."""
    env = {
        **w.environ(),
        "OS_USERNAME": "ann",
        "OS_PASSWORD": "pw",
        "OS_USER_DOMAIN_NAME": "company",
        "OS_PROJECT_NAME": "office",
        "OS_PROJECT_DOMAIN_NAME": "company",
    }
    o("token issue", "expires", env=env)
    token = o.made("token issue", "id", env=env)
    o(f"token revoke {token}")
    o("catalog list", "identity", env=env)
    o("catalog show identity", "identity", env=env)
    o("user password set --original-password pw --password pw2", env=env)
    env["OS_PASSWORD"] = "pw2"
    office = o.made("project show --domain company office")
    ann = o.made("user show --domain company ann")
    member = o.made("role show member")
    o("project list", "office", env=env)
    rules = '[{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]'
    made = o.made(
        "application credential create --secret s --role member --description d --restricted"
        f" --expiration 2030-01-01T00:00:00 --access-rules '{rules}' ci",
        env=env,
    )
    o("application credential list", "ci", env=env)
    o("application credential show ci", made, env=env)
    rule = json.loads(o("access rule list -f json", env=env))[0]["ID"]
    o(f"access rule show {rule}", "/v2.1/servers", env=env)
    o("application credential delete ci", env=env)
    o(f"access rule delete {rule}", env=env)
    access = o.made("ec2 credentials create", "access", env=env)
    o("ec2 credentials list", access, env=env)
    o(f"ec2 credentials show {access}", access, env=env)
    o(f"ec2 credentials delete {access}", env=env)
    trust = o.made(
        # users may not look up others: they name them by id
        f"trust create --role {member} --project {office} {ann} {w.cloud.user_id}",
        env=env,
    )
    o("trust list", trust)
    o(f"trust list --trustor {ann}", trust, env=env)
    o(f"trust show {trust}", trust, env=env)
    o("token issue", "project", env={**_only_admin(w), "OS_TRUST_ID": trust})
    o(f"trust delete {trust}", env=env)
    o("federation project list", "office", env=env)
    o("federation domain list", env=env)
    consumer = o.made("consumer create --description c")
    secret = json.loads(o(f"consumer show {consumer} -f json"))
    assert secret["id"] == consumer
    o("consumer list", consumer)
    o(f"consumer set --description e {consumer}")
    second = json.loads(o("consumer create -f json"))
    key = f"--consumer-key {second['id']} --consumer-secret {second['secret']}"
    asked = json.loads(o(f"request token create {key} --project admin -f json"))
    way = f"--request-key {asked['id']}"
    pin = json.loads(o(f"request token authorize {way} --role member -f json"))
    o(
        f"access token create {key} {way} --request-secret {asked['secret']}"
        f" --verifier {pin['oauth_verifier']}",
        "secret",
    )
    o(f"consumer delete {consumer} {second['id']}")


def _only_admin(w):
    """Return the administrator's settings without a project: a trust brings its own."""
    env = w.environ()
    return {name: value for name, value in env.items() if "PROJECT" not in name}


def catalogue(o, w):
    """Regions, services, endpoints, limits, policies."""
    o("region create --description r north", "north")
    o("region create --parent-region north harbour")
    o("region list --parent-region north", "harbour")
    o("region set --description s harbour")
    o("region show harbour", "north")
    service = o.made("service create --name paint --description d --enable painting")
    o("service list --long", "painting")
    o("service set --name colour --disable paint")
    o("service set --enable colour")
    o("service show colour", "painting")
    endpoint = o.made("endpoint create --region north painting public http://x/%(project_id)s")
    o("endpoint list --service painting --interface public --region north", endpoint)
    o(f"endpoint set --url http://y --disable {endpoint}")
    o(f"endpoint show {endpoint}", "http://y")
    o(f"endpoint add project --project-domain company {endpoint} office")
    o(f"endpoint list --endpoint {endpoint}", "office")
    o("endpoint list --project office --project-domain company", endpoint)
    o(f"endpoint remove project --project-domain company {endpoint} office")
    filters = w.folder / "filters.json"
    filters.write_text(json.dumps({"service_id": service}))
    group = o.made(f"endpoint group create --description g paints {filters}")
    o("endpoint group list", "paints")
    o(f"endpoint group set --name colours --filters {filters} {group}")
    o("endpoint group show colours", group)
    office = o.made(
        "project show --domain company office"
    )  # by name only where the domain is one's own
    o(f"endpoint group add project colours {office}")
    o("endpoint group list --endpointgroup colours", "office")
    o(f"endpoint group list --project {office}", "colours")
    o(f"endpoint group remove project colours {office}")
    o("endpoint group delete colours")
    limit = o.made(
        "registered limit create --service colour --region north --description l"
        " --default-limit 10 brushes"
    )
    o("registered limit list --service colour", "brushes")
    o(f"registered limit set --default-limit 20 --description m {limit}")
    o(f"registered limit show {limit}", "20")
    own = o.made(
        "limit create --service colour --region north --project admin --resource-limit 5 brushes"
    )
    o("limit list --service colour --resource-name brushes", own)
    o(f"limit set --resource-limit 7 --description n {own}")
    o(f"limit show {own}", "7")
    o(f"limit delete {own}")
    o(f"registered limit delete {limit}")
    text = w.folder / "policy.json"
    text.write_text('{"rule": "role:admin"}')
    policy = o.made(f"policy create --type application/json {text}")
    o("policy list --long", policy)
    o(f"policy set --rules {text} --type text/plain {policy}")
    o(f"policy show {policy}", "text/plain")
    o(f"policy delete {policy}")
    o(f"endpoint delete {endpoint}")
    o("service delete colour")
    o("region delete harbour north")


def secrets(o, w):
    """Credentials."""
    made = o.made("credential create --type cert --project admin admin blob")
    o("credential list --user admin --type cert", made)
    o(f"credential set --type cert --user admin --data other --project admin {made}")
    o(f"credential show {made}", "other")
    o(f"credential delete {made}")


def federation(o, w):
    """Providers, mappings, protocols."""
    rules = w.folder / "rules.json"
    local, remote = [{"user": {"name": "{0}"}}], [{"type": "HTTP_OIDC_SUB"}]
    rules.write_text(json.dumps([{"local": local, "remote": remote}]))
    o(f"mapping create --rules {rules} corp-rules", "corp-rules")
    o("mapping list", "corp-rules")
    o(f"mapping set --rules {rules} corp-rules")
    o("mapping show corp-rules", "OIDC_SUB")
    o("identity provider create --remote-id https://idp --description i --enable idp", "idp")
    o("identity provider create --domain company --authorization-ttl 5 second")
    o("identity provider list --enabled", "idp")
    o("identity provider set --description j --remote-id https://other --disable idp")
    o("identity provider set --enable idp")
    o("identity provider show idp", "https://other")
    o("federation protocol create --identity-provider idp --mapping corp-rules openid", "openid")
    o("federation protocol list --identity-provider idp", "openid")
    o("federation protocol set --identity-provider idp --mapping corp-rules openid")
    o("federation protocol show --identity-provider idp openid", "corp-rules")
    o("federation protocol delete --identity-provider idp openid")
    o("identity provider delete idp second")
    o("mapping delete corp-rules")
    way = "--auth-url http://b/v3/OS-FEDERATION --service-provider-url http://b/sp"
    o(f"service provider create {way} --description s --enable partner", "partner")
    o("service provider list", "partner")
    o("service provider set --description t --disable partner")
    o("service provider show partner", "http://b/sp")
    o("service provider delete partner")


def ending(o, w):
    """Taking away what was made."""
    o("user delete --domain company ann bob")
    o("group delete --domain company team")
    o("project delete --domain company below")
    o("project delete --domain company office")
    o("role delete drawer")
    o("role delete --domain company artist")
    o("domain set --disable company")
    o("domain delete company")


SESSIONS = (people, own, catalogue, secrets, federation, ending)


class World:
    """A Keystone, and settings of its administrator."""

    def __init__(self, cloud, folder):
        self.cloud, self.folder = cloud, folder
        self.signed = (
            True  # tokens are, so that there are certificates and a list of revoked tokens
        )

    def environ(self):
        """Return the settings of the administrator."""
        return {
            "OS_AUTH_URL": self.cloud.auth_url,
            "OS_USERNAME": "admin",
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": self.cloud.runtime.cloud.region,
        }


def commands(w):
    """Type every command; returns what passed and all names."""
    tried = Tried()
    os.environ.update(w.environ())
    for session in SESSIONS:
        try:
            session(tried, w)
        except (Failed, AssertionError, KeyError, ValueError, IndexError) as error:
            print(f"session {session.__name__} ended: {error!r}"[:600], flush=True)
    passed = [n for n in tried.names if tried.outcome.get(n) and all(tried.outcome[n])]
    return passed, tried.names


def main():
    """Run everything and print what passed; the exit status is 1 when anything did not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", choices=("", "openstack", "sdk", "keystoneclient"))
    only = parser.parse_args().only
    programs = (
        ("openstack", "python-openstackclient", commands),
        ("sdk", "openstacksdk", sdk_calls),
        ("keystoneclient", "python-keystoneclient", keystoneclient_calls),
    )
    missed = 0
    with tempfile.TemporaryDirectory(prefix="gureum-commands-") as folder:
        root = Path(folder) / "cloud"
        root.mkdir()
        offset = free_offset()
        with InCloud(
            root, names=("keystone",), offset=offset, extra=SETTINGS, listen=True
        ) as cloud:
            w = World(cloud, Path(folder))
            for program, package, run in programs:
                if only in ("", program):
                    passed, names = run(w)
                    print(
                        f"{program} ({package} {version(package)}): {len(passed)} of {len(names)}"
                    )
                    left = sorted(set(names) - set(passed))
                    missed += len(left)
                    if left:
                        print("  not passed:", ", ".join(left))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
