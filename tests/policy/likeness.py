"""Requests that have in common what rules read, made up by changing objects at random: their verdicts are the same.

`python -m tests.policy.likeness COUNT FOLDER…` does so with all policies of folders that load, by the objects there.
"""

from __future__ import annotations

import copy
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from custody.errors import CustodyError
from custody.policy.decide import decide, written
from custody.policy.kept import divided, own
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Request, User
from custody.policy.phases import Course
from custody.policy.reads import Part, Reads
from custody.services.verdicts import Likeness, Verdicts
from policylang.errors import LanguageError
from tests.policy.kyverno_cases import BARE, POD

CONTEXT = Context(now=datetime(2026, 11, 24, tzinfo=UTC))
_VALUES: tuple[Any, ...] = (
    None, "", "x", "*", "latest", "ghcr.io/myorg/web:1.0", "docker.io/evil:latest", "128Mi", "10", "ALL", "default", 0,
    1, 8080, -1, 1.5, True, False, [], {}, [1], ["x", None], [{}], [{"name": "x", "image": "nginx"}], {"x": "y"},
    {"name": "x"}, {"privileged": True}, {"type": "RuntimeDefault"}, {"path": "/"}, {"labels": {"app": "web"}})
_NAMES = ("name", "image", "spec", "metadata", "labels", "annotations", "containers", "zz", "app", "hostPath",
          "emptyDir", "container.apparmor.security.beta.kubernetes.io/web", "seccomp.security.alpha.kubernetes.io/pod")


class Asked(NamedTuple):
    decision: Decision
    like: Likeness | None
    by: Callable[[PolicySet], Decision]
    """The decision of other policies."""


class Asker:
    """Asks one set of policies about objects that it changes."""

    def __init__(self, policies: PolicySet, seed: int = 0) -> None:
        self.policies = policies
        self.verdicts = Verdicts(policies)
        self.random = random.Random(seed)
        self.hints = Reads()
        for rule in policies.rules:
            rule.note_reads(self.hints)

    def requests(self, objects: Sequence[dict[str, Any]], count: int) -> Iterator[Asked]:
        """Decisions on requests, each of them twice: as it is and with a few changes, of which rules may read some."""
        for at in range(count):
            request = self.request(self.changed(self.random.choice(objects), self.random.choice((0, 0, 1, 2, 4))), at)
            yield self.asked(request)
            for _ in range(self.random.choice((1, 1, 2, 3))):
                request = self.altered(request)
            yield self.asked(request)

    def request(self, document: dict[str, Any], at: int) -> Request:
        request = Request.create(document, "default")
        if at % 3 == 1:
            return msgspec.structs.replace(request, operation="UPDATE", old_object=self.changed(document, at % 4))
        if at % 11 == 2:
            return msgspec.structs.replace(request, operation="DELETE", object=None, old_object=document)
        return request

    def altered(self, request: Request) -> Request:
        draw = self.random.random()
        if draw < 0.05:
            return msgspec.structs.replace(request, name=self.random.choice(("x", "y-1", "")))
        if draw < 0.1:
            return msgspec.structs.replace(request, user=User(
                username=self.random.choice(("ann", "system:serviceaccount:a:b")), groups=("dev",)))
        if request.old_object is not None and (draw < 0.3 or request.object is None):
            return msgspec.structs.replace(request, old_object=self.changed(request.old_object, 1))
        assert request.object is not None
        return msgspec.structs.replace(request, object=self.changed(request.object, 1))

    def asked(self, request: Request) -> Asked:
        def by(policies: PolicySet) -> Decision:
            return decide(request, {}, policies, CONTEXT, at=Course.VALIDATING, digested=False)

        decision = by(self.policies)
        body = divided(own(request, written(request), {}, decision), {}, self.policies.digest, CONTEXT,
                       at=Course.VALIDATING)
        return Asked(decision, self.verdicts.likeness(body), by)

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self, document: dict[str, Any], times: int) -> dict[str, Any]:
        document = copy.deepcopy(document)
        for _ in range(times):
            self._change(document, self.hints.object)
        return document

    def _change(self, part: Any, hint: Part | None) -> None:
        while True:
            if isinstance(part, dict):
                hinted = [*hint.fields, *hint.prefixes] if hint is not None else []
                key = self.random.choice([*part, *part, *part, *hinted, *_NAMES] or ["zz"])
                inner = hint.fields.get(key) if hint is not None else None
            elif isinstance(part, list) and part:
                key, inner = self.random.randrange(len(part)), hint.element if hint is not None else None
            else:
                return
            below = part.get(key) if isinstance(part, dict) else part[key]
            if isinstance(below, (dict, list)) and below and self.random.random() < 0.85:
                part, hint = below, inner
                continue
            draw = self.random.random()
            if draw < 0.3 and (isinstance(part, list) or key in part):
                del part[key]
            elif draw < 0.4 and isinstance(part, list):
                part.append(copy.deepcopy(self.random.choice([*part, *_VALUES])))
            else:
                part[key] = copy.deepcopy(self.random.choice(_VALUES))
            return


