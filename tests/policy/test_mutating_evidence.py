"""evidence() in MutatingAdmissionPolicies: a mutation that asks for what nobody vouches for fails, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from custody.evidence.model import EvidenceSet
from custody.formats import jsonpatch
from custody.policy.decide import decide
from custody.policy.evidencecontents import TYPES
from custody.policy.kinds import builtin
from custody.policy.lint import lint_all
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Verdict
from custody.policy.phases import Course
from tests.policy.gatekeeper.world import NOW, asked
from tests.policy.test_evidence_languages import ALL, IMAGE, STATES, known, pod, statement, without
from tests.policy.test_mutating_admission import _binding, _policy

COUNTED = ('[JSONPatch{op: "add", path: "/metadata/annotations", value: {"signed-by": '
           "evidence(object.spec.containers[0].image).signatures[0].signer.subject}}]")
BUILDER = ('Object{metadata: Object.metadata{labels: {"builder": variables.known.provenance[0].builder'
           '.replace("https://", "")}}}')


def mutated(gathered: EvidenceSet | None, *expressions: str, **spec: Any) -> Decision:
    policies = PolicySet.load([_policy(*expressions, **spec), _binding()])
    return decide(asked(pod()), {} if gathered is None else {IMAGE: gathered}, policies, Context(now=NOW),
                  at=Course.MUTATING)


def test_a_mutation_writes_what_is_vouched_for_and_names_what_it_rests_on() -> None:
    decision = mutated(known(*ALL.values()), COUNTED, BUILDER, variables=[
        {"name": "known", "expression": "evidence(object.spec.containers[0].image)"}])
    [result] = decision.results
    assert result.outcome is Outcome.PASS
    assert set(result.evidence) >= {"sha256:signatures", "sha256:provenance"}
    metadata = jsonpatch.apply(pod(), decision.patch)["metadata"]
    assert metadata["annotations"] == {"signed-by": statement("signatures").signer.subject}  # type: ignore[union-attr]
    assert metadata["labels"]["builder"] == "builder.example"


@pytest.mark.parametrize("state", STATES)
def test_what_nobody_vouches_for_is_an_error_with_its_reason_and_changes_nothing(state: str) -> None:
    make, reason = STATES[state]
    decision = mutated(make("signatures"), COUNTED)
    [result] = decision.results
    assert (decision.verdict, result.outcome, list(decision.patch)) == (Verdict.DENIED, Outcome.ERROR, [])
    assert reason in result.message


@pytest.mark.parametrize("state", [state for state in STATES if state != "not gathered"])
def test_where_failures_are_ignored_the_mutation_is_left_out_and_says_why(state: str) -> None:
    make, reason = STATES[state]
    decision = mutated(make("signatures"), COUNTED, failurePolicy="Ignore")
    assert decision.verdict is not Verdict.DENIED
    assert not decision.patch
    assert reason in decision.results[0].message


def test_a_condition_on_evidence() -> None:
    condition = [{"name": "signed", "expression": "has(evidence(object.spec.containers[0].image).signatures)"}]
    label = 'Object{metadata: Object.metadata{labels: {"signed": "yes"}}}'
    assert mutated(known(*ALL.values()), label, matchConditions=condition).results[0].outcome is Outcome.PASS
    assert mutated(without("signatures"), label, matchConditions=condition).results[0].outcome is Outcome.SKIP


def test_what_is_asked_for_is_gathered_first_and_lint_says_that_no_api_server_has_it() -> None:
    documents = [_policy(COUNTED), _binding()]
    policies = PolicySet.load(documents)
    assert policies.predicate_types() == {*TYPES["signatures"]}
    assert policies.needs(asked(pod())).images == {IMAGE: frozenset(TYPES["signatures"])}
    found, _ = lint_all([(f"[{at}]", document) for at, document in enumerate(documents)], builtin())
    assert any("only-in-custody" in str(finding) and "webhook mutates by it" in str(finding) for finding in found)
    plain = PolicySet.load([_policy('Object{metadata: Object.metadata{labels: {"a": "b"}}}'), _binding()])
    assert plain.needs(asked(pod())).images == {}
