"""`custody demo`: the whole chain on a real image, on embedded services, and the attacks that it stops."""

from __future__ import annotations

import json
from pathlib import Path

import click
import uvloop

from custody.cli.run import settings
from custody.errors import OfflineError


@click.command("demo")
@click.option("--image", metavar="TARGET", help="Your own image: a registry reference, oci:DIR or archive:FILE.tar.")
@click.option("--keep", is_flag=True, help="Leave the services running, and say what to try next.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Default: a free one; 5080 with --keep.")
@click.option("--webhook-port", default=0, type=click.IntRange(0, 65535), help="Default: a free one; 5443 with --keep.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="What stdout gets.")
def command(image: str | None, keep: bool, port: int, webhook_port: int, output: str) -> None:
    """Take one real image through every gate, then attack it in every way that a gate should stop.

    Without --image the shop of examples/shop is built from a signed commit first. Everything runs on 127.0.0.1 in
    the data directory, below `demo`, which is removed at the end.
    """
    if settings().offline:
        raise OfflineError("demo: it talks to its own services on 127.0.0.1, which --offline forbids too")
    ports = (port or 5080, webhook_port or 5443) if keep else (port, webhook_port)
    uvloop.run(_demo(settings().data, image, keep, ports, output))


async def _demo(data: Path, image: str | None, keep: bool, ports: tuple[int, int], output: str) -> None:
    from custody.cli.services import until_stopped
    from custody.demo import attacks, story
    from custody.demo.tell import Teller
    from custody.demo.world import opened

    def policies(folder: Path) -> list[Path]:
        chosen = [folder / "require-signed-images.yaml", folder / "restrict-registries.yaml", folder / "notarised.yaml",
                  *sorted((folder / "shop").glob("*.yaml"))]
        # The two everyday policies name every registry that they know; an own image may come without provenance.
        return chosen if image is None else [path for path in chosen if path.name != "built.yaml"]

    teller = Teller(quiet=output == "json")
    async with opened(data, port=ports[0], webhook_port=ports[1], policies=policies) as world:
        teller.note(f"services at {world.services.url} and {world.services.webhook}, state in {world.folder}")
        teller.heading("The chain")
        cache = data / "cache"
        chain = await (story.tell_from_source(world, teller, cache) if image is None
                       else story.tell_from_image(world, teller, image, cache))
        teller.heading("The attacks")
        await attacks.run_all(world, teller, chain)
        if chain.history is not None:
            chain.history.close()
        teller.table()
        if output == "json":
            click.echo(json.dumps(teller.data(), indent=2))
        if keep:
            (world.folder / "pod.yaml").write_text(json.dumps(world.pod(f"{world.name}:1.0"), indent=1))
            click.echo(_next(world.folder, world.name, chain.image.digest), err=True)
            await until_stopped()


def _next(folder: Path, name: str, digest: str) -> str:
    custody = f"custody --config {folder / 'custody.toml'}"
    return f"""
The services still run; ctrl-c ends them. In another terminal:

  {custody} check {folder / 'pod.yaml'}
  {custody} tree {name}:1.0
  {custody} sbom {name}@{digest} -o spdx-json
  {custody} verify {name}@{digest} \\
      --certificate-identity-regexp '^https://github.com/myorg/' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com
  {custody} log verify
"""
