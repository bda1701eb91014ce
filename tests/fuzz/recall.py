"""What is said again beside what is said anew: `python -m tests.fuzz.recall [SETS] [SEED]`.

Generated policies of Kyverno's kinds, in CEL and in Rego are asked about generated requests, hostile ones among them,
and about each of these again with other names, labels, users and statuses. Prints where a decision of a set that
remembers is not that of one that does not, and how often something was said again; 1 where anything differs.
"""

# ruff: noqa: E501 - tables of what is drawn from

from __future__ import annotations

import copy
import random
import sys
from collections import Counter
from typing import Any

import msgspec

from custody.admission.review import read
from custody.errors import CustodyError
from custody.policy import recall
from custody.policy.decide import decide
from custody.policy.given import Given
from custody.policy.load import PolicySet
from custody.policy.model import Context, Request
from custody.policy.rule import Rule, Spoken
from custody.ports.lookup import Answered, ApiCall, NamespaceLabels
from tests.fuzz.validating_policies import generated
from tests.fuzz.verdicts.policies import policy_set
from tests.fuzz.verdicts.requests import request
from tests.policy.gatekeeper.world import constraint, template
from tests.policy.test_images import NOW

_ROOTS = ["input.review.object", "input.review.oldObject", "input.review", "input", "o", "r", "f(input.review.object)"]
_STEPS = ["metadata", "spec", "labels", "annotations", "containers", "name", "object", "status", "userInfo", "username",
          "[_]", "[k]", '["metadata"]', "image"]
_USES = ["{} == {}", "count({}) > count({})", "object.get({}, \"name\", {}) != \"\"", "walk({}, [_, {}])", "{} != {}",
         "sprintf(\"%v\", [{}]) != sprintf(\"%v\", [{}])", "g({}, {})", "startswith(object.get({}, [\"metadata\", \"name\"], {}), \"p\")"]
_HELPERS = """
f(x) = x.metadata { x.spec } else = x
g(x, y) { x == y.name }
g(x, y) { some k; x[k] == y }
h(_, _) = true
"""


def _reference(dice: random.Random) -> str:
    if dice.random() < 0.25:
        return dice.choice(["1", '"p1"', "{}", "[]"])
    steps = [dice.choice(_STEPS) for _ in range(dice.randrange(4))]
    return dice.choice(_ROOTS) + "".join(step if step.startswith("[") else f".{step}" for step in steps)


def _rego(dice: random.Random, number: int) -> list[dict[str, Any]]:
    lines = [dice.choice(["", "not "]) + dice.choice(_USES).format(_reference(dice), _reference(dice))
             for _ in range(dice.randrange(1, 4))]
    if dice.random() < 0.4:
        lines.append(dice.choice(["{} := {}", "h({}, {})", "count([1 | {} := {}]) == 1"]).format(dice.choice("_z"), _reference(dice))
                     if dice.random() < 0.7 else f"h({_reference(dice)}, 1)")
    said = dice.choice(['"m"', f'sprintf("%v", [{_reference(dice)}])'])
    body = "; ".join(["o := input.review.object", "r := input.review", 'k := ["spec", "metadata", "name"][_]', *lines, f"msg := {said}"])
    kind = f"K{number}"
    return [template(f'package k\nviolation[{{"msg": msg}}] {{ {body} }}\n{_HELPERS}', kind=kind), constraint(kind=kind)]


def _documents(dice: random.Random) -> list[dict[str, Any]]:
    made = []
    for number in range(6):
        candidate = _rego(dice, number)
        try:
            PolicySet.load(candidate)
        except CustodyError:  # a variable that is not safe, a name that is no function
            continue
        made += candidate
    return [*made, *(generated(dice, number) for number in range(4)), *(document for document in policy_set(dice) if document["kind"] != "Label")]


def _like(asked: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same request, something about it changed."""
    made = copy.deepcopy(asked)
    for part in ("object", "oldObject"):
        document = made.get(part)
        if not isinstance(document, dict) or dice.random() < 0.3:
            continue
        metadata = document.get("metadata")
        place: dict[str, Any] = metadata if isinstance(metadata, dict) and dice.random() < 0.7 else document
        place[dice.choice(["name", "uid", "labels", "annotations", "status", "resourceVersion", "spec"])] = dice.choice(
            ["p1", "p2", {}, {"team": "a"}, {"x": "y"}, None, 1, 1.0, True])
    if dice.random() < 0.3:
        made["name"] = dice.choice(["p1", "p2"])
    if dice.random() < 0.2:
        made["userInfo"] = dice.choice([{"username": "p1"}, {}])
    return made


def _requests(dice: random.Random) -> list[Request]:
    made: list[Request] = []
    for _ in range(25):
        asked = request(dice)
        for version in (asked, *(_like(asked, dice) for _ in range(5))):
            try:
                made.append(read(msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                                                      "request": {"uid": "u", **version}})).request)
            except CustodyError:
                continue
    dice.shuffle(made)
    return made


class _Forgetful(recall.Recall):
    def evaluate(self, rule: Rule, given: Given) -> Spoken:
        return rule.evaluate(given)


def main(sets: int, seed: int) -> int:
    said: Counter[str] = Counter()
    placed = recall._placed

    def noted(spoken: Spoken, resource: str) -> Spoken:
        said["said again"] += 1
        return placed(spoken, resource)

    recall._placed = noted
    for number in range(sets):
        dice = random.Random(f"{seed} {number}")
        documents = _documents(dice)
        remembers, forgets = PolicySet.load(documents), PolicySet.load(copy.deepcopy(documents))
        forgets.recall = _Forgetful()
        for asked in _requests(dice):
            answers = {question: Answered({"kind": "Namespace", "metadata": {"name": asked.namespace}})
                       if isinstance(question, ApiCall) else Answered({"env": "prod"})
                       for question in (ApiCall(f"/api/v1/namespaces/{asked.namespace}"), NamespaceLabels(asked.namespace))}
            first, second = (decide(asked, {}, policies, Context(now=NOW), answers=answers) for policies in (remembers, forgets))
            said["decisions"] += 1
            said[f"verdict {first.verdict}"] += 1
            if first != second:
                said["differ"] += 1
                if said["differ"] <= 3:
                    print(f"set {number}: {msgspec.json.encode(asked).decode()}")
                    for ours, theirs in zip(first.results, second.results, strict=False):
                        if ours != theirs:
                            print(f"  again {ours}\n  anew  {theirs}")
    for name, count in said.most_common():
        print(f"{count:>9} {name}")
    return 1 if said["differ"] or not said["said again"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
