"""Every pair of a signer and a verifier of which one is custody: what is asked of it, and how it came out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.interop.bench import STRANGER, Bench, Done
from tests.interop.clients import CUSTODY, FORMS, KEY, PEER_CLIENTS, WAYS, Asked, Client


@dataclass(frozen=True)
class Pair:
    signer: Client
    verifier: Client
    form: str
    way: str

    @property
    def name(self) -> str:
        return f"{self.signer.name} → {self.verifier.name}"

    def without(self) -> str:
        """Why there is nothing to ask; "" where there is."""
        for client, signs in ((self.signer, True), (self.verifier, False)):
            if reason := client.lacks(self.form, self.way, signs=signs):
                return f"{client.name} {reason}"
        return ""

    def absent(self) -> str:
        return self.signer.absent() or self.verifier.absent()


@dataclass(frozen=True)
class Outcome:
    verdict: str
    """`ok`, `FAILED`, `theirs` (the signer refuses its own signature, too), `none` (there is no such pair) or `skipped`
    (a program is not installed).
    """
    said: str


def pairs() -> Iterator[Pair]:
    for peer in PEER_CLIENTS:
        for form in FORMS:
            for way in WAYS:
                yield Pair(peer, CUSTODY, form, way)
                yield Pair(CUSTODY, peer, form, way)


def judge(pair: Pair, bench: Bench) -> Outcome:
    """Signed and verified; then the same signature for somebody else, and of another file or image: both refused."""
    if reason := pair.without():
        return Outcome("none", reason)
    if reason := pair.absent():
        return Outcome("skipped", reason)
    name = bench.fresh()
    asked = Asked(bench, pair.form, pair.way, name, logged=pair.signer.logs(pair.form, pair.way))
    if not asked.is_file:
        asked = replace(asked, image=bench.push(name))
    if failure := _failed("signing", pair.signer.sign(asked)):
        return Outcome("FAILED", failure)
    if failure := _failed("verifying", pair.verifier.verify(asked)):
        if pair.signer is not CUSTODY and not pair.signer.lacks(pair.form, pair.way, signs=False):
            own = pair.signer.verify(asked)
            if own.code != 0:
                return Outcome("theirs", f"{pair.signer.name} refuses its own, too: {said_last(own)}")
        return Outcome("FAILED", failure)
    if pair.way == KEY:
        other, what = replace(asked, public="other-key.pub"), "another key"
    else:
        other, what = replace(asked, who=STRANGER), "another identity"
    done = pair.verifier.verify(other)
    if done.code == 0 or not re.search(pair.verifier.refuses[pair.way], done.said):
        return Outcome("FAILED", f"{what}: exit code {done.code}, {said_last(done)}")
    moved = replace(asked, file="other") if asked.is_file else replace(asked, image=bench.push(f"{name}-other"))
    if pair.verifier.verify(moved).code == 0:
        return Outcome("FAILED", f"accepted for another {'file' if asked.is_file else 'image'}")
    log = "" if asked.logged else ", in no log"
    return Outcome("ok", f"verified{log}; {what} and another {'file' if asked.is_file else 'image'}: refused")


def _failed(step: str, done: Done) -> str:
    return "" if done.code == 0 else f"{step}: exit code {done.code}, {said_last(done)}"


def said_last(done: Done) -> str:
    """What it said, without what it says each time."""
    each_time = re.compile(r"\s*$|warning|.*deprecat|error during command execution", re.IGNORECASE)
    lines = [line for line in done.said.splitlines() if not each_time.match(line)]
    return " / ".join(lines[-3:])[:600] or "nothing was said"
