"""Python packages as they are installed: core metadata in `*.dist-info/METADATA`, `*.egg-info[/PKG-INFO]` and eggs;
where they are from (PEP 610, `direct_url.json`)."""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from custody.ecosystems import python as spelled
from custody.formats.zip import Archive
from custody.kit import strictjson
from custody.kit.addresses import address
from custody.sbom.catalogers.cataloger import Cataloger, ending, named
from custody.sbom.catalogers.fact import HOLDS, ORIGIN, Fact, unknown

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PROGRAM = re.compile(r"\.(?:so[.0-9]*|pyd|dylib|node)(?=[\",])|/s?bin/[^\n,]+,|^[^\n.,]+,", re.MULTILINE)
_UNSPOKEN = re.compile(r"[\W_]")
_HOMES, _SOURCES = ("homepage", "home"), ("source", "repository", "sourcecode", "github", "code")
_MOST = 100_000
_LARGEST = 4 << 20
_EXTRA = re.compile(r"\bextra\s*==")


def split_license(text: str) -> tuple[str, ...]:
    """A licence as the author wrote it, if it is a name and not a whole text."""
    text = text.strip()
    return (text,) if text and len(text) <= 200 and "\n" not in text and text.upper() != "UNKNOWN" else ()


def read(_path: str, content: bytes) -> tuple[Fact, ...]:
    head = content.decode("utf-8", "replace").replace("\r\n", "\n").partition("\n\n")[0]
    fields: dict[str, list[str]] = {}
    for line in head.split("\n"):
        key, colon, value = line.partition(":")
        if colon and key and not key[0].isspace():
            fields.setdefault(key.lower(), []).append(value.strip())
    name, version = fields.get("name", [""])[0], fields.get("version", [""])[0]
    if not name or not version:
        raise ValueError("metadata without Name and Version")
    licenses = split_license((fields.get("license-expression") or fields.get("license") or [""])[0])
    if not licenses:
        licenses = tuple(classifier.rpartition("::")[2].strip() for classifier in fields.get("classifier", ())
                         if classifier.startswith("License ::"))
    pages = dict(reversed([_labelled(line) for line in fields.get("project-url", ())]))
    requires = dict.fromkeys(spelled(match[1]) for line in fields.get("requires-dist", ())
                             if not _EXTRA.search(line.partition(";")[2]) and (match := _REQUIREMENT.match(line)))
    return (Fact(type="pypi", name=name, version=version, source=spelled(name), licenses=licenses,
                 supplier=_maker(fields, "author") or _maker(fields, "maintainer"), requires=tuple(requires),
                 homepage=address(fields.get("home-page", [""])[0]) or _page(pages, _HOMES),
                 repository=_page(pages, _SOURCES)),)


def _maker(fields: dict[str, list[str]], who: str) -> str:
    """`Name <mail>` of two fields, of which each may have both already (PyPA, "Core metadata specifications")."""
    name, mail = (text if (text := fields.get(key, [""])[0]) != "UNKNOWN" else "" for key in (who, f"{who}-email"))
    if name and mail and not set("<,") & {*name, *mail}:
        return f"{name} <{mail}>"
    return mail if "<" in mail and "<" not in name else name or mail


def _labelled(line: str) -> tuple[str, str]:
    """The label of `Project-URL: Label, address` as it is compared ("Well-known Project URLs"), and the address."""
    label, _, url = line.partition(",")
    return _UNSPOKEN.sub("", label).lower(), url.strip()


def _page(pages: dict[str, str], labels: tuple[str, ...]) -> str:
    return next((url for label in labels if (url := address(pages.get(label, "")))), "")


def read_egg(file: BinaryIO, spend: Callable[[int], None]) -> Iterator[Fact]:
    """An egg is an archive with metadata in it (setuptools, "The Internal Structure of Python Eggs")."""
    archive = Archive(file)
    spend(archive.size)
    member = next(archive.members(lambda name: name == b"EGG-INFO/PKG-INFO"), None)
    if member is None:
        yield unknown("Python egg without metadata")
        return
    spend(member.size)
    yield from read(member.name, archive.content(member, _LARGEST))


