"""Lua: rockspecs, of what LuaRocks installed and of sources (luarocks.org, "Rockspec format")."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, ending
from custody.sbom.catalogers.fact import Fact, unknown

_QUOTED = r"""(?:"([^"\n]*)"|'([^'\n]*)'|\[\[([^\]\n]*)\]\])"""
_FIELD = re.compile(rf"^[ \t]*(package|version|license)\s*=\s*{_QUOTED}", re.MULTILINE)
_NEEDS = re.compile(r"^[ \t]*dependencies\s*=\s*\{([^}]{0,4096})\}", re.MULTILINE)
_NEED = re.compile(r"""["']\s*([A-Za-z0-9][\w./-]*)""")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    text = content.decode("utf-8", "replace")
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(text):
        fields.setdefault(match[1], next(filter(None, match.groups()[1:]), ""))
    if not fields.get("package") or not fields.get("version"):
        yield unknown("Lua rock without a name and a version")  # they may be computed
        return
    needs = _NEEDS.search(text)
    requires = [name for name in _NEED.findall(needs[1]) if name != "lua"] if needs else []
    yield Fact(type="luarocks", name=fields["package"], version=fields["version"], requires=tuple(requires),
               licenses=(fields["license"],) if fields.get("license") else ())


INSTALLED = Cataloger(name="Lua rock", version=1, types=("luarocks",), read=read, largest=64 << 10,
                      listed=r"\.rockspec\Z", paths=(
    ending("rockspec", pattern=r"(?:.*/)?rocks[^/]*/[^/]+/[^/]+/[^/]+"),))
SOURCE = Cataloger(name="rockspec", version=1, types=("luarocks",), read=read, declares=True, largest=64 << 10, paths=(
    ending("rockspec", pattern=r"(?!(?:.*/)?rocks[^/]*/[^/]+/[^/]+/[^/]+\Z).*"),))
