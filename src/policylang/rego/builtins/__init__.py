"""The builtins of OPA 1.22, by name. A module is imported when one of its functions is first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from policylang.rego.capabilities import MODULES
from policylang.rego.declare import BUILTINS as _DECLARED
from policylang.rego.declare import Builtin


class _Builtins(Mapping[str, Builtin]):
    def __getitem__(self, name: str) -> Builtin:
        builtin = _DECLARED.get(name)
        if builtin is None:
            import_module(f"{__name__}.{MODULES[name]}")
            builtin = _DECLARED[name]
        return builtin

    def __contains__(self, name: object) -> bool:
        return name in MODULES

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


BUILTINS: Mapping[str, Builtin] = _Builtins()
