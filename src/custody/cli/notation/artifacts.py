"""Images as `notation`'s commands name them, with a tag or digest: in a registry, or with --oci-layout in a folder."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from custody.cli.notation.options import known, split_layout, warn
from custody.cli.run import settings
from custody.errors import UsageError
from custody.formats import oci, reference
from custody.kit import digest as digests
from custody.services.notaryplaces import LayoutPlace, Place, RegistryPlace
from custody.services.notarysignatures import MAX_SIGNATURES
from custody.wiring import registry_client

if TYPE_CHECKING:
    from custody.ports.http import Http
    from custody.registry.client import RegistryClient

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Artifact:
    """One that was named, and what its name means now."""

    name: str
    """`registry/repository`, or the layout's folder."""
    subject: oci.Descriptor
    place: Place


def limit_options(command: _F) -> _F:
    """`max_signatures`, and the old flag that changes nothing."""
    for option in (
            click.option("--max-signatures", type=click.IntRange(min=1), default=MAX_SIGNATURES, show_default=True,
                         metavar="N", help="How many signatures are looked at."),
            click.option("--allow-referrers-api", is_flag=True, hidden=True, expose_value=False, callback=_deprecated,
                         help="Has no effect any more: the referrers API is always asked.")):
        command = option(command)
    return command


def artifact_options(command: _F) -> _F:
    """`max_signatures` and `oci_layout`."""
    return limit_options(click.option("--oci-layout", is_flag=True,
                                      help="REFERENCE is DIR:TAG or DIR@DIGEST, an OCI layout.")(command))


def _deprecated(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        warn("flag '--allow-referrers-api' is deprecated: the referrers API is always asked.")


@contextlib.asynccontextmanager
async def client_for(options: Mapping[str, Any], http: Http | None = None) -> AsyncIterator[RegistryClient | None]:
    """A registry's client, which closes `http`; None for a layout, which needs none."""
    if not options.get("oci_layout"):
        async with registry_client(settings(), http) as client:
            yield client
        return
    try:
        yield None
    finally:
        if http is not None:
            await http.close()


async def find(client: RegistryClient | None, artifact: str, options: Mapping[str, Any], operation: str) -> Artifact:
    """Raises UsageError, MalformedError, NotFoundError; warns of a tag."""
    place: Place
    if client is None:
        from custody.registry.listedlayout import ListedLayout

        folder, identifier = split_layout(artifact)
        layout = ListedLayout(Path(folder))
        subject, name, place = layout.resolve(identifier), folder, LayoutPlace(layout)
    else:
        ref = reference.parse(artifact)
        identifier = ref.digest or ref.tag or ""
        if not identifier or not artifact.endswith(identifier):
            raise UsageError(f"{artifact}: got no tag and no digest, expected REGISTRY/NAME:TAG or "
                             "REGISTRY/NAME@DIGEST")
        asker = known(client, ref.registry, options)
        subject, name = await asker.resolve(ref), ref.name
        place = RegistryPlace(asker, ref.at(subject.digest))
    if not digests.is_digest(identifier):
        warn(f"Always {operation} the artifact using digest(@sha256:...) rather than a tag(:{identifier}) because "
             "resolved digest may not point to the same signed artifact, as tags are mutable.")
    return Artifact(name, subject, place)


def seen_as(artifact: Artifact) -> str:
    """Its name with its digest."""
    return f"{artifact.name}@{artifact.subject.digest}"
