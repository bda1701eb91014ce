"""`custody build`: from a commit to an image and the provenance that says so."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from custody.build.builder import Built, build
from custody.build.sandbox import KINDS
from custody.cli.pending import pending
from custody.cli.run import settings
from custody.cli.sign import make_signer
from custody.cli.trust_options import IDENTITY_FLAGS, Command, sign_options
from custody.errors import DeniedError, NotFoundError, UsageError
from custody.evidence.model import KeylessSigner
from custody.formats import intoto, reference
from custody.formats.slsa import PROVENANCE_V1
from custody.kit import destination
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.registry.image import open_layout
from custody.services.targets import push
from custody.sign.referrers import push_bundle
from custody.wiring import WORKLOADS, command_http, registry_client
from custody.wiring.local import fetch_inputs, git_repository

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""RFC 3986, 3.1. `git@host:path` is no URI."""


@click.command("build", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--commit", default="HEAD", show_default=True, help="What to build; the working tree is never read.")
@click.option("--repository", required=True, metavar="URI", help="The repository's public name, for the provenance.")
@click.option("--output", "-o", required=True, metavar="oci:DIR", help="A new OCI image layout.")
@click.option("--isolation", type=click.Choice(KINDS), help="Default: the strongest that works here, but never none.")
@click.option("--push", "target", metavar="IMAGE", help="Push the image there and attest its provenance.")
@click.option("--provenance", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write the in-toto statement, unsigned.")
@sign_options
def command(folder: Path, commit: str, repository: str, output: str, isolation: str | None, target: str | None,
            provenance: Path | None, **options: Any) -> None:
    """Build a commit in a sandbox without network or secrets, as its custody-build.toml says."""
    if not output.startswith("oci:"):
        raise UsageError(f"--output: got {output!r}, expected oci:DIR")
    unused = [f"--{name.replace('_', '-')}" for name in (*IDENTITY_FLAGS, "key", "signing_config", "trusted_root",
                                                         "tlog_upload") if options[name] is not None]
    if target is None and unused:
        raise UsageError(f"{unused[0]}: is about signing the provenance, which goes where --push says")
    if provenance is not None:
        destination.check(provenance, "--provenance")
    _check_repository(repository)
    source = git_repository(folder)
    try:
        with pending("Building") as say:
            built = build(source, source.resolve(commit), repository_uri=repository, layout=Path(output[4:]),
                          cache=settings().state() / "cache" / "inputs", fetch=fetch_inputs(offline=settings().offline),
                          clock=system_clock, isolation=isolation, progress=say)
    except NotFoundError as error:  # of this machine's repository, not of a network's
        raise UsageError(error.message, hint=error.hint) from None
    finally:
        source.close()
    click.echo(built.descriptor.digest)
    if provenance is not None:
        statement = intoto.statement(built.descriptor.digest, PROVENANCE_V1, built.provenance.to_json())
        destination.write(provenance, (json.dumps(json.loads(statement.to_bytes()), indent=2) + "\n").encode(),
                          "--provenance")
    if target is not None:
        asyncio.run(_publish(built, target, options))
    print(f"built by {built.provenance.builder_id}", file=sys.stderr)


def _check_repository(uri: str) -> None:
    """Raises UsageError for what is no URI, and for one with a secret: it is written into the provenance, for all."""
    scheme, _, rest = uri.rpartition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and (":" in user or scheme.lower().removeprefix("git+") in ("http", "https")):
        raise UsageError("--repository: got a URI with a user name or password, expected the public one",
                         hint="the provenance is published")
    if not uri.isprintable() or " " in uri or not _SCHEME.match(uri):
        raise UsageError(f"--repository: got {uri!r}, expected a URI such as https://github.com/myorg/shop")


async def _publish(built: Built, target: str, options: dict[str, Any]) -> None:
    http = command_http(settings())
    signer = await make_signer(http, options)
    async with registry_client(settings(), http) as client:
        ref = reference.parse(target, "--push")
        if ref.digest is not None:
            raise UsageError(f"--push: got {target!r}, expected a name and a tag; the digest is what is built")
        pushed = await push(open_layout(built.layout), ref, client, ref.tag, built.manifest)
        statement = intoto.statement(pushed.digest, PROVENANCE_V1, built.provenance.to_json(), name=ref.name)
        data, verified = await signer.sign(statement, pushed.digest)
        who = verified.signer
        if isinstance(who, KeylessSigner) and who.issuer == WORKLOADS["builder"] and (
                who.subject != built.provenance.builder_id):
            raise DeniedError(f"provenance: signed by {who.subject}, built by {built.provenance.builder_id}",
                              hint="trust token --workload builder --subject with the isolation that was used")
        await push_bundle(client, ref.at(pushed.digest), pushed, data, PROVENANCE_V1, system_clock())
        print(f"{ref.at(pushed.digest)}: provenance attested by {visible(str(verified.signer))}", file=sys.stderr)
