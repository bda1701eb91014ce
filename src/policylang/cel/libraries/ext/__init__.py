"""cel-go's extension libraries, each by its version: `cel.Env([ext.strings(), ext.math(2)])`."""

from __future__ import annotations

from collections.abc import Callable

from policylang.cel.libraries.ext import encoders as _encoders
from policylang.cel.libraries.ext import lists as _lists
from policylang.cel.libraries.ext import math as _math
from policylang.cel.libraries.ext import regex as _regex
from policylang.cel.libraries.ext import sets as _sets
from policylang.cel.libraries.ext import strings as _strings
from policylang.cel.libraries.optional import OPTIONAL
from policylang.cel.library import Library
from policylang.cel.syntax import macros
from policylang.errors import NotEvaluatedError

_PROTOS = Library("cel.lib.ext.protos", macros=macros.EXTENSION_FIELDS)
_BINDINGS = Library("cel.lib.ext.cel.bindings", macros=macros.BINDINGS)
_TWO_VARIABLES = Library("cel.lib.ext.comprev2", macros=macros.TWO_VARIABLES)
_OPTIONALS_BY_VERSION = {"optFlatMap": 1, "first": 2, "last": 2, "optional.unwrap": 2, "unwrapOpt": 2}


def _library(function: str, newest: int, version: int | None, table: Library, since: dict[str, int]) -> Library:
    """The functions and macros that a version has; `since` says which came after version 0."""
    name = table.name
    version = newest if version is None else version
    if not 0 <= version <= newest:
        raise NotEvaluatedError(name, f"version {version} is not known, the newest is {newest}")
    return Library(name, version, tuple(known for known in table.functions if since.get(known.name, 0) <= version),
                   tuple(macro for macro in table.macros if since.get(macro.name, 0) <= version),
                   table.constants, table.types, (__name__, function, (version,)))


def optionals(version: int | None = None) -> Library:
    return _library("optionals", 2, version, OPTIONAL, _OPTIONALS_BY_VERSION)


def strings(version: int | None = None) -> Library:
    return _library("strings", 4, version, _strings.LIBRARY, _strings.SINCE)


def math(version: int | None = None) -> Library:
    return _library("math", 2, version, _math.LIBRARY, _math.SINCE)


def lists(version: int | None = None) -> Library:
    return _library("lists", 3, version, _lists.LIBRARY, _lists.SINCE)


def _alone(library: Library) -> Callable[[], Library]:
    """Of a library that has no versions."""
    return lambda: library


sets, encoders, regex = _alone(_sets.LIBRARY), _alone(_encoders.LIBRARY), _alone(_regex.LIBRARY)
protos, bindings, two_variables = _alone(_PROTOS), _alone(_BINDINGS), _alone(_TWO_VARIABLES)


def network() -> Library:
    from policylang.cel.libraries.ext.network import LIBRARY  # with Kubernetes' addresses, which few need

    return LIBRARY


def everything() -> tuple[Library, ...]:
    """All of them in their newest versions, but for network, whose names Kubernetes' own libraries have."""
    return (optionals(), strings(), math(), lists(), sets(), encoders(), bindings(), two_variables(), protos(), regex())
