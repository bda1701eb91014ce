"""Templates and constraints applied to a collection: what is in force, what waits for what, and what statuses say."""

from __future__ import annotations

from typing import Any

import pytest

from custody.admission.definitions import BY_KIND, Definition, of_constraints
from custody.policy.gatekeeper.constraintkind import definition
from custody.policy.gatekeeper.syncdata import ANNOTATION
from custody.policy.kinds import builtin
from custody.policy.model import Kind
from custody.services.cluster import podstatus
from custody.services.cluster.policies import Collection
from tests.policy.gatekeeper.test_inventory import config
from tests.policy.gatekeeper.world import constraint, template

TEMPLATE = BY_KIND["templates.gatekeeper.sh", "ConstraintTemplate"]
CONSTRAINT = of_constraints("K8sRequiredLabels")


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
    # The template describes it otherwise by now: what fitted does not, and the other way round.
    other = template(schema={"type": "object", "properties": {"labels": {"type": "string"}}})
    collection.put(TEMPLATE, there(other, 2))
    assert names(collection) == ["broken"]
    assert "spec.parameters.labels" in fault(collection, "must-have")


def test_a_template_that_does_not_compile_leaves_the_one_before_in_force_and_says_so() -> None:
    collection = collected((TEMPLATE, there(template("package x\nviolation[")), ))
    collection.put(CONSTRAINT, there(constraint()))
    assert names(collection) == []
    held = collection.held["templates.gatekeeper.sh", "ConstraintTemplate", "", "k8srequiredlabels"]
    status = podstatus.wanted(held)
    assert status is not None
    assert status["created"] is False
    [entry] = status["byPod"]
    assert entry["templateUID"] == "uid-k8srequiredlabels"
    assert entry["errors"][0]["code"] == "ingest_error"
    assert entry["errors"][0]["location"] == "spec.targets[0].rego"
    constrained = collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"]
    status = podstatus.wanted(constrained)
    assert status is not None
    assert (status["byPod"][0]["enforced"], status["byPod"][0]["constraintUID"]) == (False, "uid-must-have")
    assert "is not in force" in status["byPod"][0]["errors"][0]["message"]
    collection.put(TEMPLATE, there(template(), 2))
    assert names(collection) == ["must-have"]
    collection.put(TEMPLATE, there(template("package x\nviolation["), 3))
    assert names(collection) == ["must-have"]
    assert "(resourceVersion 2) is in force" in fault(collection, "k8srequiredlabels")


def test_statuses_of_others_are_left_alone_and_nothing_is_written_twice() -> None:
    document = there(constraint())
    document["status"] = {"byPod": [{"id": "gatekeeper-0", "enforced": True}], "totalViolations": 3}
    collection = collected((TEMPLATE, there(template())), (CONSTRAINT, document))
    names(collection)
    held = collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"]
    status = podstatus.wanted(held)
    assert status == {"byPod": [{"id": "gatekeeper-0", "enforced": True}, {
        "id": "custody", "operations": podstatus.OPERATIONS, "observedGeneration": 1, "constraintUID": "uid-must-have",
        "enforced": True}]}
    document["status"] |= status
    assert podstatus.wanted(held) is None


def test_what_a_template_reads_and_nobody_keeps_is_said() -> None:
    asking = there(template())
    asking["metadata"]["annotations"] = {ANNOTATION: '[[{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}]]'}
    collection = collected((TEMPLATE, asking))
    names(collection)
    held = collection.held["templates.gatekeeper.sh", "ConstraintTemplate", "", "k8srequiredlabels"]
    assert podstatus.unsynced(held, []) == ["no Config or SyncSet names /v1:Pod"]
    assert podstatus.unsynced(held, [Kind("Pod")]) == []
    status = podstatus.wanted(held, unsynced=podstatus.unsynced(held, []))
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
    written = podstatus.wanted(collection.held["constraints.gatekeeper.sh", "K8sRequiredLabels", "", "must-have"])
    assert written is not None
    assert {entry["id"] for entry in written["byPod"]} - {"gatekeeper-0"} == {"custody"}
