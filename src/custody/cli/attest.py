"""`custody attest`: sign a statement about an image."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from custody.cli.postquantum import post_quantum, pq_option
from custody.cli.predicate import predicate_of
from custody.cli.run import settings
from custody.cli.sign import make_signer, tell
from custody.cli.trust_options import Command, resolve, sign_options
from custody.formats import intoto
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services.replace import replace_bundles
from custody.sign.referrers import push_bundle
from custody.wiring import command_http, registry_client


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@sign_options
@click.option("--predicate", required=True, metavar="FILE", help="The predicate: JSON; - reads standard input.")
@click.option("--type", "kind", default="custom", show_default=True, metavar="TYPE",
              help="Predicate type: a short name such as slsaprovenance1, spdxjson, cyclonedx, vuln, or a URI.")
@click.option("--replace", is_flag=True, help="Remove this signer's older attestations of the type.")
@pq_option
def command(images: tuple[str, ...], predicate: str, kind: str, replace: bool, pq: str | None, **options: Any) -> None:
    """Sign a predicate about images and store it beside them, as `cosign attest` 3 does."""
    predicate_type, value = predicate_of(kind, predicate)
    asyncio.run(_run(images, predicate_type, value, replace, pq, options))


async def _run(images: tuple[str, ...], predicate_type: str, predicate: Any, replace: bool, pq: str | None,
               options: dict[str, Any]) -> None:
    http = command_http(settings())
    signer = await make_signer(http, options)
    halves = [half for half in (await post_quantum(signer, pq), signer) if half is not None]
    async with registry_client(settings(), http) as client:
        for image in images:
            ref, descriptor = await resolve(client, image)
            statement = intoto.statement(descriptor.digest, predicate_type, predicate, name=ref.name)
            made = [(half, *await half.sign(statement, descriptor.digest)) for half in halves]
            for half, data, verified in made:
                pushed = await push_bundle(client, ref, descriptor, data, predicate_type, system_clock())
                print(f"{ref.name}@{pushed.digest}")
                if replace:
                    trust = half.trust(require_log=verified.log is not None)
                    gone = await replace_bundles(client, ref, verified, pushed, trust, system_clock())
                    print(f"{ref}: removed {gone} older attestation{'' if gone == 1 else 's'}", file=sys.stderr)
                tell(ref, f"{visible(predicate_type)} attested", verified)
