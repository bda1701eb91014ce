"""What the address of a locked package says: whether it can be replaced, whose it is, and of which package."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from custody.source.locked import Locked

_REGISTRIES = {
    "npm": ("registry.npmjs.org", "registry.yarnpkg.com"), "pypi": ("pypi.org", "files.pythonhosted.org"),
    "cargo": ("github.com/rust-lang/crates.io-index", "index.crates.io"),
    "composer": ("api.github.com", "github.com", "codeload.github.com", "packagist.org", "repo.packagist.org"),
    "gem": ("rubygems.org",), "golang": ("proxy.golang.org",)}
"""Packagist's packages are archives of GitHub."""
ASKED = {"npm": "https://registry.npmjs.org", "pypi": "https://pypi.org/simple", "golang": "https://proxy.golang.org"}
"""Registries that say when a version was released, in a form that mirrors have too."""
_COMMIT = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?:[0-9a-f]{24})?(?![0-9a-f])")
_NPM = re.compile(r"/((?:@[^/]+/)?[^/@]+)/-/(?:@[^/]+/)?([^/]+)\.tgz\Z")
_SSH = re.compile(r"[\w.-]+@([\w.-]+):")
_SHORT = re.compile(r"(github|gitlab|bitbucket):")
_HOSTS = {"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org"}


def host(url: str) -> str:
    """In small letters, with its port; empty for none, and for a file."""
    if match := _SHORT.match(url):
        return _HOSTS[match[1]]
    if match := _SSH.match(url.removeprefix("git+")):
        return match[1].lower()
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return url[:80]


def is_git(url: str) -> bool:
    plain, _, _ = url.partition("#")
    return url.startswith(("git+", "git:", "git@", "github:", "gitlab:", "bitbucket:")) or plain.endswith(".git") or (
        "codeload.github.com" in url)


def pinned(entry: Locked) -> bool:
    """Whether a commit id says what the bytes are."""
    return _COMMIT.fullmatch(entry.commit) is not None or (
        is_git(entry.url) and _COMMIT.search(entry.url) is not None)


def mutable(entry: Locked) -> str | None:
    """Why what it names may be something else tomorrow."""
    scheme = entry.url.partition(":")[0].removeprefix("git+")
    if scheme in ("http", "git", "ftp"):
        return f"{entry.url}: whoever is on the way can replace it, expected https"
    if is_git(entry.url) and not pinned(entry):
        return f"{entry.url}: a branch or tag of a repository, expected a commit id"
    return None


def foreign(entry: Locked, allowed: Collection[str]) -> str | None:
    """Why it is nobody's who is known: a registry is known by host, or by host and path in front of the rest."""
    if not entry.url or not (name := host(entry.url)):
        return None
    place = entry.url.partition("://")[2].rpartition("@")[2]
    known = (*_REGISTRIES.get(entry.type, ()), *allowed)
    if name in known or any("/" in registry and f"{place}/".startswith(f"{registry.rstrip('/')}/")
                            for registry in known):
        return None
    return f"{entry.url}: from {name}, expected {' or '.join(_REGISTRIES.get(entry.type, ('an allowed host',))[:2])}"


def another(entry: Locked) -> str | None:
    """npm: `/NAME/-/BASE-VERSION.tgz`."""
    match = _NPM.search(unquote(entry.url.partition("#")[0].partition("?")[0])) if entry.type == "npm" else None
    if match is None:
        return None
    base = entry.name.rpartition("/")[2]
    if match[1].lower() != entry.name.lower():
        return f"got the address of {match[1]}: {entry.url}"
    if entry.version and match[2].lower() != f"{base}-{entry.version.partition('+')[0]}".lower():
        return f"got the address of {match[2]}: {entry.url}"
    return None


def confused(entry: Locked, private: Sequence[str], allowed: Collection[str], scopes: Collection[str]) -> str | None:
    """Why an internal name may be answered for by everybody's registry."""
    if not any(fnmatchcase(entry.name.lower(), pattern.lower()) for pattern in private):
        return None
    name = host(entry.url)
    if name in _REGISTRIES.get(entry.type, ()) and name not in allowed:
        return f"an internal name, from the public {name}"
    scope = entry.name.partition("/")[0] if entry.name.startswith("@") else ""
    if not name and scope not in scopes:
        return "an internal name, and nothing says which registry it is from" + (
            f": .npmrc has no {scope}:registry" if scope else "")
    return None
