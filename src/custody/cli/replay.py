"""`custody replay`: why was it denied on Tuesday? The recorded question, decided again."""

from __future__ import annotations

from pathlib import Path

import click

from custody.cli import kinds
from custody.cli.check import lines
from custody.cli.run import settings
from custody.errors import DeniedError, NotJudgedError, UsageError
from custody.policy.model import Verdict
from custody.policy.record import replay


@click.command("replay")
@click.argument("records", nargs=-1, required=True, metavar="RECORD…")
@click.option("--policy", "policies", multiple=True, metavar="FILE|DIR",
              help="Decide by these instead: what would change?")
def command(records: tuple[str, ...], policies: tuple[str, ...]) -> None:
    """Decide recorded requests again, without a network. Exit 3 where one is denied, 4 where one is not judged."""
    instead = kinds.load(settings(), policies, (), None) if policies else None
    verdicts: list[Verdict] = []
    for name in records:
        try:
            decision = replay(Path(name).read_bytes(), instead)
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}") from None
        click.echo("\n".join(lines(decision, name)))
        verdicts.append(decision.verdict)
    if denied := verdicts.count(Verdict.DENIED):
        raise DeniedError(f"{denied} of {len(records)} denied")
    if unjudged := verdicts.count(Verdict.NOT_JUDGED):
        raise NotJudgedError(f"{unjudged} of {len(records)} not judged: no rule speaks of it")
