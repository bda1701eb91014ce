"""`custody policy import`: image policies of other controllers as policies of policies.kyverno.io that say the same."""

from __future__ import annotations

from pathlib import Path

import click

from custody.cli.policy_files import PolicyFiles
from custody.cli.policy_migrate import say, say_refused, say_unread
from custody.errors import CustodyError
from custody.kit.amount import amount
from custody.policy.imports.translation import translate
from custody.policy.load import gathered, unwrapped


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="One file for each policy that is made; stdout otherwise.")
def command(files: tuple[Path, ...], folder: Path | None) -> int:
    """Say ClusterImagePolicies and Connaisseur's configuration as ImageValidatingPolicies.

    Both are asked about images that are signed in every way that the policy speaks of, and in ways that are almost
    right; only where they say the same of all of them is anything written. stdout or DIR gets the policies, stderr each
    document with what was tried, or what stands in its way. Exit code 1 where one stays behind, or a file of a folder
    cannot be read.
    """
    output = PolicyFiles(folder)
    amiss: list[CustodyError] = []
    documents = unwrapped(*gathered(files, amiss.append))[0]
    say_unread(amiss)
    behind = len(amiss)
    names: set[str] = set()
    for where, document in documents:
        try:
            made = translate(document)
        except CustodyError as error:
            say_refused(where, error)
            behind += 1
            continue
        if made.refused is not None or made.trial is None:
            behind += 1
            if made.refused is not None:
                say(f"✗ {made.name}: {made.refused.message}", made.refused.hint)
            continue
        if twice := names & (own := {document["metadata"]["name"] for document in made.documents}):
            behind += 1  # in a cluster one would replace the other
            say(f"✗ {made.name}: metadata.name: got {min(twice)!r}, which another document became already", None)
            continue
        names |= own
        say(f"✓ {made.name}: both say the same of {amount(made.trial.asked, 'request')}, {made.trial.denied} of "
            "them denied", None)
        output.add(made.documents)
    output.write()
    if behind:
        raise CustodyError(f"{behind} {'document stays' if behind == 1 else 'documents stay'} behind")
    return 0
