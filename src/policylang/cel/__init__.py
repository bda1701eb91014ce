"""CEL, the Common Expression Language, as a compiler to Python functions (cel-spec langdef; cel-go's words).

    env = cel.Env(variables={"object": cel.DYN})
    program = env.compile("object.spec.replicas <= 5")
    program({"object": {"spec": {"replicas": 3}}})      # True

CompileError where a program does not parse or check, CelError for an evaluation that ends in an error value,
BudgetExceeded for one that takes too long or grows too large.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policylang.cel.declare import Constant, Function, Library, Macro, Overload
    from policylang.cel.env import Ast, Env
    from policylang.cel.issues import CompileError
    from policylang.cel.messages import Message
    from policylang.cel.program import CostExceeded, Program
    from policylang.cel.protobuf import Descriptors
    from policylang.cel.standard import OPTIONAL, STANDARD
    from policylang.cel.types import (
        ANY,
        BOOL,
        BYTES,
        DOUBLE,
        DURATION,
        DYN,
        INT,
        NULL,
        STRING,
        TIMESTAMP,
        TYPE,
        UINT,
        Type,
        list_of,
        map_of,
        message,
        opaque,
        optional_of,
        type_param,
    )
    from policylang.cel.values import NONE, CelError, Duration, Optional, Timestamp, TypeValue, Uint

_WHERE = {
    "declare": ("Constant", "Function", "Library", "Macro", "Overload"),
    "env": ("Ast", "Env"),
    "issues": ("CompileError",),
    "program": ("CostExceeded", "Program"),
    "messages": ("Message",),
    "protobuf": ("Descriptors",),
    "standard": ("OPTIONAL", "STANDARD"),
    "types": ("ANY", "BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "INT", "NULL", "STRING", "TIMESTAMP", "TYPE", "UINT",
              "Type", "list_of", "map_of", "message", "opaque", "optional_of", "type_param"),
    "values": ("NONE", "CelError", "Duration", "Optional", "Timestamp", "TypeValue", "Uint"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "ANY", "BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "INT", "NONE", "NULL", "OPTIONAL", "STANDARD", "STRING",
    "TIMESTAMP", "TYPE", "UINT", "Ast", "CelError", "CompileError", "Constant", "CostExceeded", "Descriptors",
    "Duration", "Env", "Function", "Library", "Macro", "Message", "Optional", "Overload", "Program", "Timestamp",
    "Type", "TypeValue", "Uint", "list_of", "map_of", "message", "opaque", "optional_of", "type_param",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
