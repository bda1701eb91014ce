"""`custody policy sign`: exceptions that count where the webhook wants them signed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from custody.cli.trust_options import message_signer
from custody.errors import UsageError
from custody.formats.yaml import dumped
from custody.policy.counting import is_exception, sign
from custody.policy.load import located, manifest_files, unwrapped


@click.command("sign")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE|DIR…")
@click.option("--key", required=True, metavar="FILE|NAME", help="Private key: cosign.key, PEM, or the name of a key "
              "that somebody keeps.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True,
              help="What stdout gets.")
def command(files: tuple[Path, ...], key: str, output: str) -> None:
    """Sign PolicyExceptions: name, namespace, spec, and when they end, why, and who approved.

    stdout gets them with the annotation policies.custody.internal/signature, to be applied. They count where the
    setting `exception_keys` names the public key. Whoever changes one must have it signed again.
    """
    signing = message_signer(key)
    assert signing is not None  # --key is required
    located_ = [pair for path in files for file in manifest_files(path) for pair in located(file)]
    documents, _ = unwrapped([document for _, document in located_], [where for where, _ in located_])
    signed: list[dict[str, Any]] = []
    for where, document in documents:
        if not is_exception(document):
            raise UsageError(f"{where}: got {document.get('kind') if isinstance(document, dict) else 'no map'}, "
                             "expected a PolicyException")
        signed.append(sign(document, signing))
    if not signed:
        raise UsageError(f"{', '.join(map(str, files))}: no exceptions")
    if output == "yaml":
        click.echo("---\n".join(map(dumped, signed)), nl=False)
    else:
        click.echo(json.dumps(signed, indent=2))
