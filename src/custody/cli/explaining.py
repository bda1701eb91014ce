"""`--explain` of the verifying commands: every step of every signature that is there, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec

from custody.cli.trust_options import stated
from custody.errors import CustodyError, MissingEvidenceError, UsageError
from custody.evidence.model import Rejected, Verified
from custody.formats.reference import Reference
from custody.kit.visible import visible
from custody.ports.http import Http
from custody.registry.client import RegistryClient
from custody.services.telling import Document, Telling
from custody.settings import Settings
from custody.sign.steps import SILENT, Step, StepResult, Taken, Trace
from custody.wiring import notary_trust

if TYPE_CHECKING:
    from custody.cli.blob_options import Presented
    from custody.services.notaryevidence import NotaryTrust

_MARKS = {StepResult.PASSED: "ok", StepResult.FAILED: "FAILED", StepResult.LOGGED: "logged",
          StepResult.NOT_ASKED: "not asked for", StepResult.NOT_REACHED: "not reached"}
_ASIDE = "it is judged by the trust policy of the setting `notation`, and a key or an identity was asked for here"

explain_option = click.option("--explain", is_flag=True, help="Instead of the result, stdout gets every check of every "
                              "signature that is there, also of those that do not count: text, or JSON with -o json.")

output_option = click.option("-o", "--output", type=click.Choice(["json", "text"]), default="text", show_default=True,
                             help="With --explain: what stdout gets.")


class Explaining:
    """Prints what was told. Whether it is JSON depends on an `-o json` that somebody typed."""

    def __init__(self, output: str) -> None:
        self._json = output == "json" and stated(("output",)) is not None

    def show(self, name: str, telling: Telling, refusal: CustodyError | None) -> None:
        """One artifact: `refusal` is how the command ends for it."""
        documents = telling.close()
        if self._json:
            print(json.dumps({"artifact": name, "verdict": _verdict(refusal), "reason": refusal.message if refusal
                              else None, "documents": [document.to_json() for document in documents]}))
            return
        print(visible(name))
        for document in documents:
            _print(document)
        counting = sum(document.counts for document in documents)
        print(f"  {_verdict(refusal)}: {counting} of {len(documents)} found count{'s' if counting == 1 else ''}")


def _verdict(refusal: CustodyError | None) -> str:
    """`missing` where nothing was found, `refused` where nothing of it counts."""
    if refusal is None:
        return "verified"
    return "missing" if isinstance(refusal, MissingEvidenceError) else "refused"


def _print(document: Document) -> None:
    kind = f" ({visible(document.media_type)})" if document.media_type else ""
    print(f"  {visible(document.source)}{kind}: {visible(_end(document))}")
    for entry in document.trace.taken:
        print(f"    {_MARKS[entry.result]:<13} {entry.step:<14} {visible(_words(entry))}".rstrip())


def _words(entry: Taken) -> str:
    return f"{entry.detail} [{entry.code}]" if entry.code else entry.detail


def _end(document: Document) -> str:
    if document.counts:
        return f"counts, signed by {document.signer}"
    failure = document.trace.failure
    if failure is not None:
        return f"does not count: {failure.code}"
    return f"does not count: {document.aside}" if document.aside else "not looked at"


async def tell_notation(telling: Telling, settings: Settings, http: Http, client: RegistryClient, ref: Reference
                        ) -> None:
    """Signatures of the Notary Project beside an image, by the trust policy of the settings. None of them counts for
    who asks for a key or an identity; what cannot be had stays what was not looked at. `http` asks who was revoked.
    """
    try:
        trust = notary_trust(settings, http)
        if trust is not None:
            await _notation(telling, trust, client, ref)
    except CustodyError as error:
        telling.passed_over("signatures of the Notary Project", error.message)


async def _notation(telling: Telling, trust: NotaryTrust, client: RegistryClient, ref: Reference) -> None:
    from custody.sign.listing import Limits, fetch_document, list_notary

    reading = await trust.read()
    listing, subject = await list_notary(client, ref), await client.resolve(ref)
    for listed in listing.documents:
        evidence = await fetch_document(client, str(ref.digest), listed, Limits())
        if isinstance(evidence, Rejected):
            telling.unread(evidence)
            continue
        trace = telling.open(evidence.source, evidence.data, evidence.media_type, notary=True)
        judged = await reading.judge(client, ref, subject, evidence, trace)
        telling.closed(evidence.source, str(judged.signer) if isinstance(judged, Verified) else None, _ASIDE)


def explaining_of(explain: bool, output: str) -> Explaining | None:
    """None without --explain. Raises UsageError where how it prints was said in vain."""
    if explain:
        return Explaining(output)
    if stated(("output",)) is not None:
        raise UsageError("--output: says how --explain prints, and --explain is not given")
    return None


class Told:
    """One signature of a file: its trace, and what it came to."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.verified: Verified | None = None


@contextmanager
def told(explain: bool, output: str, name: str, presented: Presented, *after: Step) -> Iterator[Told]:
    """What came with a file, told when the block is left, however that is. `after` are the block's own steps."""
    explaining = explaining_of(explain, output)
    if explaining is None:
        yield Told(SILENT)
        return
    telling, source = Telling(*after), presented.source
    media_type = presented.bundle.media_type if presented.form == "bundle" else ""
    own = Told(telling.open(source, presented.data, media_type))
    refusal: CustodyError | None = None
    try:
        yield own
    except CustodyError as error:
        if own.trace.failure is None:
            own.trace.failed(error, getattr(error, "check", None))
        refusal = error
        raise
    finally:
        # Where the block was left otherwise, by a fault or an interruption, there is no verdict to tell.
        if own.verified is not None:
            telling.vouched(msgspec.structs.replace(own.verified, source=source))
        if own.verified is not None or refusal is not None:
            explaining.show(name, telling, refusal)
