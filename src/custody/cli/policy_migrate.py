"""`custody policy migrate`: policies of kyverno.io and Gatekeeper's constraints as others that say the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from custody import wiring
from custody.cli import kinds
from custody.cli.policy_equivalent import standing_of
from custody.cli.run import settings
from custody.errors import CustodyError, MalformedError, UnsupportedError, UsageError
from custody.formats import yaml
from custody.formats.kubernetes.schema import Schemas
from custody.kit.amount import amount
from custody.kit.visible import visible
from custody.policy.load import gathered, unwrapped
from custody.policy.migrate.excepting import exception
from custody.policy.migrate.gatekeeper import TARGETS, Constraints, is_gatekeepers
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
    amiss: list[CustodyError] = []
    policies, definitions = unwrapped(*gathered(files, amiss.append))
    say_unread(amiss)
    known = wiring.kinds(settings(), crds, kubeconfig).with_crds(
        [crd for _, crd in definitions], [where for where, _ in definitions])
    given = [document for document in gathered(resources)[0] if isinstance(document, dict)] if resources else []
    behind = len(amiss)
    written: set[Path] = set()
    done: list[tuple[dict[str, Any], list[Migrated]]] = []
    names: dict[tuple[str, ...], str] = {}
    constraints = Constraints(policies, known, standing_of(known), given=given, schemas=[
        Schemas.of_crd(crd, where) for where, crd in definitions])
    for constraint in constraints.migrated(target or TARGETS[0], samples * _REQUESTS):
        constraint = _unlike(constraint, names)
        behind += constraint.refused is not None
        _report(constraint)
        if constraint.refused is None:
            write(constraint.documents, folder, "", written)
    rules = [pair for pair in policies if not is_gatekeepers(pair[1])]
    for where, document in sorted(rules, key=lambda pair: _excepts(pair[1])):  # which need to know the others
        try:
            if _excepts(document):
                made = [_unlike(exception(document, done, known, samples), names)]
            else:
                made = [_unlike(_only(rule, target), names) for rule in migrate(document, known, given, samples)]
                done.append((document, made))
        except CustodyError as error:
            say_refused(where, error)
            behind += 1
            continue
        for rule in made:
            behind += rule.refused is not None
            _report(rule)
            if rule.refused is None:
                write(rule.documents, folder, _header(where, files), written)
    if behind:
        raise CustodyError(f"{behind} {'rule stays' if behind == 1 else 'rules stay'} behind")
    return 0


def _unlike(rule: Migrated, names: dict[tuple[str, ...], str]) -> Migrated:
    """The rule, refused where another one has become a policy of the same name, which it would replace in a cluster."""
    places = {(str(document["kind"]), str(document["metadata"].get("namespace") or ""),
               str(document["metadata"]["name"])) for document in rule.documents if rule.refused is None}
    for place in sorted(places & names.keys()):
        return rule._replace(documents=[], refused=MalformedError(
            "metadata.name", got=place[2], expected=f"another name: {names[place]} becomes this {place[0]}"))
    names |= dict.fromkeys(places, _named(rule))
    return rule


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
    for line in file.read_text(errors="replace").splitlines():
        if not line.startswith("#"):
            break
        lines.append(f"{line}\n")
    return "".join(lines)


def _report(rule: Migrated) -> None:
    name = _named(rule)
    if rule.refused is not None:
        say(f"✗ {name}: {rule.refused.message}", rule.refused.hint)
        if rule.difference is not None:
            say(f"    before: {rule.difference.messages[0]}", f"after: {rule.difference.messages[1]}")
        return
    names = ", ".join(str(document["metadata"]["name"]) for document in rule.documents)
    say(f"✓ {name}: {names}; both say the same of {amount(rule.asked, 'request')}, {rule.denied} of them "
         f"{rule.counted}", None)


def _named(rule: Migrated) -> str:
    return f"{rule.policy}/{rule.rule}" if rule.policy != rule.rule else rule.policy


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


def write(documents: Any, folder: Path | None, header: str, written: set[Path]) -> None:
    """A file for each policy, or all of them on stdout; `written` are those of this call. Raises UsageError."""
    for document in documents:
        text = header + yaml.dumped(document)
        if folder is None:
            click.echo(f"---\n{text.rstrip()}")
            continue
        metadata = document["metadata"]
        name = "-".join(filter(None, (metadata.get("namespace"), metadata["name"]))).replace("/", "-")
        file = folder / f"{name}.yaml"
        if file in written:
            raise UsageError(f"{file}: got a second policy of that name, expected each once",
                             hint="give the two to a call each, with folders of their own")
        written.add(file)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
