"""cyclonus' own cases, verdict for verdict: 230 cases, each step of them, 81 pairs of pods and more, six ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.network import kubernetes
from custody.network.connectivity import Connectivity
from custody.network.model import Identity, Namespace, Topology
from custody.network.ports import key, protocol_named
from tests.conftest import peer
from tests.network.cyclonus import Step, Table, cases, pod, topology

pytestmark = pytest.mark.peer


def changed(engine: Connectivity, step: Step) -> None:
    """What a case's step does to pods and namespaces, which its output does not say."""
    match step.case, step.number:
        case "Create/delete namespace", 2:
            engine.relabel(Namespace("y-2", {"ns": "y"}))
            engine.put(pod("y-2", "a", 10))
            engine.put(pod("y-2", "b", 11))
        case "Create/delete namespace", 3:
            engine.remove("y-2/a")
            engine.remove("y-2/b")
        case "Update namespace so that policy applies, then again so it no longer applies", 2:
            engine.relabel(Namespace("y", {"ns": "y", "new-ns": "qrs"}))
        case "Update namespace so that policy applies, then again so it no longer applies", 3:
            engine.relabel(Namespace("y", {"ns": "y"}))
        case "Create/delete pod", 2:
            engine.put(pod("x", "d", 10))
        case "Create/delete pod", 3:
            engine.remove("x/d")
        case "Update pod so that policy applies, then again so it no longer applies", 2:
            engine.put(pod("y", "b", 5, {"pod": "b", "new-label": "abc"}))
        case "Update pod so that policy applies, then again so it no longer applies", 3:
            engine.put(pod("y", "b", 5))
        case _:
            _upstream(engine, step)


def _upstream(engine: Connectivity, step: Step) -> None:
    """Those of Kubernetes' own tests, and the example."""
    rows = {source for source, _ in step.combined}
    if "w/a" in rows and "w" not in engine.topology.namespaces:
        engine.relabel(Namespace("w", {"ns": "w"}))
        engine.put(pod("w", "a", 10))
    elif "w/a" not in rows and "w" in engine.topology.namespaces:
        engine.remove("w/a")
    selectors = repr(step.policies)
    if step.number == 2 and "'ns2': 'updated'" in selectors:
        engine.relabel(Namespace("y", {"ns": "y", "ns2": "updated"}))
    if step.number == 2 and "'pod2': 'updated'" in selectors:
        engine.put(pod("x", "b", 2, {"pod": "b", "pod2": "updated"}))
    if step.number == 2 and "'target': 'isolated'" in selectors:
        engine.put(pod("x", "a", 1, {"target": "isolated"}))


def wrong(engine: Connectivity, step: Step) -> tuple[list[str], int]:
    """Verdicts that differ, and how many were compared."""
    assert {source for source, _ in step.combined} == {pod.place for pod in engine.topology.pods}
    differing: list[str] = []
    compared = 0
    by_place = {pod.place: engine.classes.of(pod) for pod in engine.topology.pods}
    for (source, target), answers in step.combined.items():
        outcome = engine.outcome(by_place[source], by_place[target])
        for word, expected in answers.items():
            protocol, _, port = word.partition("/")
            number = int(port) if port.isdecimal() else next(
                named.number for named in engine.classes.samples[by_place[target]].ports if named.name == port)
            at = key(protocol_named(protocol), number)
            answer = "." if at in outcome.allowed else "?" if at in outcome.depends else "X"
            compared += 1
            if answer != expected:
                differing.append(f"{step.case} {step.number}: {source} {target} {word}: {answer}, not {expected}")
    return differing, compared


def test_all_cases(capsys: pytest.CaptureFixture[str]) -> None:
    every = cases(Path(peer("cyclonus")))
    assert len(every) == 230
    right = total = steps = 0
    differing: list[str] = []
    for case in every:
        engine = Connectivity(topology())
        for step in case:
            _set(engine, step)
            changed(engine, step)
            mistakes, compared = wrong(engine, step)
            fresh, _ = wrong(Connectivity(engine.topology, engine.policies), step)
            differing += mistakes + [f"anew: {mistake}" for mistake in fresh]
            steps, total, right = steps + 1, total + compared, right + compared - len(mistakes)
    with capsys.disabled():
        print(f"\ncyclonus: {len(every)} cases, {steps} steps: {right} / {total} verdicts")
    assert differing == []
    assert steps == 256
    assert total > 120_000


def _set(engine: Connectivity, step: Step) -> None:
    """The policies of a step, as changes of those before."""
    policies = [policy for document in step.policies for policy in kubernetes.read(document, "policy")]
    for identity in {policy.identity for policy in engine.policies} - {policy.identity for policy in policies}:
        engine.change(identity, [])
    for policy in policies:
        engine.change(policy.identity, [policy])


def test_a_wrong_verdict_is_seen() -> None:
    table: Table = {(f"{left}/{one}", f"{right}/{two}"): {"TCP/80": "X"}
                    for left in "xyz" for one in "abc" for right in "xyz" for two in "abc"}
    step = Step("none", 1, [], table, table, table)
    mistakes, compared = wrong(Connectivity(topology()), step)
    assert (len(mistakes), compared) == (81, 81)
    assert Identity("NetworkPolicy", "x", "a") not in {policy.identity for policy in Connectivity(topology()).policies}
    assert isinstance(topology(), Topology)