def told_apart(asker: Asker, objects: Sequence[dict[str, Any]], count: int) -> tuple[Counter[str], list[str]]:
    """How many were alike and known, and what is wrong: the same likeness and not the same answer."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    seen: dict[bytes, Asked] = {}
    for asked in asker.requests(objects, count):
        counts["requests"] += 1
        if asked.like is None:
            counts["unlike anything"] += 1
            continue
        before = seen.setdefault(asked.like.digest, asked)
        if before is asked:
            continue
        counts["alike"] += 1
        asker.verdicts.learn(asked.like, before.decision)
        known = asker.verdicts.known(asked.like, asked.by)
        if known is None:
            continue
        counts["known"] += 1
        counts[f"known {known}"] += 1
        counts["beside others"] += asked.like.read.rest is not None
        if known != asked.decision.verdict or (asked.like.read.rest is None and _outcomes(before) != _outcomes(asked)):
            wrong.append(f"{known}, not {asked.decision.verdict}: {_outcomes(before)} {_outcomes(asked)}")
    return counts, wrong


def _outcomes(asked: Asked) -> list[tuple[str, str, str]]:
    return [(result.policy, result.rule, result.outcome) for result in asked.decision.results]


def beside(folder: Path) -> Iterator[tuple[Path, PolicySet, list[dict[str, Any]]]]:
    """The policies below a folder that load, each with the objects of its own folder."""
    for file in sorted(folder.rglob("*.yaml")):
        if file.parent.name.startswith("."):
            continue
        try:
            documents = [document for document in _read(file) if document.get("kind") in ("ClusterPolicy", "Policy")]
            policies = PolicySet(documents) if documents else None
        except (CustodyError, LanguageError):
            continue
        if policies is not None:
            objects = [POD, BARE, *(document for near in sorted(file.parent.rglob("*.yaml"))
                                    for document in _read(near) if _judged(document))]
            yield file, policies, [document for document in objects if any(
                rule.scope.selects(Request.create(document).kind) for rule in policies.rules)] or objects


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        return [document for document in yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader)
                if isinstance(document, dict)]
    except (yaml.YAMLError, UnicodeDecodeError):
        return []


def _judged(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("metadata"), dict) and document.get("kind") not in (
        None, "ClusterPolicy", "Policy", "Test", "Values")


def main() -> None:
    count, total = int(sys.argv[1]), Counter[str]()
    for folder in sys.argv[2:]:
        for file, policies, objects in beside(Path(folder)):
            counts, wrong = told_apart(Asker(policies), objects, count)
            total += counts
            total["policies"] += 1
            total["policies with likenesses"] += bool(counts["known"])
            total["wrong"] += len(wrong)
            for line in wrong[:3]:
                print(f"{file}: {line}")
    print(dict(total))


if __name__ == "__main__":
    main()
