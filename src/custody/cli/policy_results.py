"""What `policy apply` writes: objects, failures, tables, reports, exceptions."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from custody import __version__
from custody.cli.grid import grid
from custody.errors import UsageError
from custody.formats import sarif, yaml
from custody.formats.policyreport import Result
from custody.kit.visible import visible
from custody.policy.model import Outcome
from custody.services.simulation.applying import Applied, named
from custody.services.simulation.documents import kind_of, name_of, namespace_of
from custody.services.simulation.policies import reason
from custody.services.simulation.reporting import Counts, reports, result
from custody.services.simulation.trial import Response, Type, outcome

_APART = ("table", "junit", "markdown", "sarif")
_RULE = "-" * 70
_TAG = re.compile(r":.*|@.*")


def apart(options: dict[str, Any]) -> bool:
    """Whether stdout gets one document and nothing else."""
    return options["output_format"] in _APART[1:]


def objects(applied: Applied, options: dict[str, Any]) -> None:
    """Objects as policies change and make them: to stdout, or to files of their own."""
    written: str | None = options["written"]
    quiet = options["report"] or options["excepting"] or apart(options)
    place = Path(written) if written else None
    folder = place is not None and place.suffix not in (".yaml", ".yml")
    if place is not None:
        try:
            (place if folder else place.parent).mkdir(parents=True, exist_ok=True)
            if not folder:
                place.write_text("")
        except OSError as error:
            raise UsageError(f"--output {place}: {error.strerror}") from None
    fresh: set[Path] = set()
    for response in applied.responses:
        mutates = any(said.type is Type.MUTATION for said in response.rules) if response.rules else (
            response.tried.kind in ("ClusterPolicy", "Policy") and response.tried.writes("mutate"))
        if not (mutates or any(said.changes for said in response.rules)):
            continue
        made = [document for said in response.rules for document in said.generated]
        targets = [document for said in response.rules for document in said.targets]
        for document, generated in ([(response.patched, False)] if mutates else []) + [(it, True) for it in made]:
            texts = [yaml.dumped(document), *map(yaml.dumped, () if generated else targets)]
            if place is not None:
                name = f"{response.tried.name}-generated" if generated else f"{name_of(response.resource)}-mutated"
                _append(place / f"{name}.yaml" if folder else place, texts, fresh, folder=folder)
            elif not quiet:
                _print(response, texts, generated=generated, piped=options["piped"])


def _append(file: Path, texts: Sequence[str], fresh: set[Path], *, folder: bool) -> None:
    if folder and file not in fresh and file.resolve().parent != file.parent.resolve():
        raise UsageError(f"--output: {visible(file.name)} would not be in {file.parent}")
    mode = "a" if not folder or file in fresh else "w"
    fresh.add(file)
    with file.open(mode) as stream:
        stream.write("".join(f"{text}\n---\n\n" for text in texts))


def _print(response: Response, texts: Sequence[str], *, generated: bool, piped: bool) -> None:
    if not piped:
        click.echo(f"\npolicy {visible(response.tried.name)} applied to {visible(named(response.resource))}:", nl=False)
    click.echo(f"\n{texts[0]}\n---")
    if len(texts) > 1:
        click.echo("patched targets: \n\n" + "\n".join(f"{text}\n---\n" for text in texts[1:]))
    if not piped:
        done = ("Generate:\nGeneration completed successfully." if generated
                else "Mutation:\nMutation has been applied successfully.")
        click.echo(f"\n\n{done}", nl=False)


def refusals(applied: Applied) -> None:
    """To stderr: policies that were not applied, and why not."""
    if applied.refused:
        lines = [f"{at}. {refused.name or refused.where}: {reason(refused.error, refused.where)}"
                 for at, refused in enumerate(applied.refused, 1)]
        print("\n".join([_RULE, "Policies Skipped:", *map(visible, lines), _RULE]), file=sys.stderr)


def said(applied: Applied, counts: Counts, options: dict[str, Any], now: datetime) -> None:
    """What stdout gets beside objects."""
    audit_warn, form = options["audit_warn"], options["output_format"]
    if form in ("junit", "markdown", "sarif"):
        _apart(applied, form, audit_warn=audit_warn, detailed=options["detailed"], now=now)
    elif options["report"]:
        for at, document in enumerate(reports(applied.responses, now, audit_warn=audit_warn)):
            click.echo(("---\n" if at else "") + _written(document, form))
    elif options["excepting"]:
        for document in _exceptions(applied, options["ttl"], now, audit_warn=audit_warn):
            click.echo(f"---\n{_written(document, form)}")
    elif options["table"] or form == "table":
        titles, rows = _table(applied, audit_warn=audit_warn, detailed=options["detailed"])
        click.echo(grid(titles, rows))
    else:
        for response in applied.responses:
            _failures(response, audit_warn=audit_warn)
        if not options["piped"]:
            click.echo(f"\n{counts.line} ")


def _written(document: dict[str, Any], form: str) -> str:
    return msgspec.json.encode(document).decode() if form == "json" else yaml.dumped(msgspec.to_builtins(document))


def _failures(response: Response, *, audit_warn: bool) -> None:
    resource = visible(named(response.resource))
    name = visible(response.tried.name)
    failed = [rule for rule in response.rules if rule.result.outcome is Outcome.FAIL]
    for rule in response.rules:
        message = visible(rule.result.message)
        if rule.type is Type.MUTATION and rule.result.outcome is Outcome.SKIP:
            click.echo(f"\nskipped mutate policy {name} -> resource {resource}")
        elif rule.type is Type.MUTATION and rule.result.outcome is Outcome.ERROR:
            click.echo(f"\nerror while applying mutate policy {name} -> resource {resource} \nerror:  {message}")
        elif rule.type is Type.GENERATION and rule.result.outcome is Outcome.ERROR:
            click.echo(f"\nerror while applying generate policy {name} -> resource {resource} \nerror: {message}")
        elif rule.result.outcome is Outcome.ERROR:  # the Kyverno CLI only counts these
            click.echo(f"policy {name} -> resource {resource} error: \n{rule.result.rule} {message}")
    if failed:
        warned = audit_warn and not failed[0].result.enforce
        click.echo(f"policy {name} -> resource {resource} failed{' as audit warning' if warned else ''}:")
        for at, rule in enumerate(failed, 1):
            click.echo(f"{at} - {visible(rule.result.rule)} {visible(rule.result.message or 'validation failed')}")


def _table(applied: Applied, *, audit_warn: bool, detailed: bool) -> tuple[list[str], list[list[str]]]:
    titles = ["ID", "POLICY", "RULE", "RESOURCE", "RESULT", "REASON", *(["MESSAGE"] if detailed else [])]
    rows: list[list[str]] = []
    for response in applied.responses:
        kind, namespace = kind_of(response.resource).kind, namespace_of(response.resource)
        resource = "/".join([*([namespace] if namespace else []), kind, name_of(response.resource)])
        classic = response.tried.kind in ("ClusterPolicy", "Policy")
        for rule in response.rules:
            row = [str(len(rows) + 1), response.tried.key, rule.result.rule if classic else "", resource,
                   outcome(rule.result, response.tried, audit_warn=audit_warn).capitalize(), ""]
            rows.append([*row, rule.result.message] if detailed else row)
    return titles, rows


def _results(applied: Applied, now: datetime, *, audit_warn: bool) -> Iterator[Result]:
    for response in applied.responses:
        for rule in response.rules:
            yield result(response, rule, now, audit_warn=audit_warn)


def _apart(applied: Applied, form: str, *, audit_warn: bool, detailed: bool, now: datetime) -> None:
    if form == "markdown":
        titles, rows = _table(applied, audit_warn=audit_warn, detailed=detailed)
        click.echo("\n".join([f"| {' | '.join(titles)} |", "|" + "----|" * len(titles), *(
            f"| {' | '.join(visible(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]))
        return
    results = [*_results(applied, now, audit_warn=audit_warn)]
    if form == "sarif":
        click.echo(json.dumps(sarif.document(results, "custody", __version__), indent=2, ensure_ascii=False))
        return
    from custody.formats import junit

    suites: dict[str, list[junit.Case]] = {}
    for made in results:
        name = "/".join(filter(None, (made.subjects[0].api_version, made.subjects[0].kind, made.subjects[0].namespace,
                                      made.subjects[0].name)))
        failure = made.result if made.result in ("fail", "error") else None
        suites.setdefault(made.policy, []).append(
            junit.Case(made.rule, name, failure, f"{made.result}: {made.message}"))
    click.echo(junit.document([*suites.items()]))


def _exceptions(applied: Applied, ttl: timedelta, now: datetime, *, audit_warn: bool) -> Iterator[dict[str, Any]]:
    """A kyverno.io/v2beta1 PolicyException for each failure, with the pods of what failed."""
    for response in applied.responses:
        if response.tried.namespace:
            continue
        for rule in response.rules:
            made = result(response, rule, now, audit_warn=audit_warn)
            if made.result != "fail":
                continue
            subject = made.subjects[0]
            kinds, names, rules = [subject.kind], [subject.name], [made.rule]
            if made.rule.startswith("autogen-"):
                if subject.kind == "CronJob":
                    kinds.append("Job")
                    rules.append(made.rule.replace("autogen-cronjob-", "autogen-"))
                kinds.append("Pod")
                rules.append(made.rule.removeprefix("autogen-cronjob-").removeprefix("autogen-"))
                names.append(f"{subject.name}-*")
            chosen: dict[str, Any] = {"kinds": kinds, "names": names, "namespaces": [subject.namespace]}
            spec: dict[str, Any] = {"exceptions": [{"policyName": made.policy, "ruleNames": rules}],
                                    "match": {"all": [{"resources": chosen}]}}
            if controls := made.properties.get("controlsJSON"):
                spec["podSecurity"] = [_control(control) for control in json.loads(controls)]
            metadata: dict[str, Any] = {"name": "-".join((made.policy, made.rule, subject.namespace, subject.name))}
            if ttl:
                metadata["labels"] = {"cleanup.kyverno.io/ttl": _go(ttl)}
            yield {"apiVersion": "kyverno.io/v2beta1", "kind": "PolicyException", "metadata": metadata, "spec": spec}


def _control(control: dict[str, Any]) -> dict[str, Any]:
    images = [_TAG.sub("*", image) for image in control.get("Images") or ()]
    return {"controlName": control.get("Name", ""), **({"images": images} if images else {})}


def _go(duration: timedelta) -> str:
    """As Go writes a duration of whole seconds."""
    hours, rest = divmod(int(duration.total_seconds()), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
