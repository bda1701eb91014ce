"""`custody policy migrate`: policies of kyverno.io as policies of policies.kyverno.io that say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from custody import wiring
from custody.cli import kinds
from custody.cli.run import settings
from custody.errors import CustodyError, UsageError
from custody.formats import yaml
from custody.kit.visible import visible
from custody.policy.load import gathered, unwrapped
from custody.policy.migrate.rules import SAMPLES, Migrated, migrate


@click.command("migrate")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-r", "--resource", "resources", multiple=True, type=click.Path(exists=True, path_type=Path),
              metavar="FILE|DIR", help="Objects that both are asked about, too.")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="One file for each policy that is made; stdout otherwise.")
@click.option("--samples", type=click.IntRange(1, 100_000), default=SAMPLES, show_default=True,
              help="Objects of each kind that are made up.")
@kinds.options
def command(files: tuple[Path, ...], resources: tuple[Path, ...], folder: Path | None, samples: int,
            crds: tuple[str, ...], kubeconfig: Path | None) -> int:
    """Say ClusterPolicies as ValidatingPolicies, where both say the same of every request that is tried.

    stdout or DIR gets the policies, stderr each rule with what was tried, or what stands in its way. Exit code 1 where
    a rule stays behind.
    """
    policies, definitions = unwrapped(*gathered(files))
    known = wiring.kinds(settings(), crds, kubeconfig).with_crds(
        [crd for _, crd in definitions], [where for where, _ in definitions])
    given = [document for document in gathered(resources)[0] if isinstance(document, dict)] if resources else []
    behind = 0
    for where, document in policies:
        try:
            made = migrate(document, known, given, samples)
        except CustodyError as error:
            _say(f"✗ {where}: {error.message}", error.hint)
            behind += 1
            continue
        for rule in made:
            behind += rule.refused is not None
            _report(rule)
            if rule.refused is None:
                _write(rule.documents, folder)
    if behind:
        raise CustodyError(f"{behind} {'rule stays' if behind == 1 else 'rules stay'} behind")
    return 0


def _report(rule: Migrated) -> None:
    name = f"{rule.policy}/{rule.rule}"
    if rule.refused is not None:
        _say(f"✗ {name}: {rule.refused.message}", rule.refused.hint)
        if rule.difference is not None:
            _say(f"    before: {rule.difference.messages[0]}", f"after: {rule.difference.messages[1]}")
        return
    names = ", ".join(str(document["metadata"]["name"]) for document in rule.documents)
    _say(f"✓ {name}: {names}; both say the same of {rule.asked} requests, {rule.denied} of them against", None)


def _say(line: str, hint: str | None) -> None:
    click.echo(visible(line), err=True)
    if hint:
        click.echo(visible(f"    {hint}"), err=True)


def _write(documents: Any, folder: Path | None) -> None:
    for document in documents:
        text = yaml.dumped(document)
        if folder is None:
            click.echo(f"---\n{text.rstrip()}")
            continue
        metadata = document["metadata"]
        name = "-".join(filter(None, (metadata.get("namespace"), metadata["name"]))).replace("/", "-")
        file = folder / f"{name}.yaml"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
