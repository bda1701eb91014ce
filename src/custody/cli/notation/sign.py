"""`custody notation sign`: vouch for an image, in a registry or an OCI layout."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from custody.cli.notation.options import (
    Command,
    Narrator,
    known,
    logging_options,
    registry_options,
    split_layout,
    warn,
)
from custody.cli.notation.signing import signer, signing_options, summary, terms
from custody.cli.run import settings
from custody.errors import UsageError
from custody.formats import oci
from custody.kit import digest as digests
from custody.kit.clock import system_clock
from custody.ports.http import Http
from custody.services.notaryplaces import LayoutPlace, Place, RegistryPlace
from custody.services.notarysigning import sign_artifact, subject_of
from custody.wiring import command_http, registry_client


@click.command("sign", cls=Command)
@click.argument("artifact", metavar="REFERENCE")
@signing_options
@click.option("--force-referrers-tag", type=bool, default=True, metavar="[=BOOL]",
              help="Keep the referrers tag, where old clients look, also in a registry with the referrers API. "
              "=false keeps it only where there is no API. Default: true.")
@click.option("--allow-referrers-api", is_flag=True, hidden=True, help="The old name of --force-referrers-tag=false.")
@click.option("--oci-layout", is_flag=True, help="REFERENCE is DIR:TAG or DIR@DIGEST, an OCI layout.")
@registry_options
@logging_options
def command(artifact: str, force_referrers_tag: bool, allow_referrers_api: bool, oci_layout: bool,
            **options: Any) -> None:
    """Sign an image as `notation sign` does, and store the signature beside it.

    Name it by digest: a tag may move between your look and this signature.
    """
    narrator = Narrator(options["debug"], options["verbose"])
    given = click.get_current_context().get_parameter_source("force_referrers_tag")
    if oci_layout and (allow_referrers_api or given is click.core.ParameterSource.COMMANDLINE):
        raise UsageError("--oci-layout and --force-referrers-tag: give one; a layout has no such tag")
    if allow_referrers_api:
        warn("--allow-referrers-api: is deprecated, use --force-referrers-tag=false")
        force_referrers_tag = False
    asyncio.run(_sign(artifact, narrator, options, fallback=force_referrers_tag, layout=oci_layout))


async def _sign(artifact: str, narrator: Narrator, options: dict[str, Any], *, fallback: bool, layout: bool) -> None:
    http = command_http(settings())
    try:
        key, how = signer(options, narrator), terms(http, options)
        place, name, subject, identifier = await (_in_layout(artifact) if layout else _in_registry(
            http, artifact, options, fallback=fallback))
        if not digests.is_digest(identifier):
            warn(f"Always sign the artifact using digest(@sha256:...) rather than a tag(:{identifier}) because tags "
                 "are mutable and a tag reference can point to a different artifact than the one signed.")
        narrator.info(f"{artifact}: is {subject.digest}, {subject.media_type}, {subject.size} bytes")
        pushed, signed = await sign_artifact(place, subject, key, how, system_clock)
        narrator.info(f"signature {pushed.digest}: {summary(signed)}")
    finally:
        await http.close()
    print(f"Successfully signed {name}@{subject.digest}")


async def _in_layout(artifact: str) -> tuple[Place, str, oci.Descriptor, str]:
    """Where the signature goes, the artifact's name and manifest, and the tag or digest that was given."""
    from custody.registry.listedlayout import ListedLayout

    folder, identifier = split_layout(artifact)
    layout = ListedLayout(Path(folder))
    listed = layout.resolve(identifier)
    return LayoutPlace(layout), folder, subject_of(listed, layout.manifest(listed), artifact), identifier


async def _in_registry(http: Http, artifact: str, options: dict[str, Any], *,
                       fallback: bool) -> tuple[Place, str, oci.Descriptor, str]:
    from custody.formats import reference

    ref = reference.parse(artifact)
    identifier = ref.digest or ref.tag or ""
    if not identifier or not artifact.endswith(identifier):
        raise UsageError(f"{artifact}: got no tag and no digest, expected REGISTRY/NAME:TAG or REGISTRY/NAME@DIGEST")
    client = known(registry_client(settings(), http), ref.registry, options)
    subject = subject_of(*await client.manifest(ref), artifact)
    return RegistryPlace(client, ref.at(subject.digest), fallback=fallback), ref.name, subject, identifier
