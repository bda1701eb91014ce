"""Templates and constraints applied to a collection: what is in force, what waits for what, and what statuses say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from custody.admission.definitions import BY_KIND, Definition, of_constraints
from custody.policy.decide import decide
from custody.policy.gatekeeper.constraintkind import definition
from custody.policy.gatekeeper.syncdata import ANNOTATION
from custody.policy.kinds import builtin
from custody.policy.load import PolicySet
from custody.policy.model import Context, Kind, Request, Verdict
from custody.policy.snapshot import Snapshot
from custody.services.cluster import podstatus
from custody.services.cluster.guard import Guard
from custody.services.cluster.policies import Collection
from tests.policy.gatekeeper.test_inventory import config
from tests.policy.gatekeeper.world import LABELS, NOW, SCHEMA, constraint, template

TEMPLATE = BY_KIND["templates.gatekeeper.sh", "ConstraintTemplate"]
CONSTRAINT = of_constraints("K8sRequiredLabels")
LEADER = podstatus.Replica(podstatus.id_of("custody-0_1a2b3c4d", "custody", "custody"), leads=True)


def there(document: dict[str, Any], version: int = 1) -> dict[str, Any]:
    """As a cluster has it."""
    return {**document, "metadata": {**document["metadata"], "uid": f"uid-{document['metadata']['name']}",
                                     "generation": version, "resourceVersion": str(version)}}


def collected(*documents: tuple[Definition, dict[str, Any]]) -> Collection:
    collection = Collection()
    for kind, document in documents:
        collection.put(kind, document)
    return collection


def names(collection: Collection) -> list[str]:
    return [policy.name for policy in collection.compile(builtin().unchecked()).policies]


def fault(collection: Collection, name: str) -> str:
    return next(held.fault for (*_, known), held in collection.held.items() if known == name)


def test_a_constraint_is_in_force_once_its_template_is_whichever_came_first() -> None:
    collection = collected((CONSTRAINT, there(constraint())))
    assert names(collection) == []
    assert fault(collection, "must-have") == "ConstraintTemplate k8srequiredlabels is not in force"
    collection.put(TEMPLATE, there(template()))
    assert names(collection) == ["must-have"]
    assert fault(collection, "must-have") == ""
    collection.drop(TEMPLATE, template())
    assert names(collection) == [], "without its template nothing judges by it"
    assert "is not in force" in fault(collection, "must-have")


def test_a_constraint_that_its_template_does_not_describe_stops_no_other() -> None:
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())),
                           (CONSTRAINT, there(constraint({"labels": "team"}, name="broken"))))
    assert names(collection) == ["must-have"]
    assert "spec.parameters.labels" in fault(collection, "broken")


def test_a_template_that_does_not_compile_leaves_the_one_before_in_force_and_says_so() -> None:
    collection = collected((TEMPLATE, there(template("package x\nviolation[")), ))
    collection.put(CONSTRAINT, there(constraint()))
    assert names(collection) == []
    held = collection.held["templates.gatekeeper.sh", "ConstraintTemplate", "", "k8srequiredlabels"]
    status = podstatus.wanted(held, LEADER)
    assert status is not None
    assert status["created"] is False
    [entry] = status["byPod"]
    assert entry["templateUID"] == "uid-k8srequiredlabels"
    assert entry["errors"][0]["code"] == "ingest_error"
    assert entry["errors"][0]["location"] == "spec.targets[0].rego"
    constrained = collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"]
    status = podstatus.wanted(constrained, LEADER)
    assert status is not None
    assert (status["byPod"][0]["enforced"], status["byPod"][0]["constraintUID"]) == (False, "uid-must-have")
    assert "is not in force" in status["byPod"][0]["errors"][0]["message"]
    collection.put(TEMPLATE, there(template(), 2))
    assert names(collection) == ["must-have"]
    collection.put(TEMPLATE, there(template("package x\nviolation["), 3))
    assert names(collection) == ["must-have"]
    assert "(resourceVersion 2) is in force" in fault(collection, "k8srequiredlabels")


def told(collection: Collection, kind: str, name: str) -> dict[str, Any]:
    """What custody says of an object in its status."""
    held = next(held for (_, known, _, at), held in collection.held.items() if (known, at) == (kind, name))
    status = podstatus.wanted(held, LEADER)
    assert status is not None
    [entry] = status["byPod"]
    return {**status, **entry}


BARE = Request(operation="CREATE", kind=Kind("Pod"), namespace="shop", name="bare", object={
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "shop"}})


def denied(collection: Collection) -> bool:
    """Whether a pod without labels is."""
    policies = collection.compile(builtin().unchecked())
    return decide(BARE, {}, policies, Context(now=NOW)).verdict is Verdict.DENIED


OTHERWISE: list[tuple[str, dict[str, Any], str]] = [
    ("without the field", template(schema={"type": "object", "properties": {"team": {"type": "string"}}}),
     "spec.parameters.labels"),
    ("without parameters", template(schema=None), "spec.parameters"),
    ("with another type", template(schema={"type": "object", "properties": {"labels": {"type": "string"}}}),
     "spec.parameters.labels"),
    ("with a field that is required", template(schema={**SCHEMA, "required": ["owner"]}), "spec.parameters.owner"),
    ("of a kind in other letters", template(kind="K8srequiredlabels"), "kind: got 'K8sRequiredLabels'"),
    ("in Rego that does not compile", template("package x\nviolation["), "spec.targets[0].rego"),
    ("without a kind", {**template(), "spec": {"crd": {"spec": {"names": {}}}, "targets": []}},
     "spec.crd.spec.names.kind"),
]


@pytest.mark.parametrize(("_how", "changed", "place"), OTHERWISE, ids=[how for how, *_ in OTHERWISE])
def test_a_template_that_its_constraints_do_not_fit_takes_none_out_of_force(
        _how: str, changed: dict[str, Any], place: str) -> None:
    """It came while nobody answered: else it were refused."""
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())))
    assert denied(collection)
    collection.put(TEMPLATE, there(changed, 2))
    for _ in range(2):
        assert denied(collection)
        said = fault(collection, "k8srequiredlabels")
        assert place in said
        assert "(resourceVersion 1) is in force" in said
    made = told(collection, "ConstraintTemplate", "k8srequiredlabels")
    assert made["created"] is True
    assert place in made["errors"][0]["message"]
    assert told(collection, "K8sRequiredLabels", "must-have")["enforced"] is True
    collection.drop(CONSTRAINT, there(constraint()))
    names(collection)
    well = "Rego" not in _how and "without a kind" not in _how
    assert (fault(collection, "k8srequiredlabels") == "") is well, "nothing is in its way any more"


def test_a_constraint_that_its_template_does_not_describe_any_more_says_so_and_is_enforced() -> None:
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())))
    names(collection)
    collection.put(TEMPLATE, there(template(schema=None), 2))
    new = there(constraint({}, name="new"))
    del new["spec"]["parameters"]
    collection.put(CONSTRAINT, new)
    assert names(collection) == ["must-have", "new"], "it fits the template as it was, too"
    assert "K8sRequiredLabels must-have: spec.parameters" in fault(collection, "k8srequiredlabels")
    entry = told(collection, "K8sRequiredLabels", "must-have")
    assert entry["enforced"] is True
    assert entry["errors"][0]["message"].startswith("it is judged by its template as that was before: by what it")
    assert "spec.parameters" in entry["errors"][0]["message"]
    assert "errors" not in told(collection, "K8sRequiredLabels", "new")
    collection.put(CONSTRAINT, there(constraint({"owner": "x"}, name="third")))
    assert names(collection) == ["must-have", "new"]
    assert fault(collection, "third").endswith("; ConstraintTemplate k8srequiredlabels is in force as it was before, "
                                               "for what its status says")
    collection.put(TEMPLATE, there(template(), 3))
    assert names(collection) == ["must-have", "new"]
    assert "errors" not in told(collection, "K8sRequiredLabels", "must-have")
    assert "errors" not in told(collection, "ConstraintTemplate", "k8srequiredlabels")


@pytest.mark.parametrize("first", ["template", "constraint"])
def test_a_template_and_its_constraint_change_together_whichever_comes_first(first: str) -> None:
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())))
    names(collection)
    source = LABELS.replace("input.parameters.labels[_]", "input.parameters.names[_]")
    schema = {"type": "object", "properties": {"names": {"type": "array", "items": {"type": "string"}}}}
    changes = [(TEMPLATE, there(template(source, schema=schema), 2)),
               (CONSTRAINT, there(constraint({"names": ["team"]}), 2))]
    for definition_, document in changes if first == "template" else changes[::-1]:
        assert denied(collection)
        collection.put(definition_, document)
    assert denied(collection)
    assert [fault(collection, name) for name in ("k8srequiredlabels", "must-have")] == ["", ""]
    assert [held.judged for held in collection.held.values()] == [document for _, document in changes]


def test_a_change_that_comes_while_the_others_are_compiled_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())))
    linking = PolicySet.linking

    def slow(*given: Any) -> PolicySet:
        monkeypatch.undo()
        collection.put(TEMPLATE, there(template(schema=None), 2))
        return linking(*given)

    monkeypatch.setattr(PolicySet, "linking", slow)
    assert denied(collection)
    assert denied(collection)
    assert "must-have" in fault(collection, "k8srequiredlabels")


def reviewed(collection: Collection, document: dict[str, Any], operation: str = "UPDATE") -> dict[str, Any]:
    guard = Guard(None, collection, lambda: builtin().unchecked(), None,  # type: ignore[arg-type]
                  lambda policies: Snapshot(policies), frozenset())
    group, _, version = document["apiVersion"].partition("/")
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": operation, "kind": {"group": group, "version": version, "kind": document["kind"]},
        "resource": {"group": group, "version": version, "resource": "constrainttemplates"},
        "name": document["metadata"]["name"], "userInfo": {}, "object": document}}
    return json.loads(asyncio.run(guard.review(json.dumps(body).encode(), seconds=5)))["response"]


@pytest.mark.parametrize(("how", "changed", "place"), OTHERWISE, ids=[how for how, *_ in OTHERWISE])
def test_a_template_that_breaks_constraints_in_force_is_refused_with_their_names(
        how: str, changed: dict[str, Any], place: str) -> None:
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())))
    names(collection)
    response = reviewed(collection, there(changed, 2))
    assert response["allowed"] is False
    assert place in response["status"]["message"]
    if "Rego" not in how and "without a kind" not in how:
        assert "K8sRequiredLabels must-have" in response["status"]["message"]


def test_a_template_whose_constraints_fit_or_are_not_in_force_is_not_refused() -> None:
    wider = template(schema={"type": "object", "properties": {**SCHEMA["properties"], "a": {"type": "string"}}})
    other = template(schema={"type": "object", "properties": {"labels": {"type": "string"}}})
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())))
    names(collection)
    assert reviewed(collection, there(wider, 2))["allowed"] is True
    assert (reviewed(collection, there(other, 1), "CREATE"))["allowed"] is True, "those of one that is gone go, too"
    unfit = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint({"labels": "team"}))))
    assert names(unfit) == []
    assert (reviewed(unfit, there(other, 2)))["allowed"] is True


def test_of_many_constraints_some_are_named() -> None:
    collection = collected((TEMPLATE, there(template())), *(
        (CONSTRAINT, there(constraint(name=f"c{number}"))) for number in range(9)))
    names(collection)
    message = (reviewed(collection, there(template(schema=None), 2)))["status"]["message"]
    assert message.count("spec.parameters") == 5
    assert message.endswith("; and 4 more")


def test_statuses_of_others_are_left_alone_and_nothing_is_written_twice() -> None:
    document = there(constraint())
    document["status"] = {"byPod": [{"id": "gatekeeper-0", "enforced": True}], "totalViolations": 3}
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, document))
    names(collection)
    held = collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"]
    status = podstatus.wanted(held, LEADER)
    assert status == {"byPod": [{
        "id": LEADER.id, "operations": podstatus.LEADING, "observedGeneration": 1, "constraintUID": "uid-must-have",
        "enforced": True}, {"id": "gatekeeper-0", "enforced": True}]}
    document["status"] |= status
    assert podstatus.wanted(held, LEADER) is None


def test_what_a_template_reads_and_nobody_keeps_is_said() -> None:
    asking = there(template())
    asking["metadata"]["annotations"] = {ANNOTATION: '[[{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}]]'}
    collection = collected((TEMPLATE, asking))
    names(collection)
    held = collection.held["templates.gatekeeper.sh", "ConstraintTemplate", "", "k8srequiredlabels"]
    assert podstatus.unsynced(held, []) == ["no Config or SyncSet names /v1:Pod"]
    assert podstatus.unsynced(held, [Kind("Pod")]) == []
    status = podstatus.wanted(held, LEADER, unsynced=podstatus.unsynced(held, []))
    assert status is not None
    assert status["created"] is True
    assert status["byPod"][0]["errors"] == [{"code": "sync_error", "message": "no Config or SyncSet names /v1:Pod"}]


def test_a_config_counts_in_gatekeepers_namespace_alone() -> None:
    """Who may write into some namespace must not leave it out of everything."""
    kind = BY_KIND["config.gatekeeper.sh", "Config"]
    left_out = config(match=[{"excludedNamespaces": ["*"], "processes": ["*"]}])
    left_out["metadata"]["namespace"] = "shop"
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, there(constraint())), (kind, there(left_out)))
    policies = collection.compile(builtin().unchecked())
    assert [document["kind"] for document in policies.documents] == ["ConstraintTemplate", "K8sRequiredLabels"]
    assert "it lies in namespace shop, and a Config counts in gatekeeper-system" in fault(collection, "config")


def test_the_definition_of_a_kind() -> None:
    made = definition(there(template()))
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-k8srequiredlabels"
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert schema["parameters"]["properties"]["labels"] == {"type": "array", "items": {"type": "string"}}
    assert "x-kubernetes-preserve-unknown-fields" not in schema["parameters"]
    legacy = definition(there(template(version="v1beta1", schema={"properties": {"a": {"type": "array"}}})))
    parameters = legacy["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][
        "parameters"]
    assert parameters == {"x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {
        "type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}}}}


@pytest.mark.parametrize("status", [
    "x", ["x"], {"byPod": "x"}, {"byPod": ["x", {"id": "gatekeeper-0"}]}, {"byPod": {}}])
def test_a_status_of_another_shape_is_written_over(status: Any) -> None:
    document = {**there(constraint()), "status": status}
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, document))
    names(collection)
    written = podstatus.wanted(
        collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"], LEADER)
    assert written is not None
    assert {entry["id"] for entry in written["byPod"]} - {"gatekeeper-0"} == {LEADER.id}


def test_a_config_that_names_what_is_not_served_says_so() -> None:
    kind = BY_KIND["config.gatekeeper.sh", "Config"]
    naming = there(config(sync={"syncOnly": [{"group": "x.io", "version": "v1", "kind": "Route"}]}))
    collection = collected((kind, naming))
    names(collection)
    [held] = collection.held.values()
    assert held.ready
    status = podstatus.wanted(held, LEADER, unsynced=["Route of x.io/v1 is not served by the cluster"])
    assert status is not None
    assert status["byPod"][0]["errors"] == [{"type": "sync_error", "message": "Route of x.io/v1 is not served by the "
                                                                              "cluster"}]
    status = podstatus.wanted(held, LEADER)
    assert status is not None
    assert "errors" not in status["byPod"][0]
