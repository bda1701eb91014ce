"""`custody runtime rules push`: rule files into a registry, as an artifact that falcoctl installs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import click

from custody.cli.run import settings
from custody.cli.trust_options import named
from custody.errors import UsageError
from custody.services import falcorules
from custody.wiring import registry_client

_REQUIREMENT = re.compile(r"([a-z0-9_]+)[:=](\d+\.\d+\.\d+\S*)")


@click.command("push")
@click.argument("image", metavar="REF")
@click.argument("paths", nargs=-1, required=True, metavar="FILE|DIR…", type=click.Path(exists=True, path_type=Path))
@click.option("--require", "requirements", multiple=True, metavar="NAME:VERSION", help="What the rules need, such as "
              "engine_version_semver:0.40.0; what the files say of the engine is told anyway.")
def command(image: str, paths: tuple[Path, ...], requirements: tuple[str, ...]) -> None:
    """Put rule files into a registry, and print the artifact's digest: custody sign takes it as it takes an image.

    The files must load together; one that others are needed for is pushed with them.
    """
    needs = []
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None:
            raise UsageError(f"--require: got {requirement}, expected NAME:VERSION",
                             hint="such as engine_version_semver:0.40.0")
        needs.append((match[1], match[2]))
    asyncio.run(_run(image, paths, needs))


async def _run(image: str, paths: tuple[Path, ...], needs: list[tuple[str, str]]) -> None:
    texts = falcorules.files(paths)
    rules = falcorules.compiled(texts)
    if rules.required_engine_version > (0, 0, 0) and not any(name == "engine_version_semver" for name, _ in needs):
        needs.append(("engine_version_semver", ".".join(map(str, rules.required_engine_version))))
    ref = named(image.removeprefix(falcorules.REGISTRY))
    async with registry_client(settings()) as client:
        descriptor = await falcorules.push(client, ref, texts, needs)
    click.echo(f"{ref.at(descriptor.digest)}")
