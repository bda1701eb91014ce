"""Rego's values and numbers as Python data."""

from policylang.rego.values.value import (
    UNDEFINED,
    Boxed,
    Key,
    Set,
    Undefined,
    Value,
    compact,
    compare,
    equal,
    key,
    named,
    order,
    ordered,
    pairs,
    pay,
    printable,
    quoted,
    running,
    sorted_names,
    text,
    to_json,
    type_name,
    unkey,
)

__all__ = ["UNDEFINED", "Boxed", "Key", "Set", "Undefined", "Value", "compact", "compare", "equal", "key", "named",
           "order", "ordered", "pairs", "pay", "printable", "quoted", "running", "sorted_names", "text", "to_json",
           "type_name", "unkey"]
