"""How a server class or a factory is called: its signature, read into what each parameter is for.

It must not know sockets or processes, nor call anything. It imports ``inspect``, so workers that serve a plain handler
class do without it.
Invariant: every required parameter of a recipe has a role, or reading it raised.
Read next: ``application.py``, who calls.
"""

import inspect
from collections.abc import Callable
from enum import Enum, auto
from inspect import Parameter
from typing import Any, NamedTuple

from prefork.errors import TargetError


class Role(Enum):
    """What a parameter is for."""

    ADDRESS = auto()
    HOST = auto()
    PORT = auto()
    HANDLER = auto()
    ACTIVATE = auto()  # whether to bind and listen at once


_PLACES = frozenset({Role.ADDRESS, Role.HOST, Role.PORT})
# as they are seen in the wild, without underscores and in lower case
_NAMES = {
    Role.ADDRESS: "address addr serveraddress serveraddr bind bindaddress bindaddr listenaddress sockaddr",
    Role.HOST: "host hostname serverhost bindhost listenhost interface ip",
    Role.PORT: "port serverport bindport listenport",
    Role.HANDLER: "handler handlerclass handlercls requesthandler requesthandlerclass requesthandlercls",
    Role.ACTIVATE: "bindandactivate",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_STARRED = frozenset({Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD})
_BY_NAME = frozenset({Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD})


class Step(NamedTuple):
    """One parameter.

    :param role: ``None`` leaves it at its default.
    """

    name: str
    role: Role | None
    is_required: bool
    is_keyword_only: bool

    @property
    def is_unknown(self) -> bool:
        return self.is_required and self.role is None


class Recipe(NamedTuple):
    """All parameters, in their order.

    :param shown: the name and the signature, as an error prints them.
    """

    shown: str
    steps: tuple[Step, ...]

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(step.role for step in self.steps if step.role)

    @property
    def wants_an_address(self) -> bool:
        return bool(self.required & _PLACES)

    @property
    def wants_host_and_port(self) -> bool:
        return bool(self.roles & {Role.HOST, Role.PORT})

    @property
    def required(self) -> frozenset[Role]:
        return frozenset(step.role for step in self.steps if step.role and step.is_required)

    def arguments(self, address: Any, handler: Any) -> tuple[list[Any], dict[str, Any]]:
        """What to call with, by position and by name.

        :param address: of the listener, host and port or a path; ``None`` where there is no listener.
        :param handler: a request handler class, or ``None``.
        """
        values: dict[Role | None, Any] = {Role.ACTIVATE: True}
        if handler is not None:
            values[Role.HANDLER] = handler
        if address is not None:
            values[Role.ADDRESS] = address
        if isinstance(address, tuple):
            values[Role.HOST], values[Role.PORT] = address
        positional: list[Any] = []
        named: dict[str, Any] = {}
        is_after_gap = False
        for step in self.steps:
            if step.role not in values:
                is_after_gap = True
            elif is_after_gap or step.is_keyword_only:
                named[step.name] = values[step.role]
            else:
                positional.append(values[step.role])
        return positional, named


def read(target: str, made_by: Callable[..., Any], *, has_handler: bool) -> Recipe:
    """The recipe of a server class or a factory.

    :param target: as its user wrote it.
    :param has_handler: whether there is a handler class to pass.
    :raises TargetError: no rule fits the signature; a handler is wanted and not there, or there and not wanted.
    """
    advice = f"pass a function that makes the server, such as: def serve(address): return {_name(target)}(address, ...)"
    try:
        parameters = _parameters(made_by)
        shown = f"{_name(target)}{inspect.signature(made_by)}"
    except (TypeError, ValueError):
        raise TargetError(f"target {target!r} does not tell what it is called with; {advice}") from None
    steps = _guess([_step(parameter, parameters) for parameter in parameters], has_handler=has_handler)
    unknown = [step.name for step in steps if step.is_unknown]
    if unknown:
        raise TargetError(f"target {target!r} wants {', '.join(unknown)}: {shown}; {advice}")
    recipe = Recipe(shown, tuple(steps))
    if has_handler and Role.HANDLER not in recipe.roles:
        raise TargetError(f"target {target!r} takes no handler: {shown}; leave --handler out, or {advice}")
    if not has_handler and Role.HANDLER in recipe.required:
        raise TargetError(f"target {target!r} wants a request handler class: {shown}; give --handler MODULE:CLASS")
    return recipe


def _name(target: str) -> str:
    return target.rpartition(":")[2]


def _parameters(made_by: Callable[..., Any]) -> list[Parameter]:
    """The parameters to call with. A constructor's ``*args`` stands for those of the next constructor in line."""
    parameters = list(inspect.signature(made_by).parameters.values())
    owners = made_by.__mro__[:-1] if isinstance(made_by, type) else ()
    constructors = [vars(owner)["__init__"] for owner in owners if "__init__" in vars(owner)]
    for constructor in constructors[1:]:
        parameters = _forwarded(parameters, list(inspect.signature(constructor).parameters.values())[1:])
    named = [parameter for parameter in parameters if parameter.kind not in _STARRED]
    if named or Parameter.VAR_POSITIONAL not in {parameter.kind for parameter in parameters}:
        return named
    return [Parameter(name, Parameter.POSITIONAL_ONLY, default=None) for name in ("address", "handler")]


def _forwarded(parameters: list[Parameter], following: list[Parameter]) -> list[Parameter]:
    """``*args`` replaced by what the next constructor takes and this one does not."""
    kinds = [parameter.kind for parameter in parameters]
    if Parameter.VAR_POSITIONAL not in kinds:
        return parameters
    place = kinds.index(Parameter.VAR_POSITIONAL)
    taken = {_plain(parameter.name) for parameter in parameters[:place]}
    taken |= {name for name, role in _ROLES.items() if role in {_ROLES.get(already) for already in taken}}
    added = [one for one in following if one.kind not in _BY_NAME and _plain(one.name) not in taken]
    return [*parameters[:place], *added, *parameters[place + 1 :]]


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _step(parameter: Parameter, parameters: list[Parameter]) -> Step:
    role = _ROLES.get(_plain(parameter.name))
    roles = {_ROLES.get(_plain(one.name)) for one in parameters}
    is_required = parameter.default is Parameter.empty
    if role is Role.ADDRESS and Role.PORT in roles:
        role = None if Role.HOST in roles else Role.HOST  # (address, port)
    if (role in _PLACES and isinstance(parameter.default, bool)) or (role is Role.ACTIVATE and not is_required):
        role = None  # bind=True
    return Step(parameter.name, role, is_required, parameter.kind is Parameter.KEYWORD_ONLY)


def _guess(steps: list[Step], *, has_handler: bool) -> list[Step]:
    """Of unknown names that are required, the first can only mean an address and the next a handler."""
    roles = {step.role for step in steps}
    guesses = (
        None if roles & _PLACES else Role.ADDRESS,
        Role.HANDLER if has_handler and Role.HANDLER not in roles else None,
    )
    guessed = [
        step._replace(role=guess) if step.is_unknown and not step.is_keyword_only else step
        for step, guess in zip(steps, guesses, strict=False)
    ]
    return guessed + steps[len(guessed) :]
