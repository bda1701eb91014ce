"""Package URLs, `pkg:type/namespace/name@version?qualifiers#subpath` (ECMA-427; package-url/purl-spec).

Parsing and building both normalise, so that two spellings of one package give the same text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from custody.errors import MalformedError

_LONGEST = 8192
_UNENCODED = re.compile(r"[A-Za-z0-9._~:-]*\Z")
_TYPE = re.compile(r"[a-z][a-z0-9.-]*\Z")
_KEY = re.compile(r"[a-z_][a-z0-9._-]*\Z")
_HALF = re.compile("[\ud800-\udfff]")

# What the type definitions of purl-spec say beyond the general rules.
_LOWER_NAMESPACE = {"alpm", "apk", "bitbucket", "brew", "composer", "deb", "git", "gitee", "github", "golang", "hex",
                    "luarocks", "npm", "qpkg", "rpm", "vscode-extension", "yocto"}
_LOWER_NAME = {"alpm", "apk", "bitbucket", "bitnami", "brew", "chrome-extension", "composer", "deb", "git", "gitee",
               "github", "golang", "hex", "luarocks", "npm", "oci", "otp", "pub", "pypi", "vscode-extension"}
_LOWER_VERSION = {"huggingface", "pypi", "vscode-extension"}
_NAMESPACE_REQUIRED = {"alpm", "apk", "bitbucket", "composer", "deb", "gitee", "github", "maven", "qpkg", "swift",
                       "vscode-extension"}
_NAMESPACE_PROHIBITED = {"bazel", "bitnami", "cargo", "chrome-extension", "cocoapods", "conda", "cran", "gem",
                         "hackage", "julia", "mlflow", "nuget", "oci", "opam", "otp", "pub", "pypi", "vcpkg"}
_QUALIFIER_REQUIRED = {"julia": "uuid", "swid": "tag_id"}
_NAME_SHAPES = {
    "chrome-extension": (re.compile(r"[a-p]{32}\Z"), "32 letters from a to p"),
    "cocoapods": (re.compile(r"[^\s+.][^\s+]*\Z"), "no white space or '+', and no '.' in front"),
    "cpan": (re.compile(r"(?!.*::).*\Z", re.DOTALL), "a distribution's name, without '::'"),
}


_CHROME_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+){0,3}\Z")


@dataclass(frozen=True, slots=True)
class PackageUrl:
    """A normalised package URL; `str()` is its canonical spelling. Make one with `parse` or `build`."""

    type: str
    namespace: str | None
    name: str
    version: str | None = None
    qualifiers: Mapping[str, str] = field(default_factory=dict)
    subpath: str | None = None

    def __str__(self) -> str:
        path = [_encode(part) for part in self.namespace.split("/") if part] if self.namespace else []
        path += [_encode(part) for part in self.name.split("/")] if self.type == "git" else [_encode(self.name)]
        text = f"pkg:{self.type}/" + "/".join(path)
        if self.version:
            text += "@" + _encode(self.version)
        if self.qualifiers:
            text += "?" + "&".join(f"{key}={_encode(value)}" for key, value in sorted(self.qualifiers.items()))
        if self.subpath:
            text += "#" + "/".join(_encode(part) for part in self.subpath.split("/"))
        return text


def parse(text: object, where: str = "purl", *, strict: bool = False) -> PackageUrl:
    """Read a package URL of any spelling (purl-spec, "How to parse a purl string"). Raises MalformedError.

    `strict` refuses what the standard says that a package URL shall not have and the instructions for parsing mend:
    capitals in the keys of qualifiers.
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        raise MalformedError(where, got=text, expected=f"text of at most {_LONGEST} characters")
    # 1. From the right: the subpath, then the qualifiers, then the scheme from the left.
    rest, _, fragment = text.partition("#")
    rest, _, query = rest.partition("?")
    scheme, colon, rest = rest.partition(":")
    if not colon or scheme.lower() != "pkg":
        raise MalformedError(where, got=text, expected="pkg:type/name@version")
    qualifiers: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        key, equals, value = pair.partition("=")
        if not equals:
            raise MalformedError(where, got=pair, expected="key=value after the '?'")
        if strict and key != key.lower():
            raise MalformedError(f"{where}: qualifier", got=key, expected="a key in lower case")
        if key.lower() in qualifiers:
            raise MalformedError(where, got=f"qualifier {key!r} twice", expected="each qualifier once")
        qualifiers[key.lower()] = _decode(value, where)
    # 2. The type, up to the first slash; slashes around it do not count.
    kind, slash, rest = rest.strip("/").partition("/")
    if not slash:
        raise MalformedError(where, got=text, expected="a type and a name: pkg:type/name")
    # 3. The version, after the last '@' that has a name before it: of a brew formula `node@20@20.1` the last one, of an
    #    npm scope `@angular/core` none. It may have bare slashes in it, as in pkg:opam/git@3/16.1.
    version = None
    at = rest.rfind("@")
    while at > 0 and rest[at - 1] == "/":
        at = rest.rfind("@", 0, at)
    if at > 0:
        rest, version = rest[:at], _decode(rest[at + 1:], where)
    head, _, tail = rest.rstrip("/").rpartition("/")
    if tail.startswith("@"):
        raise MalformedError(where, got=text, expected="a name before the '@'")
    # 4. The name and, before it, the namespace.
    namespace = [_decode(part, where) for part in head.split("/") if part] if head else []
    name = _decode(tail, where)
    if kind.lower() == "git" and len(namespace) > 1:
        namespace, name = namespace[:1], "/".join([*namespace[1:], name])
    if any("/" in part for part in namespace):
        raise MalformedError(where, got=text, expected="no encoded slash in the namespace")
    subpath = [_decode(part, where) for part in fragment.split("/")] if fragment else []
    if any("/" in part for part in subpath):
        raise MalformedError(where, got=text, expected="no encoded slash in the subpath")
    return build(kind, name, namespace="/".join(namespace), version=version, qualifiers=qualifiers,
                 subpath="/".join(subpath), where=where)


