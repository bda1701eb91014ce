"""`custody policy equivalent`: an object on which two policies differ, of whatever engines they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from custody import wiring
from custody.cli import kinds
from custody.cli.bars import progress
from custody.cli.policy_tried import not_tried
from custody.cli.run import settings
from custody.errors import MalformedError, UsageError
from custody.formats import yaml
from custody.formats.kubernetes.schema import Schemas
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.policy.equivalent.search import Difference, Search
from custody.policy.equivalent.words import Words
from custody.policy.kinds import Kinds
from custody.policy.load import PolicySet, gathered, unwrapped
from custody.services.simulation.standing import Standing
from policylang.errors import Shape

SAMPLES = 3000
_OPERATIONS = ("CREATE", "UPDATE", "DELETE")


@click.command("equivalent")
@click.argument("first", type=click.Path(exists=True, path_type=Path))
@click.argument("second", type=click.Path(exists=True, path_type=Path))
@click.option("-r", "--resource", "resources", multiple=True, type=click.Path(exists=True, path_type=Path),
              metavar="FILE|DIR", help="Objects to begin with.")
@click.option("-n", "--samples", type=click.IntRange(1, 1_000_000), default=SAMPLES, show_default=True,
              help="Requests that are tried.")
@click.option("--operation", "operations", multiple=True, type=click.Choice(_OPERATIONS), help="Of requests; all by "
              "default.")
@click.option("--seed", type=int, default=0, show_default=True, help="Other ones are made up with another.")
@kinds.options
def command(first: Path, second: Path, resources: tuple[Path, ...], samples: int, operations: tuple[str, ...],
            seed: int, crds: tuple[str, ...], kubeconfig: Path | None) -> int:
    """Search for a request that FIRST and SECOND, files or folders of policies of any engines, answer differently.

    stdout gets the smallest one that was found, and both verdicts: exit code 1. Exit code 0 says that none was found,
    and never that there is none; 2, that the two cannot be compared, as where no request was judged by one of them.
    """
    left, left_crds = _documents(first)
    right, right_crds = _documents(second)
    definitions = [*left_crds, *right_crds]
    known = wiring.kinds(settings(), crds, kubeconfig).with_crds(
        [crd for _, crd in definitions], [where for where, _ in definitions])
    given = objects(resources)
    search = searching(left, right, known, given, operations or _OPERATIONS, seed,
                       [Schemas.of_crd(crd, where) for where, crd in definitions])
    with progress("asking both"):
        made = search.run(samples)
    if made.difference is not None:
        click.echo(shown(made.difference, (str(first), str(second))))
        return 1
    for name, judged in zip((first, second), made.judged, strict=True):
        if not judged:
            raise UsageError(f"{name}: none of {made.asked} requests was judged by it, and nothing is known",
                             hint="--resource FILE with an object that it judges, or a higher --samples")
    click.echo(f"no difference found in {made.asked} requests: {first} was against {made.against[0]} of "
               f"{made.judged[0]} that it judged, {second} against {made.against[1]} of {made.judged[1]}"
               + not_tried(made.untried))
    if made.failed:
        print(visible(f"warning: {amount(made.failed, 'request')} could not be judged, such as {made.failure}"),
              file=sys.stderr)
    if not any(made.against):
        print("warning: neither was against any of them: they say the same of what both pass", file=sys.stderr)
    return 0


def searching(left: list[Any], right: list[Any], known: Kinds, given: list[Any], operations: tuple[str, ...],
              seed: int = 0, schemas: list[Schemas] | None = None) -> Search:
    """Raises MalformedError, UnsupportedError."""
    standing = standing_of(known)(Words([*left, *right]), [*left, *right, *given])
    return Search(PolicySet(left, kinds=known), PolicySet(right, kinds=known), known, standing, operations=operations,
                  samples=given, seed=seed, schemas=schemas or ())


def standing_of(known: Kinds) -> Callable[[Words, Sequence[Any]], Standing]:
    """What policies look up that speak of some words, where some documents are all that stands in a cluster."""
    return lambda words, documents: Standing(
        [document for document in documents if isinstance(document, dict)], known,
        dict([*words.labels.items()][:40]), words.texts[:40])


def objects(resources: Sequence[Path]) -> list[Any]:
    """Objects to begin with, Lists taken apart. Raises UsageError, MalformedError."""
    if not resources:
        return []
    given = [entry for part in unwrapped(*gathered(resources)) for entry in part]
    for where, document in given:
        if not isinstance(document, dict):
            raise MalformedError(where, got=Shape(document), expected="an object of Kubernetes")
        if not isinstance(document.get("kind"), str) or not isinstance(document.get("apiVersion"), str):
            raise MalformedError(where, got="no kind and apiVersion", expected="an object of Kubernetes")
        if not isinstance(document.get("metadata") or {}, dict):
            raise MalformedError(f"{where}: metadata", got=Shape(document["metadata"]), expected="a mapping")
    return [document for _, document in given]


def _documents(path: Path) -> tuple[list[Any], list[tuple[str, Any]]]:
    documents, definitions = unwrapped(*gathered([path]))
    return [document for _, document in documents], definitions


def shown(difference: Difference, names: tuple[str, str]) -> str:
    """The request as YAML, and what each says of it in comments."""
    request = difference.request
    lines = [visible(f"# {name}: {verdict}") for name, verdict in zip(names, difference.verdicts, strict=True)]
    where = f" in namespace {request.namespace}" if request.namespace else ""
    part = f"/{request.subresource}" if request.subresource else ""
    lines.append(visible(f"# {request.operation} of {request.kind.kind}{part}{where}, by {request.user.username}"))
    parts = []
    if request.operation == "UPDATE" and request.old_object is not None:
        parts.append("# before\n" + yaml.dumped(request.old_object))
    parts.append(yaml.dumped(request.object if request.object is not None else request.old_object))
    return "\n".join([*lines, "---\n".join(parts).rstrip("\n")])