def read_origin(path: str, content: bytes) -> Iterator[Fact]:
    """PEP 610. A folder of the machine that installed it says nothing to anybody else."""
    document = strictjson.loads(content, path)
    url = document.get("url") if isinstance(document, dict) else None
    if not isinstance(url, str):
        raise ValueError("direct_url.json without a URL")
    scheme, slashes, rest = url.partition("://")
    host, slash, place = rest.partition("/")
    bare = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{place}"
    vcs = document.get("vcs_info")
    if isinstance(vcs, dict) and isinstance(vcs.get("commit_id"), str):
        yield Fact(type=ORIGIN, name="vcs_url", source=f"{vcs.get('vcs', 'git')}+{bare}@{vcs['commit_id']}")
    elif scheme in ("https", "http"):
        yield Fact(type=ORIGIN, name="download_url", source=bare)


def read_link(path: str, content: bytes) -> Iterator[Fact]:
    """A package that is run from its sources (setuptools, "Development Mode"): a line with their folder, where its
    metadata lies and is read. Counted where it does not.
    """
    folder = content.decode("utf-8", "replace").partition("\n")[0].strip()
    name = path.rpartition("/")[2].removesuffix(".egg-link")
    places = [posixpath.join(folder, f"{spelling}.egg-info/PKG-INFO").lstrip("/")
              for spelling in dict.fromkeys((name, name.replace("-", "_"), re.sub(r"[-_.]+", "_", name)))]
    yield msgspec.structs.replace(unknown("Python package in development"), provides=tuple(places))


LINK = Cataloger(name="egg-link", version=1, read=read_link, largest=64 << 10, paths=(
    ending("egg-link", pattern=r".*[^/]\.egg-link"),))
EGG = Cataloger(name="Python egg", version=1, types=("pypi",), stream=read_egg, largest=256 << 20,
                paths=(ending("egg", pattern=r".*[^/]\.egg"),))
DIRECT_URL = Cataloger(name="direct_url.json", version=1, read=read_origin, largest=64 << 10, paths=(
    named("direct_url.json", pattern=r".*dist-info/direct_url\.json"),))


def recorded(path: str, content: bytes) -> tuple[Fact, ...]:
    """`*.dist-info/RECORD` (PyPA specification "Recording installed projects"): programs and libraries of it.

    One fact with the paths, and the package without metadata that it is where no METADATA is beside it."""
    text = content.decode("utf-8", "replace")
    site = path.rpartition("/")[0].rpartition("/")[0]
    lines: dict[str, None] = {}
    for match in _PROGRAM.finditer(text):
        end = text.find("\n", match.start())
        lines[text[text.rfind("\n", 0, match.start()) + 1:end if end >= 0 else len(text)]] = None
        if len(lines) > _MOST:
            raise ValueError(f"more than {_MOST} programs and libraries")
    try:
        paths = [posixpath.normpath(posixpath.join(site, row[0])).lstrip("/") for row in csv.reader(lines) if row]
    except csv.Error as error:
        raise ValueError(f"a RECORD that is no CSV: {error}") from None
    facts = [Fact(type=HOLDS, name=path, requires=tuple(paths))] if paths else []
    return (*facts, unknown("Python package without metadata"))


CATALOGER = Cataloger(
    name="python", version=1, types=("pypi",), read=read, listed=r"/(?:METADATA|PKG-INFO|[^/]+\.egg-info)\Z",
    paths=(named("METADATA", pattern=r"(?i:.*dist-info/metadata)", examples=("dist-info/METADATA",)),
           named("PKG-INFO", pattern=r"(?i:.*(?:egg|dist)-info/pkg-info)",
                 examples=("dist-info/PKG-INFO", "egg-info/PKG-INFO")),
           ending("egg-info")))
RECORD = Cataloger(name="python record", version=1, read=recorded, largest=16 << 20, paths=(
    named("RECORD", pattern=r".*\.dist-info/RECORD"),))
