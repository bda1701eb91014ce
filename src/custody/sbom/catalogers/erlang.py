"""Erlang and Elixir: applications (`ebin/NAME.app`; erlang.org, app(4)), what hex unpacked, rebar.lock, mix.lock."""

from __future__ import annotations

import re
from collections.abc import Iterator

from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.documents import hexadecimal
from custody.sbom.catalogers.fact import Fact, unknown

_APPLICATION = re.compile(r"\{\s*application\s*,\s*('[^'\n]+'|[a-z]\w*)\s*,")
_VERSION = re.compile(r'\{\s*vsn\s*,\s*"([^"]*)"\s*\}')
_NEEDS = re.compile(r"\{\s*applications\s*,\s*\[([^\]]{0,4096})\]")
_ATOM = re.compile(r"'[^'\n]+'|[a-z]\w*")
_METADATA = re.compile(r'\{<<"(name|version|app)">>,\s*<<"([^"]*)"(?:/utf8)?>>\}\.')
_METADATA_LICENSES = re.compile(r'\{<<"licenses">>,\s*\[([^\]]{0,4096})\]\}\.')
_BINARY = re.compile(r'<<"([^"]*)"(?:/utf8)?>>')
_REBAR = re.compile(r'\{<<"([^"]+)">>,\s*\{(pkg|git|hg)[a-z_]*,\s*(?:<<)?"([^"]*)"(?:>>)?(?:,\s*<<"([^"]*)">>)?')
_REBAR_HASH = re.compile(r'\{<<"([^"]+)">>,\s*<<"([0-9A-Fa-f]{64})">>\}')
_MIX = re.compile(r'^[ \t]*"([^"\n]+)":\s*\{:(hex|git|path),\s*:?"?([^",]+)"?,\s*"([^"]*)"(.*)$', re.MULTILINE)
_MIX_NEED = re.compile(r"\{:(\w+|\"[^\"]+\"),\s*\"[^\"]*\",\s*\[([^\]]{0,500})\]\}")
_HASH = re.compile(r'"([0-9a-f]{64})"')


def read_application(_path: str, content: bytes) -> tuple[Fact, ...]:
    """The applications of OTP, and any that was built into a release: where an application came from is not said."""
    text = content.decode("utf-8", "replace")
    name, version, needs = _APPLICATION.search(text), _VERSION.search(text), _NEEDS.search(text)
    if name is None:
        raise ValueError("an application without a name")
    if version is None or not version[1]:
        return (unknown("Erlang application without a version"),)
    requires = tuple(dict.fromkeys(atom.strip("'") for atom in _ATOM.findall(needs[1]))) if needs else ()
    return (Fact(type="otp", name=name[1].strip("'"), version=version[1], requires=requires),)


def read_metadata(_path: str, content: bytes) -> tuple[Fact, ...]:
    """`hex_metadata.config`, which hex puts into the folder of each package that it fetched."""
    text = content.decode("utf-8", "replace")
    fields = {match[1]: match[2] for match in _METADATA.finditer(text)}
    if not fields.get("name") or not fields.get("version"):
        raise ValueError("metadata without name and version")
    licenses = _METADATA_LICENSES.search(text)
    return (Fact(type="hex", name=fields["name"], version=fields["version"],
                 licenses=tuple(_BINARY.findall(licenses[1])) if licenses else ()),)


def read_rebar(_path: str, content: bytes) -> Iterator[Fact]:
    """rebar.lock: terms of Erlang; hashes of all packages stand behind."""
    text = content.decode()
    locked, _, behind = text.partition("pkg_hash,")
    sums = dict(_REBAR_HASH.findall(behind.partition("pkg_hash_ext")[0]))
    matches = list(_REBAR.finditer(locked))
    if not matches and text.strip() not in ("[].", "{\"1.2.0\",[]}.", ""):
        raise ValueError("a lock file without packages")
    for match in matches:
        key, kind, name, version = match.groups()
        if kind == "pkg":
            yield Fact(type="hex", name=name, version=version or "", hashes=hexadecimal("sha256", sums.get(key)))
        else:
            yield unknown("Erlang dependency from a repository")


def read_mix(_path: str, content: bytes) -> Iterator[Fact]:
    """mix.lock: a map of Elixir, one entry a line."""
    text = content.decode()
    if "%{" not in text:
        raise ValueError("a lock file that is no map")
    for match in _MIX.finditer(text):
        _, kind, name, version, rest = match.groups()
        if kind != "hex":
            yield unknown("Elixir dependency from a repository")
            continue
        requires = [need.strip('"') for need, options in _MIX_NEED.findall(rest) if "optional: true" not in options]
        hashes = _HASH.findall(rest)  # of what is inside, then of the archive
        yield Fact(type="hex", name=name.strip('":'), version=version, requires=tuple(requires),
                   hashes=hexadecimal("sha256", hashes[-1]) if len(hashes) == 1 else ())


APPLICATION = Cataloger(name="Erlang application", version=1, types=("otp",), read=read_application, largest=256 << 10,
                        listed=r"/ebin/[^/]+\.app\Z", paths=(
                            ending("app", pattern=r"(?:.*/)?ebin/[^/]+\.app", examples=("ebin/a.app",)),))
METADATA = Cataloger(name="hex metadata", version=1, types=("hex",), read=read_metadata, paths=(
    named("hex_metadata.config"),))
REBAR = Cataloger(name="rebar lock", version=1, types=("hex",), read=read_rebar, declares=True, paths=(
    named("rebar.lock"),))
MIX = Cataloger(name="mix lock", version=1, types=("hex",), read=read_mix, declares=True, paths=(named("mix.lock"),))
