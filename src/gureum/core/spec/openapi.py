"""The OpenAPI document of a service at one version, derived from its declarations.

Follows: OpenAPI Specification 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Protocol

from gureum.core.spec.fields import Behaviour, Field
from gureum.core.spec.operations import PUBLIC, Operation
from gureum.core.spec.versions import BASE, Microversions, Version


class Described(Protocol):
    """What a document needs of a service."""

    name: str
    title: str
    prefix: str
    operations: Any
    root_operations: Any
    versions: Microversions | None


def document(service: Described, version: Version = BASE) -> dict[str, Any]:
    """Return the document of a service at a version."""
    paths: dict[str, dict[str, Any]] = {}
    places = [(service.prefix, op) for op in service.operations]
    places += [("", op) for op in service.root_operations]
    for prefix, op in places:
        if not op.active(version):
            continue
        path = (prefix + op.path) or "/"
        method = op.method.lower()
        slot = paths.setdefault(path, {})
        if method in slot and op.action is not None:
            _add_action(slot[method], op, version)
        else:
            slot[method] = _operation(op, version)
    return {
        "openapi": "3.1.0",
        "info": {"title": service.title, "version": str(version) if service.versions else "2"},
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}
        },
    }


def _operation(op: Operation, version: Version) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": op.name,
        "summary": op.text.split("\n", 1)[0],
        "x-policy": op.policy,
        "parameters": [*_path_parameters(op), *_query_parameters(op, version)],
        "responses": {str(op.status): _success(op, version), **_errors(op)},
    }
    if op.policy != PUBLIC:
        out["security"] = [{"token": []}]
    if op.upload:
        out["requestBody"] = {"content": {kind: {} for kind in op.media or ("*/*",)}}
    elif op.request is not None:
        schema = _wrapped(op.request.schema(version), op.wrap)
        content = {kind: {"schema": schema} for kind in op.media}
        out["requestBody"] = {"required": not op.optional_body, "content": content}
    return out


def _add_action(into: dict[str, Any], op: Operation, version: Version) -> None:
    """Put a further action of one path beside the first."""
    if op.request is None:
        return
    schema = _wrapped(op.request.schema(version), op.wrap)
    for content in into.setdefault("requestBody", {"content": {}})["content"].values():
        have = content["schema"]
        content["schema"] = {"oneOf": [*have.get("oneOf", [have]), schema]}


def _wrapped(schema: dict[str, Any], key: str | None) -> dict[str, Any]:
    if not key:
        return schema
    return {"type": "object", "required": [key], "properties": {key: schema}}


def _success(op: Operation, version: Version) -> dict[str, Any]:
    out: dict[str, Any] = {"description": HTTPStatus(op.status).phrase}
    schema: dict[str, Any] | None = None
    if op.items is not None and op.response_wrap:
        schema = _wrapped({"type": "array", "items": op.items.schema(version)}, op.response_wrap)
    elif op.response is not None:
        schema = _wrapped(op.response.schema(version), op.response_wrap)
    if schema is not None:
        out["content"] = {"application/json": {"schema": schema}}
    return out


def _errors(op: Operation) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for error in op.errors:
        found.setdefault(str(error.status), []).append((error.__doc__ or error.code).split("\n")[0])
    return {status: {"description": " ".join(texts)} for status, texts in sorted(found.items())}


def _path_parameters(op: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", op.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query_parameters(op: Operation, version: Version) -> Iterable[dict[str, Any]]:
    if op.query is None:
        return
    for one in op.query.fields.values():
        if isinstance(one, Behaviour) or not one.active(version):
            continue
        yield _parameter(one, version)


def _parameter(one: Field[Any], version: Version) -> dict[str, Any]:
    return {
        "name": one.key,
        "in": "query",
        "required": one.required,
        "description": one.text,
        "schema": one.inner_schema(version),
    }
