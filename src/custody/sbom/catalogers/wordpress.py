"""WordPress: its own version; plugins and themes by the head of their main file (WordPress, "Header Requirements")."""

from __future__ import annotations

import re

from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.fact import Fact, unknown

_CORE = re.compile(rb"^\s*\$wp_version\s*=\s*['\"]([0-9][0-9A-Za-z.-]{0,40})['\"]\s*;", re.MULTILINE)
_FIELD = re.compile(rb"^[ \t/*#@]*(Plugin Name|Theme Name|Version|Author|License):[ \t]*([^\r\n]{1,300})", re.MULTILINE)
_HEAD = 8 << 10
"""Bytes of a file that WordPress itself looks for the fields in."""


def read(path: str, content: bytes) -> tuple[Fact, ...]:
    if path.endswith("wp-includes/version.php"):
        match = _CORE.search(content)
        return (_fact("wordpress", match[1], cpe="wordpress:wordpress") if match else unknown("WordPress"),)
    fields: dict[bytes, bytes] = {}
    for match in _FIELD.finditer(content[:_HEAD]):
        fields.setdefault(match[1], match[2].removesuffix(b"*/").strip())
    folder = path.rpartition("/")[0].rpartition("/")[2]
    kind = "plugin" if b"Plugin Name" in fields else "theme" if b"Theme Name" in fields else ""
    if not kind:
        return ()  # a file that is only called as its folder
    if not re.fullmatch(rb"[0-9][0-9A-Za-z.+-]{0,60}", fields.get(b"Version", b"")):
        return (unknown(f"WordPress {kind} without a version"),)
    return (_fact(f"wordpress-{kind}-{folder}", fields[b"Version"], license_=fields.get(b"License", b""),
                  author=fields.get(b"Author", b"")),)


def _fact(name: str, version: bytes, *, cpe: str = "", license_: bytes = b"", author: bytes = b"") -> Fact:
    spoken = version.decode()
    return Fact(type="generic", name=name, version=spoken, supplier=author.decode("utf-8", "replace"),
                licenses=(license_.decode("utf-8", "replace"),) if license_ else (),
                cpes=(f"cpe:2.3:a:{cpe}:{spoken}:*:*:*:*:*:*:*",) if cpe else ())


CATALOGER = Cataloger(name="WordPress", version=1, types=("generic",), read=read, paths=(
    named("version.php", pattern=r"(?:.*/)?wp-includes/version\.php"),
    ending("php", pattern=r"(?:.*/)?wp-content/plugins/(?P<name>[^/]+)/(?P=name)\.php"),
    named("style.css", pattern=r"(?:.*/)?wp-content/themes/[^/]+/style\.css")))
