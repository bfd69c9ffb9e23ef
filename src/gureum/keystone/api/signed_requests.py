"""Tokens for requests that an EC2 or S3 client has signed with a key pair (ec2tokens, s3tokens).

Only services may ask: who could, would act as anybody whose signed request was overheard.
"""

from __future__ import annotations

from typing import Any

from gureum.core.context import Context
from gureum.core.spec import (
    BadRequest,
    Json,
    Nested,
    Reply,
    String,
    Struct,
    Unauthorized,
    operation,
)
from gureum.keystone.api.auth import answered
from gureum.keystone.logic import ec2
from gureum.keystone.logic.deps import Deps


class Ec2Request(Struct, extra="ignore"):
    """A request as its signature covers it."""

    access = String("Access key.", max=255, required=True)
    signature = String("The signature.", max=255, required=True)
    verb = String("HTTP method.", max=16, default="")
    host = String("Host, with a port when one was signed.", max=255, default="")
    port = Json("Port; not looked at.")
    path = String("Path.", max=None, default="")
    params = Json("Parameters of the query.", kinds=(dict,), default={})
    headers = Json("Headers.", kinds=(dict,), default={})
    body_hash = String("SHA-256 of the body, hexadecimal.", max=64, default="")


class Ec2Login(Struct, extra="ignore"):
    """Two names of the same."""

    credentials = Nested(Ec2Request, "The request.")
    ec2_credentials = Nested(Ec2Request, "The same, by an older name.", key="ec2Credentials")


class S3Request(Struct, extra="ignore"):
    """What was signed, and the signature."""

    access = String("Access key.", max=255, required=True)
    token = String("The text that was signed, as base64.", max=None, required=True)
    signature = String("The signature.", max=255, required=True)


class S3Login(Struct, extra="ignore"):
    """A signed request."""

    credentials = Nested(S3Request, "The request.", required=True)


def _no_target(ctx: Context, row: Any, new: Any) -> dict[str, Any]:
    return {}


@operation(
    "POST",
    "/ec2tokens",
    policy="identity:ec2tokens_validate",
    status=200,
    request=Ec2Login,
    manual=True,
    target=_no_target,
    errors=(Unauthorized, BadRequest),
)
def create_ec2_token(ctx: Context, deps: Deps, new: Ec2Login) -> Reply:
    """Hand out the token of who signed an EC2 request."""
    signed = new.get("credentials") or new.get("ec2_credentials")
    if signed is None:
        raise BadRequest("The body must have the key 'credentials'.")
    values = {name: signed.get(name) for name in Ec2Request.fields if name != "port"}
    token, checked = ec2.ec2_token(deps, values)
    return answered(token, checked, status=200)


@operation(
    "POST",
    "/s3tokens",
    policy="identity:s3tokens_validate",
    status=200,
    request=S3Login,
    manual=True,
    target=_no_target,
    errors=(Unauthorized, BadRequest),
)
def create_s3_token(ctx: Context, deps: Deps, new: S3Login) -> Reply:
    """Hand out the token of who signed an S3 request."""
    signed = new.credentials
    token, checked = ec2.s3_token(deps, signed.access, signed.token, signed.signature)
    return answered(token, checked, status=200)
