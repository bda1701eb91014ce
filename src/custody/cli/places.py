"""Where an image and its evidence are: a registry, or `oci:DIR[:TAG|@DIGEST]`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from custody.errors import UnsupportedError, UsageError
from custody.formats import reference
from custody.formats.reference import LAYOUT, Reference, is_layout
from custody.kit import digest as digests
from custody.registry.client import RegistryClient
from custody.registry.layout import Layout
from custody.services.copying import Place
from custody.services.stored import split_layout
from custody.settings import Settings
from custody.wiring import layout_client, registry_client

_REFUSED = ("archive:", "dir:", "sbom:", "docker:", "docker-archive:", "oci-archive:")


class Stored(NamedTuple):
    """An image of a layout."""

    layout: Layout
    ref: Reference
    """The name that it was saved under, with its digest."""
    client: RegistryClient


def stored(text: str) -> Stored:
    """The image that `oci:DIR[:TAG|@DIGEST]` names. Raises UsageError, MalformedError, VerificationError."""
    path, identifier = split_layout(text.removeprefix(LAYOUT))
    if not path.is_dir():
        raise UsageError(f"{text}: {path} is no folder", hint="an image on this disk is oci:DIR, or oci:DIR:TAG")
    layout = Layout(path)
    return Stored(layout, layout.reference(layout.image(identifier)), layout_client(layout))


@asynccontextmanager
async def source(settings: Settings, text: str) -> AsyncIterator[Place]:
    """The place that is read."""
    if is_layout(text):
        image = stored(text)
        yield Place(image.client, image.ref, text)
        return
    async with registry_client(settings) as client:
        yield Place(client, _named(text))


@asynccontextmanager
async def target(settings: Settings, text: str, origin: Reference) -> AsyncIterator[tuple[Place, str | None]]:
    """The place that is written, and the tag that the image gets there; a layout calls it as its source does."""
    if is_layout(text):
        path, tag = _new_layout(text)
        layout = Layout.made(path, "target")
        async with layout_client(layout, writable=True) as client:
            yield Place(client, origin, text), tag or origin.tag
        return
    ref = _named(text)
    async with registry_client(settings) as client:
        yield Place(client, ref), ref.tag


def _new_layout(text: str) -> tuple[Path, str | None]:
    path, tag = split_layout(text.removeprefix(LAYOUT))
    if tag is not None and (digests.is_digest(tag) or not reference.is_tag(tag)):
        raise UsageError(f"{text}: got {tag}, expected a tag after the folder", hint="oci:DIR or oci:DIR:TAG")
    return path, tag


def _named(text: str) -> Reference:
    if text.startswith(_REFUSED):
        raise UnsupportedError(text, "has no place for evidence", hint="a registry's image, or oci:DIR[:TAG]")
    return reference.parse(text)
