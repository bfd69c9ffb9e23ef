"""`gureum keystone keys …`: the keys of tokens, receipts and stored secrets.

Owns: making, showing, rotating and sharing keys, and handing out public ones. To be run as the user of the
control process. Must not: know how a key looks.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.fernet import Fernet

from gureum.cli import place
from gureum.core import log
from gureum.core.db import Database
from gureum.core.run import Runtime
from gureum.keystone.components import Keys
from gureum.keystone.config import TokenOptions
from gureum.keystone.logic.keyring import DatabaseKeys, FolderKeys, KeyRing
from gureum.keystone.logic.reencrypt import renew
from gureum.keystone.logic.vault import Vault


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command and its verbs."""
    text = "identity: the keys of tokens and stored secrets"
    parser = commands.add_parser("keystone", help=text, description=text[0].upper() + text[1:])
    nouns = parser.add_subparsers(dest="noun", metavar="NOUN", required=True)
    keys = nouns.add_parser("keys", help="set-up, rotation, distribution")
    verbs = keys.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str, work: Callable[[argparse.Namespace], int]) -> None:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        place.add_arguments(sub)
        sub.set_defaults(run=work)
        if name == "rotate":
            sub.add_argument("purpose", choices=Keys.PURPOSES)
        if name == "public":
            sub.add_argument("folder", type=Path)

    verb("list", "which keys there are, by number", _list)
    verb("setup", "make the keys that are missing", _setup)
    verb("rotate", "make the staged key the primary one and stage a new one", _rotate)
    verb("public", "write the public keys and certificates into a folder", _public)
    verb("cluster-key", "make the key that shared keys are encrypted with", _cluster_key)
    verb("share", "copy the keys of this node's files into the database", _share)


def _opened(args: argparse.Namespace) -> tuple[Runtime, Database]:
    log.setup("WARNING")
    runtime = Runtime(place.read_config(place.existing(args)), name="keys")
    return runtime, runtime.database("keystone")


def _rings(keys: Keys) -> dict[str, KeyRing]:
    return {purpose: keys.of_purpose(purpose) for purpose in Keys.PURPOSES}


def _list(args: argparse.Namespace) -> int:
    runtime, database = _opened(args)
    try:
        keys = Keys.of(runtime, database)
        print(f"tokens: {keys.options.provider}; keys in: {keys.options.key_source}")
        for purpose in Keys.PURPOSES:
            numbers = sorted(keys.numbers(purpose))
            if numbers:
                older = " ".join(map(str, numbers[1:-1])) or "none"
                print(f"{purpose:12} primary {numbers[-1]}, staged {numbers[0]}, older {older}")
            else:
                print(f"{purpose:12} none yet")
    finally:
        runtime.close()
    return 0


def _setup(args: argparse.Namespace) -> int:
    runtime, database = _opened(args)
    try:
        _rings(Keys.of(runtime, database))
    finally:
        runtime.close()
    return _list(args)


def _rotate(args: argparse.Namespace) -> int:
    runtime, database = _opened(args)
    try:
        keys = Keys.of(runtime, database)
        ring = keys.of_purpose(args.purpose)
        if args.purpose == "credential":
            print(f"{renew(database, Vault(keys.ring('credential')))} secrets encrypted anew")
        ring.rotate()
    finally:
        runtime.close()
    return _list(args)


def _public(args: argparse.Namespace) -> int:
    runtime, database = _opened(args)
    try:
        keys = Keys.of(runtime, database)
        args.folder.mkdir(parents=True, exist_ok=True)
        files = keys.public_files()
        if not files:
            raise place.Unusable(
                f"tokens of the form {keys.options.provider} have no public keys; jws, pki and"
                " pkiz have"
            )
        for name, content in files.items():
            (args.folder / name).write_bytes(content)
            print(args.folder / name)
    finally:
        runtime.close()
    return 0


def _cluster_key(args: argparse.Namespace) -> int:
    config = place.read_config(place.existing(args))
    path = Path(config.get(TokenOptions).cluster_key)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise place.Unusable(f"{path} is there already; copy it to the other nodes") from None
    with os.fdopen(handle, "wb") as file:
        file.write(Fernet.generate_key())
    print(f"{path}: copy it to every node that runs keystone, readable by its user alone")
    return 0


def _share(args: argparse.Namespace) -> int:
    runtime, database = _opened(args)
    try:
        keys = Keys.of(runtime, database)
        path = Path(keys.options.cluster_key)
        if not path.exists():
            raise place.Unusable(
                f"{path} is missing; {place.launcher()} keystone keys cluster-key makes it"
            )
        secret = path.read_bytes().strip()
        for purpose, folder in keys.folders.items():
            if not Path(folder).is_dir():
                continue
            shared = DatabaseKeys(database, purpose, secret)
            found = FolderKeys(folder).read()
            if found and not shared.adopt(found):
                raise place.Unusable(f"the database has other keys for {purpose} already")
            print(f"{purpose}: {_counted(sorted(found))}")
    finally:
        runtime.close()
    print('now set key_source = "database" in [keystone.token] on every node')
    return 0


def _counted(numbers: Sequence[int]) -> str:
    return f"{len(numbers)} keys shared" if numbers else "no keys"
