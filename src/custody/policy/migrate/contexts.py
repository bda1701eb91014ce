"""The entries of a `context` as names in CEL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from custody.errors import UnsupportedError
from custody.policy.migrate.queries import Names, element_names, query, whole


def context(entries: Sequence[dict[str, Any]], where: str, names: Names) -> Names:
    """The names that stand beside those that there are already. Raises UnsupportedError."""
    for at, entry in enumerate(entries):
        path = f"{where}[{at}]"
        variable = entry.get("variable")
        if variable is None or not isinstance(variable.get("jmesPath"), str) or set(variable) - {"jmesPath"}:
            form = next((form for form in entry if form != "name"), "name")
            raise UnsupportedError(f"{path}.{form}", "it has no words in CEL yet")
        text = variable["jmesPath"]
        said = query(whole(text) or text, f"{path}.variable.jmesPath", names)
        names = element_names(names, **{entry["name"]: said.unit})
    return names
