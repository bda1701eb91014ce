"""`custody policy migrate`: policies of kyverno.io and Gatekeeper's constraints as others that say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from custody import wiring
from custody.cli import kinds
from custody.cli.policy_equivalent import objects, standing_of
from custody.cli.policy_files import PolicyFiles
from custody.cli.policy_tried import agreement
from custody.cli.run import settings
from custody.errors import CustodyError, UnsupportedError
from custody.formats.kubernetes.schema import Schemas
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.policy.load import gathered, unwrapped
from custody.policy.migrate.excepting import exception
from custody.policy.migrate.gatekeeper import TARGETS, Constraints, is_gatekeepers
from custody.policy.migrate.outcome import Names, named
from custody.policy.migrate.rules import SAMPLES, Migrated, migrate

_REQUESTS = 5
"""Of a constraint, for each object of a rule: they are made of the kinds' schemas, and need more to meet it."""


@click.command("migrate")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-r", "--resource", "resources", multiple=True, type=click.Path(exists=True, path_type=Path),
              metavar="FILE|DIR", help="Objects that both are asked about, too.")
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="One file for each policy that is made; stdout otherwise.")
@click.option("--samples", type=click.IntRange(1, 100_000), default=SAMPLES, show_default=True,
              help="Objects of each kind that are made up; of constraints, five times as many requests.")
@click.option("--to", "target", type=click.Choice(TARGETS), help="What constraints become, and the only kind that is "
              "made of rules; by default a ValidatingPolicy, and whatever a rule needs.")
@kinds.options
def command(files: tuple[Path, ...], resources: tuple[Path, ...], folder: Path | None, samples: int,
            target: str | None, crds: tuple[str, ...], kubeconfig: Path | None) -> int:
    """Say policies of kyverno.io, and Gatekeeper's constraints, as those of policies.kyverno.io that do the same.

    Rules become ValidatingPolicies, MutatingPolicies, GeneratingPolicies and ImageValidatingPolicies; cleanup policies
    and exceptions their own; constraints of templates in CEL a ValidatingPolicy each. stdout or DIR gets them, stderr
    each rule with what was tried, or what stands in its way. Exit code 1 where one stays behind, or a file of a folder
    cannot be read.
    """
    output = PolicyFiles(folder)
    given = objects(resources)
    amiss: list[CustodyError] = []
    policies, definitions = unwrapped(*gathered(files, amiss.append))
    say_unread(amiss)
    known = wiring.kinds(settings(), crds, kubeconfig).with_crds(
        [crd for _, crd in definitions], [where for where, _ in definitions])
    behind = Counter({"file": len(amiss)})
    done: list[tuple[dict[str, Any], list[Migrated]]] = []
    names = Names()
    constraints = Constraints(policies, known, standing_of(known), given=given, schemas=[
        Schemas.of_crd(crd, where) for where, crd in definitions])
    for constraint in constraints.migrated(target or TARGETS[0], samples * _REQUESTS):
        constraint = names.unlike(constraint)
        behind["Gatekeeper document"] += constraint.refused is not None
        _report(constraint)
        if constraint.refused is None:
            output.add(constraint.documents)
    rules = [pair for pair in policies if not is_gatekeepers(pair[1])]
    for where, document in sorted(rules, key=lambda pair: _excepts(pair[1])):  # which need to know the others
        try:
            if _excepts(document):
                made = [names.unlike(exception(document, done, known, samples))]
            else:
                made = [names.unlike(_only(rule, target)) for rule in migrate(document, known, given, samples)]
                done.append((document, made))
        except CustodyError as error:
            say_refused(where, error)
            behind["document"] += 1
            continue
        for rule in made:
            behind["exception" if _excepts(document) else "rule"] += rule.refused is not None
            _report(rule)
            if rule.refused is None:
                output.add(rule.documents, _header(where, files))
    output.write()
    if total := behind.total():
        counted = " and ".join(amount(count, kind) for kind, count in behind.items() if count)
        raise CustodyError(f"{counted} {'stays' if total == 1 else 'stay'} behind")
    return 0


def _only(rule: Migrated, target: str | None) -> Migrated:
    """The rule, refused where it becomes another kind than the one that was asked for."""
    kinds_made = {str(document["kind"]).removeprefix("Namespaced") for document in rule.documents}
    if target is None or rule.refused is not None or kinds_made <= {target}:
        return rule
    hint = "custody policy vap makes one of a ValidatingPolicy" if target == TARGETS[1] else None
    return rule._replace(documents=[], refused=UnsupportedError(
        "--to", f"it becomes a {min(kinds_made - {target})}, and no {target}", hint=hint))


def _excepts(document: Any) -> bool:
    return isinstance(document, dict) and document.get("kind") == "PolicyException" and str(
        document.get("apiVersion")).startswith("kyverno.io/")


def _header(where: str, files: tuple[Path, ...]) -> str:
    """The comments that the file begins with in which a policy stands."""
    folders = [file for given in files for file in ([given] if given.is_file() else sorted(given.rglob("*")))]
    file = next((file for file in folders if where == str(file) or where.startswith((f"{file}.", f"{file}["))), None)
    if file is None or file.suffix.lower() == ".json":
        return ""
    lines = []
    for line in file.read_text("utf-8-sig", errors="replace").splitlines():  # a byte order mark is no comment
        if not line.startswith("#"):
            break
        lines.append(f"{line}\n")
    return "".join(lines)


def _report(rule: Migrated) -> None:
    name = named(rule)
    if rule.refused is not None:
        say(f"✗ {name}: {rule.refused.message}", rule.refused.hint)
        if rule.difference is not None:
            say(f"    before: {rule.difference.messages[0]}", f"after: {rule.difference.messages[1]}")
        return
    names = ", ".join(str(document["metadata"]["name"]) for document in rule.documents)
    said = agreement(rule.asked, rule.judged, rule.denied, rule.counted, rule.untried)
    say(f"✓ {name}: {names or 'none of its own'}; {said}", None)


def say(line: str, hint: str | None) -> None:
    """For people, on stderr."""
    click.echo(visible(line), err=True)
    if hint:
        click.echo(visible(f"    {hint}"), err=True)


def say_refused(where: str, error: CustodyError) -> None:
    """Of a document that does not load: it is compiled alone, so that its place among others says nothing."""
    say(f"✗ {where}: {error.message.removeprefix('policies[0]: ')}", error.hint)


def say_unread(amiss: Sequence[CustodyError]) -> None:
    """Of files that were left out, whose messages begin with their names."""
    for error in amiss:
        say(f"✗ {error.message}", error.hint)
