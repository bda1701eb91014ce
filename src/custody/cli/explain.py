"""`custody explain`: why was this request allowed, or denied?"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from custody.cli.check import lines
from custody.cli.run import settings
from custody.errors import UsageError
from custody.evidence.model import facts
from custody.kit import destination
from custody.kit.clock import format_rfc3339
from custody.kit.visible import visible
from custody.policy.kept import WithheldError, decision_of
from custody.policy.record import encode
from custody.ports.decisions import DecisionStore, KeptDecision
from custody.services.decisions import whole
from custody.wiring.local import decisions


@click.command("explain")
@click.argument("name", metavar="UID|DIGEST")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True,
              help="What stdout gets.")
@click.option("--record", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="Write each decision with its inputs, for `custody replay`.")
def command(name: str, output: str, folder: Path | None) -> None:
    """Why a request was answered as it was: rule by rule, with the evidence that was relied on.

    UID is that of the AdmissionRequest, as the API server's audit log and `custody decisions` have it; DIGEST is
    `inputs-digest` of its audit annotations, or the beginning of it.
    """
    with closing(decisions(settings())) as store:
        known = store.named(name)
        if not known:
            raise UsageError(f"{name}: no such decision is kept",
                             hint="`custody decisions` lists them; keep_decisions and max_decisions say how long")
        if folder is not None:
            destination.make_folder(folder, "--record")
            for kept in known:
                destination.write(folder / f"{kept.inputs_digest.replace(':', '-')}.json", encode(whole(store, kept)),
                                  "--record")
        if output == "json":
            click.echo(json.dumps([_data(store, kept) for kept in known], indent=2))
            return
        for kept in reversed(known):
            click.echo("\n".join(_words(store, kept)))


def _words(store: DecisionStore, kept: KeptDecision) -> list[str]:
    request, decision = decision_of(kept.body)
    who = f" by {request.user.username}" if request.user.username else ""
    head = [visible(f"{format_rfc3339(kept.at)}  {kept.course}: {request.operation}{who}, uid {kept.uid}"),
            *lines(decision, f"{request.kind.kind}/{request.namespace}/{request.name}")]
    relied = {digest for result in decision.results for digest in result.evidence}
    try:
        record = whole(store, kept)
    except WithheldError as error:
        return [*head, f"  {error.message}"]
    for image, about in record.evidence.items():
        head.append(visible(f"  evidence of {image}  {about.subject or ''}"))
        head += [visible(f"    {'✓' if item.evidence in relied else ' '} {item.kind} {item.predicate_type or ''} by "
                         f"{item.signer}, from {item.source}") for item in about.verified]
        head += [visible(f"    ✗ {item.state}: {item.reason}") for item in about.rejected]
    head += [visible(f"  looked up {question}: {type(answer).__name__.lower()}") for question, answer in record.answers]
    spoke = {(result.policy, result.rule) for result in decision.results}
    head += [visible(f"  silent: {rule.title}, {rule.reason}") for rule in decision.silent
             if (rule.policy, rule.rule) not in spoke]
    return head


def _data(store: DecisionStore, kept: KeptDecision) -> dict[str, object]:
    request, decision = decision_of(kept.body)
    plain = {"uid": kept.uid, "time": format_rfc3339(kept.at), "course": kept.course, "request": facts(request),
             "decision": facts(decision), "policies": kept.policies_digest}
    try:
        record = whole(store, kept)
    except WithheldError as error:
        return {**plain, "withheld": error.message}
    return {**plain, "evidence": {image: facts(about) for image, about in record.evidence.items()},
            "answers": [[facts(question), facts(answer)] for question, answer in record.answers]}
