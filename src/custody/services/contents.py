"""What is in a target, and how that is written: opening and cataloguing an image, reading an SBOM, output formats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from custody import __version__
from custody.errors import MalformedError, UnsupportedError, UsageError
from custody.formats import cyclonedx, sbom, spdx
from custody.formats.bom import Catalog
from custody.kit import strictjson

if TYPE_CHECKING:
    from custody.ports.layers import LayerCache
    from custody.registry.client import RegistryClient
    from custody.vulns.report import ScanReport

_LARGEST_SBOM, _HEAVIEST_SBOM = 64 << 20, 192 << 20
_Said = TypeVar("_Said")
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None] | None]]
"""Tells a person how far it is: a title and the bytes in all; gives what is called with those that are done."""


@dataclass(frozen=True, slots=True)
class Format(Generic[_Said]):
    """One way to write a catalog or a scan."""

    write: Callable[[_Said, datetime], bytes]
    """UTF-8; the time is the one that the document bears."""

def _json(document: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    except UnicodeEncodeError:  # a name that is no text
        return encode(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def encode(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


SBOMS: Mapping[str, Format[Catalog]] = {
    "cyclonedx-json": Format(
        lambda catalog, now: _json(cyclonedx.write(catalog, now, __version__))),
    "spdx-json": Format(lambda catalog, now: _json(spdx.write(catalog, now, __version__))),
    "purls": Format(lambda catalog, _: encode("".join(f"{package.purl}\n" for package in catalog.packages)))}
"""What a catalog is written as, for programs."""
SCANS: Mapping[str, Format[ScanReport]] = {
    "json": Format(lambda report, _: _json(report.to_json())),
    "cosign-vuln": Format(lambda report, _: _json(report.to_cosign_vuln()))}
"""What a scan is written as, for programs."""


async def catalog_image(target: str, client: RegistryClient, cache: Path, layers: LayerCache, progress: Progress,
                        platform: str | None = None) -> Catalog:
    """The catalog of the image that `target` names (`services.targets`); `cache` has what was pulled before, `layers`
    what was read before. Raises as `open_target` and `catalog` do.
    """
    from custody.sbom.catalog import catalog
    from custody.services.targets import open_target

    image = await open_target(target, client, cache, platform)
    with progress(f"Cataloguing {target}", sum(layer.size for layer in image.manifest.layers)) as advance:
        return await asyncio.to_thread(catalog, image, layers, advance)


def read_sbom(path: Path) -> Catalog:
    """What an SBOM of any format lists. Raises UsageError, MalformedError, UnsupportedError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST_SBOM + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > _LARGEST_SBOM or strictjson.weight(data) > _HEAVIEST_SBOM:
        raise MalformedError(str(path), got=f"{len(data)} bytes, about {strictjson.weight(data) >> 20} MiB in memory",
                             expected=f"at most {_LARGEST_SBOM >> 20} MiB, and {_HEAVIEST_SBOM >> 20} MiB in memory")
    catalog = sbom.read(data, str(path))
    if catalog is None:
        raise UnsupportedError(str(path), "is neither CycloneDX JSON nor SPDX JSON")
    return catalog
