"""Python manifests: requirements files, setup.cfg, setup.py, pyproject.toml; only what has one exact version (`==`)."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator

from custody.ecosystems import python as spelled
from custody.sbom.catalogers.cataloger import Cataloger, ending, inside, named
from custody.sbom.catalogers.documents import Table, hexadecimal, table, toml_table, words
from custody.sbom.catalogers.fact import Fact

_PIN = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\]\s*)?\(?={2,3}\s*([^\s;,)#\\*]+)\)?\s*"
                  r"(?:[;\\#].*|\s--.*|)\Z", re.DOTALL)
_HASH = re.compile(r"--hash[= ](sha256|sha384|sha512):([0-9a-f]+)")
_LITERAL = re.compile(r"""["']([A-Za-z0-9][^"'=\n]{0,200}==[^"'\n]{1,200})["']""")


def read(_path: str, content: bytes) -> Iterator[Fact]:
    """pip's requirements files. A line that pip would resolve itself has no version that anybody could match."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")
    for line in re.sub(r"\\\n", " ", text).split("\n"):
        hashes = _HASH.findall(line)
        stated = hexadecimal(*hashes[0]) if len(hashes) == 1 and hashes[0][0] != "sha384" else ()
        yield from _pins([line.partition(" --")[0].partition(" #")[0]], hashes=stated)


def read_cfg(_path: str, content: bytes) -> Iterator[Fact]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(content.decode())
    except configparser.Error as error:
        raise ValueError(str(error)) from None
    options = "options"
    yield from _pins(parser.get(options, "install_requires", fallback="").split("\n"))
    for section, scope in (("options.extras_require", "optional"),):
        if parser.has_section(section):
            for _, value in parser.items(section):
                yield from _pins(value.split("\n"), scope)


def read_py(_path: str, content: bytes) -> Iterator[Fact]:
    """Literal requirements in setup.py, which is a program: what it computes is not known."""
    yield from _pins(_LITERAL.findall(content.decode("utf-8", "replace")))


def read_toml(_path: str, content: bytes) -> Iterator[Fact]:
    document = toml_table(content)
    project, groups = table(document.get("project")), table(document.get("dependency-groups"))
    yield from _pins(words(project.get("dependencies")))
    for group in table(project.get("optional-dependencies")).values():
        yield from _pins(words(group), "optional")
    for group in groups.values():
        yield from _pins(words(group), "dev")
    poetry = table(table(document.get("tool")).get("poetry"))
    yield from _poetry(table(poetry.get("dependencies")), "")
    yield from _poetry(table(poetry.get("dev-dependencies")), "dev")
    for row in table(poetry.get("group")).values():
        yield from _poetry(table(table(row).get("dependencies")), "dev")


def _poetry(needed: Table, scope: str) -> Iterator[Fact]:
    """Poetry's own table: `1.0` is exact there only with `==`, or alone with all its parts."""
    for name, value in needed.items():
        asked = value if isinstance(value, str) else table(value).get("version")
        if isinstance(asked, str) and asked.startswith("==") and name != "python":
            yield from _pins([f"{name}{asked}"], scope)


def _pins(requirements: Iterable[str], scope: str = "", hashes: tuple[tuple[str, str], ...] = ()) -> Iterator[Fact]:
    for text in requirements:
        if (match := _PIN.match(text.strip())) and match[2][0].isdigit():
            yield Fact(type="pypi", name=spelled(match[1]), version=match[2], source=spelled(match[1]), scope=scope,
                       hashes=hashes)


REQUIREMENTS = Cataloger(
    name="requirements", version=1, types=("pypi",), read=read, declares=True, effort=6, paths=(
        ending("txt", pattern=r"(?i:(?:.*/)?[^/]*requirements[^/]*\.txt)"),
        inside("requirements", pattern=r"(?i:.*\.txt)")))
SETUP_CFG = Cataloger(name="setup.cfg", version=1, types=("pypi",), read=read_cfg, declares=True, largest=64 << 10,
                      paths=(named("setup.cfg"),))
SETUP_PY = Cataloger(name="setup.py", version=1, types=("pypi",), read=read_py, declares=True,
                     paths=(named("setup.py"),))
PYPROJECT = Cataloger(name="pyproject.toml", version=1, types=("pypi",), read=read_toml, declares=True, effort=10,
                      paths=(named("pyproject.toml"),))
