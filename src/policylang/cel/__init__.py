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
    from policylang.cel.compile.program import Program
    from policylang.cel.cost.tally import CEL_COSTS, CostExceeded, CostModel
    from policylang.cel.cost.units import CONSTANT, Cost
    from policylang.cel.env import Env
    from policylang.cel.libraries.optional import OPTIONAL
    from policylang.cel.libraries.standard import STANDARD
    from policylang.cel.library import Constant, Function, Library, Overload
    from policylang.cel.protobuf.descriptors import Descriptors
    from policylang.cel.protobuf.messages import Message
    from policylang.cel.syntax.expander import Macro
    from policylang.cel.syntax.issues import CompileError
    from policylang.cel.syntax.tree import Ast
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
    from policylang.cel.values.errors import CelError
    from policylang.cel.values.values import NONE, Duration, Optional, Timestamp, TypeValue, Uint

_WHERE = {
    "compile.program": ("Program",),
    "cost.tally": ("CEL_COSTS", "CostExceeded", "CostModel"),
    "cost.units": ("CONSTANT", "Cost"),
    "env": ("Env",),
    "library": ("Constant", "Function", "Library", "Overload"),
    "libraries.optional": ("OPTIONAL",),
    "libraries.standard": ("STANDARD",),
    "protobuf.descriptors": ("Descriptors",),
    "protobuf.messages": ("Message",),
    "syntax.expander": ("Macro",),
    "syntax.issues": ("CompileError",),
    "syntax.tree": ("Ast",),
    "types": ("ANY", "BOOL", "BYTES", "DOUBLE", "DURATION", "DYN", "INT", "NULL", "STRING", "TIMESTAMP", "TYPE", "UINT",
              "Type", "list_of", "map_of", "message", "opaque", "optional_of", "type_param"),
    "values.errors": ("CelError",),
    "values.values": ("NONE", "Duration", "Optional", "Timestamp", "TypeValue", "Uint"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "ANY", "BOOL", "BYTES", "CEL_COSTS", "CONSTANT", "DOUBLE", "DURATION", "DYN", "INT", "NONE", "NULL", "OPTIONAL",
    "STANDARD", "STRING", "TIMESTAMP", "TYPE", "UINT", "Ast", "CelError", "CompileError", "Constant", "Cost",
    "CostExceeded", "CostModel", "Descriptors", "Duration", "Env", "Function", "Library", "Macro", "Message",
    "Optional", "Overload", "Program", "Timestamp", "Type", "TypeValue", "Uint", "list_of", "map_of", "message",
    "opaque", "optional_of", "type_param",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
