"""Swift and Objective-C: Package.resolved (Swift Package Manager, versions 1 to 3), Podfile.lock (CocoaPods)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from custody.sbom.catalogers.cataloger import Cataloger, named
from custody.sbom.catalogers.documents import hexadecimal, indented, json_object, rows, table, word, words
from custody.sbom.catalogers.fact import Fact, unknown

_POD = re.compile(r"([^\s(]+)(?: \(([^)]*)\))?")


def read_swift(path: str, content: bytes) -> Iterator[Fact]:
    document = json_object(path, content)
    pins = document.get("pins", table(document.get("object")).get("pins"))
    if not isinstance(pins, list):
        raise ValueError("Package.resolved without pins")
    for row in rows(pins):
        state, address = table(row.get("state")), word(row.get("location")) or word(row.get("repositoryURL"))
        name = _repository(address)
        version = word(state.get("version")) or word(state.get("revision"))
        if "/" not in name or not version:
            yield unknown("Swift package without an address or a version")
            continue
        yield Fact(type="swift", name=name, version=version)


def _repository(address: str) -> str:
    """`https://github.com/apple/swift-nio.git` as package URLs have it; of `git@host:a/b` too."""
    scheme, slashes, rest = address.partition("://")
    bare = rest if slashes else scheme.replace(":", "/", 1)
    host, slash, path = bare.partition("/")
    return (host.rpartition("@")[2] + slash + path).removesuffix("/").removesuffix(".git")


def read_pods(_path: str, content: bytes) -> Iterator[Fact]:
    """A pod's parts, `A/Core`, are of the same pod."""
    document = indented(content)
    if not isinstance(document.get("PODS"), list):
        raise ValueError("Podfile.lock without PODS")
    sums = table(document.get("SPEC CHECKSUMS"))
    versions: dict[str, str] = {}
    needs: dict[str, dict[str, None]] = {}
    for entry in document["PODS"]:
        for text, needed in _pods(entry):
            match = _POD.match(text)
            if match is None or not match[2]:
                yield unknown("pod without a version")
                continue
            pod = match[1].partition("/")[0]
            versions.setdefault(pod, match[2].partition(" ")[0])
            needs.setdefault(pod, {}).update({need.partition(" ")[0].partition("/")[0]: None for need in needed})
    for pod, version in versions.items():
        yield Fact(type="cocoapods", name=pod, version=version, hashes=hexadecimal("sha1", sums.get(pod)),
                   requires=tuple(need for need in needs[pod] if need != pod))


def _pods(entry: Any) -> Iterator[tuple[str, list[str]]]:
    if isinstance(entry, str):
        yield entry, []
    else:
        for text, needed in table(entry).items():
            yield text, words(needed)


SWIFT = Cataloger(name="Swift lock", version=1, types=("swift",), read=read_swift, declares=True, parsed=0.25, paths=(
    named("Package.resolved", ".package.resolved"),))
PODS = Cataloger(name="CocoaPods lock", version=1, types=("cocoapods",), read=read_pods, declares=True,
                 largest=16 << 20, paths=(named("Podfile.lock"),))
