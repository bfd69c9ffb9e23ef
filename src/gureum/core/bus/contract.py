"""What may be asked of an agent: contracts, their methods and the errors that cross the bus.

Owns: `Contract`, `@call`, `@job`, `@cast`, the type-driven encoding of arguments and results,
`AgentError`. Must not: know a transport. Follows docs/adr/0004-bus.md.

    class DiskFull(AgentError):
        code = "disk_full"

    class ComputeAgent(Contract, topic="compute", version=1):
        @call(timeout=FAST)
        def capabilities(self) -> Capabilities: ...

        @job(timeout=SLOW)
        def spawn(self, key: str, generation: int, guest: GuestSpec) -> GuestHandle: ...

        @cast()
        def refresh(self) -> None: ...
"""

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from gureum.core.shapes import ready

FAST = 30.0
"""Seconds a short question may take, the wait for a restarting agent included."""
SLOW = 1800.0
"""Seconds a job may take before its runner asks again."""

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["call", "cast", "job"]


class BusError(Exception):
    """The bus could not carry a request. `retryable`: asking again later may work."""

    code = "bus"
    retryable = True


class BusTimeout(BusError):
    """No answer came before the deadline; whether the request was carried out is unknown."""

    code = "timeout"


class NoServer(BusTimeout):
    """Nobody serves the topic and host, and nobody came until the deadline."""

    code = "no_server"


class BadMessage(BusError):
    """Arguments or result do not fit the contract, or its version is another one."""

    code = "bad_message"
    retryable = False


class AgentError(Exception):
    """An agent refused or failed; code and text cross the bus, the traceback does not.

    Subclasses set `code` (stored and compared: append-only) and are raised with a text; the base
    may be raised as `AgentError("some_code", "text")`. `retryable`: the same request may work
    later.
    """

    code: str = "agent_error"
    retryable: bool = False

    def __init__(self, code_or_text: str = "", text: str | None = None) -> None:
        if text is None:
            text = code_or_text
        else:
            self.code = code_or_text
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class AgentFailed(AgentError):
    """The agent raised something that its contract does not declare: a defect."""

    code = "internal"


class AgentBusy(AgentError):
    """The agent's queue of waiting work is full."""

    code = "busy"
    retryable = True


class AgentUnavailable(AgentError):
    """What the agent needs for its answer is away for now: a database, another service."""

    code = "unavailable"
    retryable = True


class Fenced(AgentError):
    """The request carries an older generation than one already seen for the resource."""

    code = "fenced"


class _BadRequest(AgentError):
    """How `BadMessage` crosses the wire."""

    code = "bad_message"


def error_from_wire(code: str, text: str) -> Exception:
    """Return the declared error class for a code, or a plain AgentError that carries it."""
    if code == _BadRequest.code:
        return BadMessage(text)
    waiting = list(AgentError.__subclasses__())
    while waiting:
        candidate = waiting.pop()
        if candidate.__dict__.get("code") == code:
            return candidate(text)
        waiting.extend(candidate.__subclasses__())
    return AgentError(code, text)


@dataclass(frozen=True, slots=True)
class Method:
    """One declared method of a contract, with its codecs."""

    name: str
    kind: Kind
    timeout_s: float
    params: tuple[str, ...]
    request: type[msgspec.Struct]
    reply: Any

    def __post_init__(self) -> None:
        ready(self.request, self.reply)

    def encode_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Raises: TypeError (wrong parameters), BadMessage (a value that cannot be encoded)."""
        try:
            return msgspec.msgpack.encode(self.request(*args, **kwargs))
        except (TypeError, ValueError, OverflowError) as error:
            if "argument" in str(error):
                raise TypeError(f"{self.name}: {error}") from error
            raise BadMessage(f"{self.name}: {error}") from error

    def decode_args(self, body: bytes) -> dict[str, Any]:
        """Raises: BadMessage."""
        try:
            decoded = msgspec.msgpack.decode(body, type=self.request)
        except msgspec.MsgspecError as error:
            raise BadMessage(f"{self.name}: {error}") from error
        return {name: getattr(decoded, name) for name in self.params}

    def encode_result(self, value: Any) -> bytes:
        """Raises: BadMessage (a value that cannot be encoded)."""
        try:
            return msgspec.msgpack.encode(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise BadMessage(f"result of {self.name}: {error}") from error

    def decode_result(self, body: bytes) -> Any:
        """Raises: BadMessage."""
        try:
            return msgspec.msgpack.decode(body, type=self.reply)
        except msgspec.MsgspecError as error:
            raise BadMessage(f"result of {self.name}: {error}") from error


def _marked(kind: Kind, timeout_s: float) -> Callable[[F], F]:
    def mark(function: F) -> F:
        function.__bus__ = (kind, timeout_s)  # type: ignore[attr-defined]
        return function

    return mark


def call(*, timeout: float = FAST) -> Callable[[F], F]:
    """Declare a question with an answer. It may be carried out more than once: make it
    idempotent.
    """
    return _marked("call", timeout)


def job(*, timeout: float = SLOW) -> Callable[[F], F]:
    """Declare long work, idempotent by its first parameters `key: str, generation: int`."""
    return _marked("job", timeout)


def cast() -> Callable[[F], F]:
    """Declare a hint without an answer; it may be lost."""
    return _marked("cast", FAST)


def _method(owner: str, name: str, function: Callable[..., Any]) -> Method:
    kind, timeout_s = function.__bus__  # type: ignore[attr-defined]
    hints = typing.get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    parameters = list(inspect.signature(function).parameters.values())[1:]
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise TypeError(f"{owner}.{name}: parameter {parameter.name} must be a plain one")
        if parameter.name not in hints:
            raise TypeError(f"{owner}.{name}: parameter {parameter.name} has no type")
        field: tuple[Any, ...] = (parameter.name, hints[parameter.name])
        if parameter.default is not parameter.empty:
            field = (*field, parameter.default)
        fields.append(field)
    if "return" not in hints:
        raise TypeError(f"{owner}.{name}: the result has no type")
    names = tuple(parameter.name for parameter in parameters)
    if kind == "job" and names[:2] != ("key", "generation"):
        raise TypeError(f"{owner}.{name}: a job starts with key: str, generation: int")
    if kind == "cast" and hints["return"] is not type(None):
        raise TypeError(f"{owner}.{name}: a cast has no result")
    request = msgspec.defstruct(f"{owner}_{name}", fields)
    return Method(name, kind, timeout_s, names, request, hints["return"])


class Contract:
    """Base of everything that can be asked over the bus. Subclass it with `topic` and `version`.

    `version` is the major one: raise it only when an old caller cannot be understood any more. A
    new parameter with a default, or a new field with a default, does not need it.
    """

    topic: ClassVar[str]
    version: ClassVar[int]
    methods: ClassVar[dict[str, Method]]

    def __init_subclass__(cls, *, topic: str | None = None, version: int = 1, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if topic is None:  # an implementation of a declared contract
            if not hasattr(cls, "topic"):
                raise TypeError(f"{cls.__name__} needs topic=")
            return
        cls.topic, cls.version = topic, version
        cls.methods = {
            name: _method(cls.__name__, name, function)
            for name, function in inspect.getmembers(cls, inspect.isfunction)
            if hasattr(function, "__bus__")
        }


def missing_methods(contract: type[Contract], impl: object) -> list[str]:
    """Return the contract's methods that `impl` does not implement."""
    return [
        name
        for name in contract.methods
        if not callable(getattr(impl, name, None))
        or getattr(type(impl), name, None) is getattr(contract, name)
    ]
