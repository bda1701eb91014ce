"""What people ask an inventory: a package and its versions, a vulnerability, a hash, a licence.

    log4j-core                      a package by its whole name or the last part of it, in every ecosystem
    log4j-core@<2.17                … and versions: < <= > >= = !=, with `,` or a space for and, `||` for or
    pkg:npm/lodash@4.17.20          a package URL; what stands behind its `@` may be versions too
    CVE-2021-44228, GHSA-…          whatever the advisories call it
    sha256:…                        an image, a package's archive or a file, by its hash
    license:GPL-3.0-only            a licence, also one of several in an expression
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from custody.ecosystems import of_type
from custody.errors import CustodyError, MalformedError, UnsupportedError
from custody.formats import purl as purls
from custody.formats.bom import Package
from custody.formats.purl import PackageUrl
from custody.ports.inventory import Component
from custody.versions import compare, sortable
from custody.vulns import component as components

_ADVISORY = re.compile(r"(?i:CVE)-[0-9]{4}-[0-9]{1,19}\Z|(?i:GHSA)(?:-[0-9a-zA-Z]{4}){3}\Z|"
                       r"[A-Z][A-Z0-9]{1,15}-[^\s/@]*[0-9]{3}[^\s/@]*\Z")
_HASH = re.compile(r"(?:sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}|"
                   r"md5:[0-9a-f]{32})\Z", re.IGNORECASE)
_BARE_HASH = {32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}
_CONDITION = re.compile(r"\s*,?\s*(<=|>=|==|!=|=|<|>)?\s*([^\s,<>=!|]+)\s*")
_LONGEST = 2000

Sign = Literal["<", "<=", ">", ">=", "=", "!="]


class Condition(NamedTuple):
    sign: Sign
    version: str


Versions = tuple[tuple[Condition, ...], ...]
"""Any of these, all conditions of which hold; empty: every version."""


class PackageAsked(NamedTuple):
    name: str
    """As the index spells it."""
    purl: PackageUrl | None
    versions: Versions


class VulnerabilityAsked(NamedTuple):
    id: str


class MarkAsked(NamedTuple):
    mark: str
    """`sha256:…` or `license:…`, in small letters."""
    same: tuple[str, ...] = ()
    """Other hashes of the same file."""


Question = PackageAsked | VulnerabilityAsked | MarkAsked


def parse(text: str) -> Question:
    """Raises MalformedError; UnsupportedError for ranges that other tools have."""
    text = text.strip()
    if not text or len(text) > _LONGEST:
        raise MalformedError("question", got=text, expected=f"1 to {_LONGEST} characters")
    if text.lower().startswith("license:"):
        if not (name := text[len("license:"):].strip()):
            raise MalformedError("license", got=text, expected="license:NAME, such as license:GPL-3.0-only")
        return MarkAsked(f"license:{name.lower()}"[:components.LONGEST])
    if _HASH.match(text):
        return MarkAsked(text.lower())
    if re.fullmatch(r"[0-9a-fA-F]+", text) and len(text) in _BARE_HASH:
        return MarkAsked(f"{_BARE_HASH[len(text)]}:{text.lower()}")
    if re.match(r"(?:sha(?:1|256|384|512)|md5):", text, re.IGNORECASE):
        raise MalformedError("hash", got=text, expected="all of its hexadecimal digits")
    if _ADVISORY.match(text):
        kind, _, rest = text.partition("-")
        known = kind.upper() in ("CVE", "GHSA")
        return VulnerabilityAsked(f"{kind.upper()}-{rest.lower()}" if known else text)
    if text.lower().startswith("pkg:"):
        return _purl(text)
    name, at, versions = text.rpartition("@")
    if not at or not name.strip():
        name, versions = text, ""
    elif not versions.strip():
        raise MalformedError("versions", got=text, expected=f"versions behind the '@', such as {name}@<2.17")
    if ":" in name and name.partition(":")[0] in ("oci", "archive", "sbom", "dir"):
        raise UnsupportedError(text, "is a target of `custody scan`, and no question")
    return PackageAsked(components.spelling(name), None, read_versions(versions) if versions else ())


def read_versions(text: str) -> Versions:
    """`>=2,<2.17 || 1.0`. Raises MalformedError, UnsupportedError."""
    if text.startswith("vers:"):
        raise UnsupportedError(f"versions {text}", "vers ranges are not read", hint="write them as >=2,<2.17")
    alternatives: list[tuple[Condition, ...]] = []
    for part in text.split("||"):
        conditions: list[Condition] = []
        place = 0
        while place < len(part.rstrip()):
            match = _CONDITION.match(part, place)
            if match is None:
                raise MalformedError("versions", got=text, expected="versions with <, <=, >, >=, = or != before them")
            version = match[2]
            if version[0] in "^~*" or version.endswith((".*", ".x")):
                raise UnsupportedError(f"versions {text}", f"{version} is a range of one ecosystem's own",
                                       hint="write it as >=LOWEST,<FIRST THAT IS NOT IN IT")
            conditions.append(Condition("=" if match[1] in (None, "==") else match[1], version))  # type: ignore[arg-type]
            place = match.end()
        if not conditions:
            raise MalformedError("versions", got=text, expected="a version on each side of ||")
        alternatives.append(tuple(conditions))
    return tuple(alternatives)


def _purl(text: str) -> PackageAsked:
    rest, hash_, _ = text.partition("#")
    if hash_:
        raise UnsupportedError(text, "a subpath is not asked for")
    rest, mark, query = rest.partition("?")
    at = rest.rfind("@")
    versions = ""
    if at > 0 and rest[at - 1] != "/":
        rest, versions = rest[:at], rest[at + 1:]
    purl = purls.parse(rest + mark + query, "package URL")
    name = f"{purl.namespace}/{purl.name}" if purl.namespace and of_type(purl.type).grouped else purl.name
    return PackageAsked(components.spelling(name), purl,
                        read_versions(purls.parse(f"pkg:generic/x@{versions}").version or "") if versions else ())


def bounds(asked: PackageAsked, ecosystem: str) -> tuple[bytes | None, bytes | None]:
    """Between which keys of versions all that are asked for lie; None where there is no bound."""
    lows: list[bytes | None] = []
    highs: list[bytes | None] = []
    for conditions in asked.versions:
        keys = [(sign, sortable(ecosystem, version)) for sign, version in conditions]
        lows.append(max((key for sign, key in keys if sign in (">", ">=", "=") and key is not None), default=None))
        highs.append(min((key for sign, key in keys if sign in ("<", "<=", "=") and key is not None), default=None))
    low = min((key for key in lows if key is not None), default=None) if None not in lows else None
    high = max((key for key in highs if key is not None), default=None) if None not in highs else None
    return low, high


def meant(asked: PackageAsked, component: Component) -> components.Name | None:
    """By which of its names a component is asked for, versions aside; None where it is not."""
    package = component.package
    if asked.purl is not None and not _same(asked.purl, package):
        return None
    return next((name for name in components.known(component) if name.name == asked.name), None)


def holds(versions: Versions, name: components.Name) -> bool:
    """Whether a version is one of those. Raises CustodyError where that cannot be said."""
    if not versions:
        return True
    undecided: CustodyError | None = None
    for conditions in versions:
        try:
            if _all_hold(conditions, name):
                return True
        except CustodyError as error:
            undecided = error
    if undecided is not None:
        raise undecided
    return False


def _all_hold(conditions: Sequence[Condition], name: components.Name) -> bool:
    undecided: CustodyError | None = None
    for sign, version in conditions:
        try:
            if not _holds(sign, version, name):
                return False
        except CustodyError as error:
            undecided = error
    if undecided is not None:
        raise undecided
    return True


def _holds(sign: Sign, version: str, name: components.Name) -> bool:
    if not name.version:
        raise MalformedError("", got="no version", expected="one to compare")
    if sign in ("=", "!="):  # what has no order is equal where it is the same text
        try:
            equal = name.version == version or compare(name.ecosystem, name.version, version) == 0
        except CustodyError:
            equal = False
        return equal == (sign == "=")
    order = compare(name.ecosystem, name.version, version)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[sign]


def _same(asked: PackageUrl, package: Package) -> bool:
    try:
        purl = purls.parse(package.purl)
    except CustodyError:
        return False
    built_from = of_type(purl.type).system and package.source == asked.name
    return (purl.type == asked.type and asked.namespace in (None, purl.namespace)
            and (purl.name == asked.name or built_from)
            and all(purl.qualifiers.get(key) == value for key, value in asked.qualifiers.items()))
