"""Python manifests: requirements files, setup.cfg, setup.py, pyproject.toml.

What has one exact version (`==`) is listed; what has none is counted, unless a lock file or what is installed says
which version it is.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator

from custody.ecosystems import python as spelled
from custody.sbom.catalogers.cataloger import Cataloger, ending, inside, named
from custody.sbom.catalogers.documents import Table, hexadecimal, table, toml_table, words
from custody.sbom.catalogers.fact import Fact, asked_for

_PIN = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\]\s*)?\(?={2,3}\s*([^\s;,)#\\*]+)\)?\s*"
                  r"(?:[;\\#].*|\s--.*|)\Z", re.DOTALL)
_HASH = re.compile(r"--hash[= ](sha256|sha384|sha512):([0-9a-f]+)")
_NAME = re.compile(r"(?:-e\s+|--editable[= ]\s*)?(?:[^\s#]+#(?:[^&\s]+&)*egg=)?([A-Za-z0-9](?:[A-Za-z0-9._-]*"
                   r"[A-Za-z0-9])?)\s*(?:\[[^\]]*\]\s*)?(?:[(<>=!~;@&\\]|\Z)")
"""Of what is asked for: `flask>=2`, `flask @ https://…`, `git+https://…#egg=flask`."""
_OPEN = "Python requirement without an exact version"
_LITERAL = re.compile(r"""["']([A-Za-z0-9][^"'=\n]{0,200}==[^"'\n]{1,200})["']""")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    """pip's requirements files. A line that pip would resolve itself has no version that anybody could match."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")
    names: list[str] = []
    for line in re.sub(r"\\\n", " ", text).split("\n"):
        hashes = _HASH.findall(line)
        stated = hexadecimal(*hashes[0]) if len(hashes) == 1 and hashes[0][0] != "sha384" else ()
        yield from _pins([line.partition(" --")[0].partition(" #")[0]], names, hashes=stated)
    yield from _asked(names)


def read_cfg(_path: str, content: bytes) -> Iterator[Fact]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(content.decode())
    except configparser.Error as error:
        raise ValueError(str(error)) from None
    names: list[str] = []
    yield from _pins(parser.get("options", "install_requires", fallback="").split("\n"), names)
    extras = "options.extras_require"
    for _, value in parser.items(extras) if parser.has_section(extras) else ():
        yield from _pins(value.split("\n"), names, "optional")
    yield from _asked(names)


def read_py(_path: str, content: bytes) -> Iterator[Fact]:
    """Literal requirements in setup.py, which is a program: what it computes is not known."""
    yield from _pins(_LITERAL.findall(content.decode("utf-8", "replace")), [])


def read_toml(_path: str, content: bytes) -> Iterator[Fact]:
    document = toml_table(content)
    project, groups = table(document.get("project")), table(document.get("dependency-groups"))
    names: list[str] = []
    yield from _pins(words(project.get("dependencies")), names)
    for group in table(project.get("optional-dependencies")).values():
        yield from _pins(words(group), names, "optional")
    for group in groups.values():
        yield from _pins(words(group), names, "dev")
    poetry = table(table(document.get("tool")).get("poetry"))
    yield from _poetry(table(poetry.get("dependencies")), names, "")
    yield from _poetry(table(poetry.get("dev-dependencies")), names, "dev")
    for row in table(poetry.get("group")).values():
        yield from _poetry(table(table(row).get("dependencies")), names, "dev")
    yield from _asked(names)


def _poetry(needed: Table, names: list[str], scope: str) -> Iterator[Fact]:
    """Poetry's own table: `1.0` is exact there only with `==`, or alone with all its parts."""
    for name, value in needed.items():
        asked = value if isinstance(value, str) else table(value).get("version")
        if name != "python" and "path" not in table(value):
            exact = isinstance(asked, str) and asked.startswith("==")
            yield from _pins([f"{name}{asked}" if exact else name], names, scope)


def _pins(requirements: Iterable[str], names: list[str], scope: str = "",
          hashes: tuple[tuple[str, str], ...] = ()) -> Iterator[Fact]:
    """Those with an exact version; the `names` of the rest are added to."""
    for text in requirements:
        if (match := _PIN.match(text.strip())) and match[2][0].isdigit():
            yield Fact(type="pypi", name=spelled(match[1]), version=match[2], source=spelled(match[1]), scope=scope,
                       hashes=hashes)
        elif asked := _NAME.match(text.strip()):
            names.append(spelled(asked[1]))


def _asked(names: list[str]) -> Iterator[Fact]:
    if names:
        yield asked_for(_OPEN, (f"pypi/{name}" for name in names))


REQUIREMENTS = Cataloger(
    name="requirements", version=2, types=("pypi",), read=read, declares=True, effort=6, paths=(
        ending("txt", pattern=r"(?i:(?:.*/)?[^/]*requirements[^/]*\.txt)"),
        inside("requirements", pattern=r"(?i:.*\.txt)")))
SETUP_CFG = Cataloger(name="setup.cfg", version=2, types=("pypi",), read=read_cfg, declares=True, largest=64 << 10,
                      paths=(named("setup.cfg"),))
SETUP_PY = Cataloger(name="setup.py", version=1, types=("pypi",), read=read_py, declares=True,
                     paths=(named("setup.py"),))
PYPROJECT = Cataloger(name="pyproject.toml", version=2, types=("pypi",), read=read_toml, declares=True, effort=10,
                      paths=(named("pyproject.toml"),))