def build(kind: object, name: object, *, namespace: str | None = None, version: str | None = None,
          qualifiers: Mapping[str, str] | None = None, subpath: str | None = None, where: str = "purl") -> PackageUrl:
    """A package URL from its parts, normalised for its type. Raises MalformedError, naming the part."""
    if not isinstance(kind, str) or not _TYPE.match(kind.lower()):
        raise MalformedError(f"{where}: type", got=kind, expected="a letter, then letters, digits, '.' and '-'")
    if not isinstance(name, str) or not name.strip("/"):
        raise MalformedError(f"{where}: name", got=name, expected="a name")
    if any(_HALF.search(part) for part in (name, namespace, version, subpath, *(qualifiers or {}).values())
           if part and not part.isascii()):
        raise MalformedError(where, got=repr(name), expected="Unicode text without lone surrogates")
    kind, name, space = kind.lower(), name.strip("/"), (namespace or "").strip("/")
    kept: dict[str, str] = {}
    for key, value in (qualifiers or {}).items():
        if not _KEY.match(key.lower()):
            raise MalformedError(f"{where}: qualifier", got=key, expected="a letter, then letters, digits, '.-_'")
        if value:
            kept[key.lower()] = value
    path = "/".join(part for part in subpath.split("/") if part not in ("", ".", "..")) if subpath else ""
    if kind in _LOWER_NAMESPACE:
        space = space.lower()
    if kind in _LOWER_NAME or (kind == "mlflow" and "databricks" in kept.get("repository_url", "")):
        name = name.lower()
    if kind == "pypi":
        name = re.sub(r"[-_.]+", "-", name)
    elif kind == "pub":
        name = re.sub(r"[^a-z0-9_]", "_", name)
    elif kind == "cpan":
        space = space.upper()
    if version and kind in _LOWER_VERSION:
        version = version.lower()
    if kind in _NAMESPACE_REQUIRED and not space:
        raise MalformedError(f"{where}: namespace", got="none", expected=f"one: the type {kind} requires it")
    if kind in _NAMESPACE_PROHIBITED and space:
        raise MalformedError(f"{where}: namespace", got=space, expected=f"none: the type {kind} has no namespaces")
    if (needed := _QUALIFIER_REQUIRED.get(kind)) and needed not in kept:
        raise MalformedError(f"{where}: qualifiers", got=sorted(kept), expected=f"{needed}, which {kind} requires")
    if kind in _NAME_SHAPES and not _NAME_SHAPES[kind][0].match(name):
        raise MalformedError(f"{where}: name", got=name, expected=_NAME_SHAPES[kind][1])
    if kind == "chrome-extension" and version and not _CHROME_VERSION.match(version):
        raise MalformedError(f"{where}: version", got=version, expected="one to four numbers with '.' between them")
    return PackageUrl(kind, space or None, name, version or None, kept, path or None)


def _encode(text: str) -> str:
    return text if _UNENCODED.match(text) else quote(text, safe=":")


def _decode(text: str, where: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise MalformedError(where, got=text, expected="UTF-8 behind the percent signs") from None
