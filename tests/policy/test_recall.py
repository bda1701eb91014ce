"""What is said again of a request like one before is what would be said anew; whatever a rule reads makes a difference."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from custody.policy import recall
from custody.policy.decide import decide
from custody.policy.given import Given
from custody.policy.load import PolicySet
from custody.policy.model import Context, Decision, Outcome, Request, User
from custody.policy.phases import Phase
from custody.policy.rule import Spoken
from custody.ports.lookup import Answer, Answered, Inventory, Question
from tests.policy.gatekeeper.world import constraint, pod, template
from tests.policy.test_images import NOW

Json = dict[str, Any]


def rego(body: str, **parts: Any) -> list[Json]:
    return [template(f"package labels\n{body}", **parts), constraint()]


def native(**source: Any) -> list[Json]:
    return [template(source), constraint()]


def cel(*expressions: str, **spec: Any) -> list[Json]:
    return [{"apiVersion": "policies.kyverno.io/v1", "kind": "ValidatingPolicy", "metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
                                                "resources": ["*"]}]},
        "validations": [{"expression": expression} for expression in expressions], **spec}}]


def pattern(written: Json, **rule: Any) -> list[Json]:
    return [{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": {
        "validationFailureAction": "Enforce", "rules": [{
            "name": "r", "match": {"any": [{"resources": {"kinds": ["Pod"]}}]}, **rule, "validate": written}]}}]


class Counted:
    """A set of policies, and how often its rules were evaluated."""

    def __init__(self, documents: list[Json], monkeypatch: pytest.MonkeyPatch) -> None:
        self.policies = PolicySet.load(documents)
        self.evaluated = 0
        for rule in self.policies.of(Phase.VALIDATE):
            monkeypatch.setattr(rule, "evaluate", self._counting(rule.evaluate))

    def _counting(self, evaluate: Callable[[Given], Spoken]) -> Callable[[Given], Spoken]:
        def counting(given: Given) -> Spoken:
            self.evaluated += 1
            return evaluate(given)
        return counting

    def ask(self, document: Json | Request, answers: Mapping[Question, Answer] = {}) -> Decision:
        request = document if isinstance(document, Request) else Request.create(document)
        return decide(request, {}, self.policies, Context(now=NOW), answers=answers)


def named(name: str, **spec: Any) -> Json:
    made = pod(name, namespace="shop")
    made["metadata"]["uid"] = f"uid of {name}"
    made["spec"] = {"containers": [{"name": "c", "image": "nginx"}], **spec}
    return made


SPEC = 'violation[{"msg": "host"}] { input.review.object.spec.hostNetwork }'


@pytest.mark.parametrize("documents", [
    rego(SPEC), native(validations=[{"expression": "!has(object.spec.hostNetwork)", "message": "host"}]),
    cel("!has(object.spec.hostNetwork)"), cel("variables.s == null", variables=[
        {"name": "s", "expression": "object.spec.?hostNetwork.orValue(null)"}])])
def test_pods_that_differ_in_their_names_are_evaluated_once(documents: list[Json], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(documents, monkeypatch)
    decisions = [counted.ask(named(name)) for name in ("a", "b", "a")]
    assert counted.evaluated == 1
    assert [result.resource for decision in decisions for result in decision.results] == [
        "Pod/shop/a", "Pod/shop/b", "Pod/shop/a"]
    assert {result.outcome for decision in decisions for result in decision.results} == {Outcome.PASS}
    assert {result.outcome for result in counted.ask(named("c", hostNetwork=True)).results} == {Outcome.FAIL}
    assert counted.evaluated == 2


def test_a_violation_is_said_again_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(rego(SPEC), monkeypatch)
    first, second = (counted.ask(named(name, hostNetwork=True)) for name in ("a", "b"))
    assert counted.evaluated == 1
    assert [(result.message, result.told, result.enforce) for result in first.results] == [
        (result.message, result.told, result.enforce) for result in second.results] == [
        ("host", "[must-have] host", True)]
    assert first.verdict is second.verdict


def changed(path: str, value: Any) -> Callable[[Json], None]:
    def change(document: Json) -> None:
        *above, last = path.split("/")
        for field in above:
            document = document[field]
        if value is None:
            document.pop(last, None)
        else:
            document[last] = value
    return change


READ = {
    "a name in the words": ('violation[{"msg": msg}] { msg := input.review.object.metadata.name }', "metadata/name", "z"),
    "a name of the review": ('violation[{"msg": msg}] { msg := input.review.name }', "metadata/name", "z"),
    "labels": ('violation[{"msg": "m"}] { input.review.object.metadata.labels.a }', "metadata/labels", {"a": "b"}),
    "all of metadata": ('violation[{"msg": "m"}] { input.review.object.metadata[k] == "z" }', "metadata/uid", "z"),
    "the object": ('violation[{"msg": "m"}] { walk(input.review.object, [_, "z"]) }', "metadata/uid", "z"),
    "the review": ('violation[{"msg": "m"}] { r := input.review; r[_].metadata.uid == "z" }', "metadata/uid", "z"),
    "the input": ('violation[{"msg": "m"}] { walk(input, [_, "z"]) }', "status", {"x": "z"}),
    "a computed field": ('violation[{"msg": "m"}] { k := "status"; input.review.object[k].x == "z" }', "status", {"x": "z"}),
    "through a function": ('f(o) = o.metadata.labels.a\nviolation[{"msg": "m"}] { f(input.review.object) }', "metadata/labels", {"a": "b"}),
    "through two functions": ('g(p) = p.labels\nf(o) = g(o.metadata)\nviolation[{"msg": "m"}] { f(input.review.object).a }', "metadata/labels", {"a": "b"}),
    "through a function of a library": ("violation[{\"msg\": \"m\"}] { data.lib.l.f(input.review) }", "metadata/labels", {"a": "b"}),
    "through a function by another name": ("import data.lib.l.f as g\ng2(x) = x.kind\nviolation[{\"msg\": \"m\"}] { g(input.review) }", "metadata/labels", {"a": "b"}),
    "through a function that gives it back": ('f(o) = o\nviolation[{"msg": "m"}] { f(input.review.object).status.x }', "status", {"x": 1}),
    "through an else branch": ('f(o) = "" { o.spec.no } else = o.status.x\nviolation[{"msg": "m"}] { f(input.review.object) == "z" }', "status", {"x": "z"}),
    "by object.get": ('violation[{"msg": "m"}] { object.get(input.review.object, ["metadata", "labels", "a"], "") == "b" }', "metadata/labels", {"a": "b"}),
    "by object.get with a computed key": ('violation[{"msg": "m"}] { k := "status"; object.get(input.review.object, k, 1) != 1 }', "status", {"x": 1}),
    "in a comprehension": ('violation[{"msg": "m"}] { count([1 | input.review.object.metadata.labels[_]]) > 0 }', "metadata/labels", {"a": "b"}),
    "in a pattern of arguments": ('f([o, _]) = o.status\nviolation[{"msg": "m"}] { f([input.review.object, 1]) }', "status", {"x": 1}),
    "unified": ('violation[{"msg": "m"}] { x = input.review.object; x.status.x == "z" }', "status", {"x": "z"}),
    "negated": ('violation[{"msg": "m"}] { not input.review.object.metadata.labels }', "metadata/labels", {"a": "b"}),
    "whether it is there, in a name": ('violation[{"msg": "m"}] { x := input.review.object.status }', "status", {"x": 1}),
    "whether it is there, in no name": ('violation[{"msg": "m"}] { _ := input.review.object.status }', "status", {"x": 1}),
    "whether it is there, for an unused argument": ('f(_) = true\nviolation[{"msg": "m"}] { f(input.review.object.status) }', "status", {"x": 1}),
    "whether it is there, for an argument of two": ('f(x, y) = x\nviolation[{"msg": "m"}] { f(1, input.review.object.status) }', "status", {"x": 1}),
    "whether it is there, with an output": ('f(x) = 1\nviolation[{"msg": "m"}] { f(input.review.object.status, o); o == 1 }', "status", {"x": 1}),
    "whether it is there, in a closure": ('violation[{"msg": "m"}] { count([1 | y := input.review.object.status]) == 1 }', "status", {"x": 1}),
    "whether it is there, in a library": ("violation[{\"msg\": \"m\"}] { data.lib.l.g(input.review) }", "status", {"x": 1}),
    "what exempts": ('exempt { _ := input.review.object.metadata.annotations["exempt"] }\n'
                     'violation[{"msg": "m"}] { input.review.object.spec.containers; not exempt }', "metadata/annotations", {"exempt": ""}),
    "the head": ('violation[{"msg": "m", "details": input.review.object.metadata.labels}] { true }', "metadata/labels", {"a": "b"}),
}
LIBRARY = "package lib.l\nf(r) { r.object.metadata.labels.a }\ng(r) { x := r.object.status }"


@pytest.mark.parametrize("case", READ)
def test_whatever_rego_reads_makes_a_difference(case: str) -> None:
    body, path, value = READ[case]
    documents = rego(body, **({"libs": [LIBRARY]} if "data.lib" in body else {}))
    policies = PolicySet.load(documents)
    before, after = named("a"), named("a")
    before["metadata"].pop("labels", None)
    after["metadata"].pop("labels", None)
    changed(path, value)(after)
    for document in (before, after):
        again = decide(Request.create(document), {}, policies, Context(now=NOW))
        anew = decide(Request.create(document), {}, PolicySet.load(documents), Context(now=NOW))
        assert (again.verdict, again.results) == (anew.verdict, anew.results)
    said = [decide(Request.create(document), {}, policies, Context(now=NOW)).results for document in (before, after)]
    assert said[0] != said[1]


READ_BY_CEL = {
    "a name": ("object.metadata.name != 'z'", "metadata/name", "z"),
    "whether there are labels": ("!has(object.metadata.labels)", "metadata/labels", {"a": "b"}),
    "all of metadata": ("object.metadata.all(k, k != 'uid')", "metadata/uid", None),
    "the object": ("object.all(k, k != 'status')", "status", {}),
    "by an index": ("!('a' in object['metadata'].?labels.orValue({}))", "metadata/labels", {"a": "b"}),
    "by a computed index": ("[0].all(i, ['status'].all(k, !(k in object)))", "status", {}),
    "dynamically": ("!has(dyn(object).status)", "status", {}),
    "the request's name": ("request.name != 'z'", "metadata/name", "z"),
}


@pytest.mark.parametrize("make", [cel, lambda text: native(validations=[{"expression": text, "message": "m"}])])
@pytest.mark.parametrize("case", READ_BY_CEL)
def test_whatever_cel_reads_makes_a_difference(case: str, make: Callable[[str], list[Json]]) -> None:
    expression, path, value = READ_BY_CEL[case]
    policies = PolicySet.load(make(expression))
    before, after = named("a"), named("a")
    for document in (before, after):
        document["metadata"].pop("labels", None)
    changed(path, value)(after)
    outcomes = [[result.outcome for result in decide(Request.create(document), {}, policies, Context(now=NOW)).results]
                for document in (before, after)]
    assert sorted(outcomes) == [[Outcome.FAIL], [Outcome.PASS]]


def test_who_asks_and_how_makes_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(rego('violation[{"msg": msg}] { msg := input.review.userInfo.username }'), monkeypatch)
    for username in ("ann", "bob", "ann"):
        decision = counted.ask(Request(**{**fields(Request.create(named("a"))), "user": User(username=username)}))
        assert [result.message for result in decision.results] == [username]
    assert counted.evaluated == 2
    counted = Counted(rego('violation[{"msg": msg}] { msg := sprintf("%v %v %v", [input.review.operation, '
                           'input.review.namespace, object.get(input.review, "subResource", "")]) }'), monkeypatch)
    said = [counted.ask(Request(**{**fields(Request.create(named("a"))), **changes})).results[0].message for changes in (
        {}, {"operation": "UPDATE", "old_object": named("a")}, {"namespace": "other"}, {"subresource": "status"})]
    assert said == ["CREATE shop ", "UPDATE shop ", "CREATE other ", "CREATE shop status"]
    assert counted.evaluated == 4


def fields(request: Request) -> Json:
    return {name: getattr(request, name) for name in request.__struct_fields__}


def test_the_object_as_it_was_makes_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(rego('violation[{"msg": "m"}] { input.review.oldObject.spec.hostNetwork }'), monkeypatch)
    for old, outcome in ((named("a"), Outcome.PASS), (named("a", hostNetwork=True), Outcome.FAIL)):
        request = Request(**{**fields(Request.create(named("a"))), "operation": "UPDATE", "old_object": old})
        assert [result.outcome for result in counted.ask(request).results] == [outcome]


@pytest.mark.parametrize("odd", [None, "x", 7, [], {}, {"labels": None}, {"labels": {}}, {"labels": {"a": None}},
                                 {"labels": "a"}, {"labels": ["a"]}])
def test_nothing_and_what_is_no_map_are_not_the_same(odd: Any) -> None:
    documents = rego('violation[{"msg": msg}] { msg := json.marshal(object.get(input.review.object, ["metadata", "labels"], "none")) }')
    policies = PolicySet.load(documents)
    for metadata in ({"labels": {"b": "c"}}, odd, {"name": "x"}):
        document = {**named("a"), "metadata": metadata}
        request = Request(**{**fields(Request.create(named("a"))), "object": document})
        again = decide(request, {}, policies, Context(now=NOW))
        anew = decide(request, {}, PolicySet.load(documents), Context(now=NOW))
        assert again.results == anew.results


@pytest.mark.parametrize("documents", [
    rego('violation[{"msg": msg}] { msg := sprintf("%v", [time.now_ns()]) }'),
    rego('violation[{"msg": msg}] { msg := sprintf("%v", [rand.intn("x", 9)]) }'),
    rego('violation[{"msg": "m"}] { print(input.review.object.spec) }'),
    rego('violation[{"msg": "m"}] { input.review.object.spec with input as {"review": {}} }'),
    rego('violation[{"msg": "m"}] { data.inventory.namespace.shop }'),
    rego('violation[{"msg": "m"}] { external_data({"provider": "p", "keys": ["a"]}) }'),
    rego('violation[{"msg": "m"}] { custody.evidence("nginx").image }'),
    native(validations=[{"expression": "namespaceObject.metadata.name == 'shop'", "message": "m"}]),
    native(validations=[{"expression": "evidence('nginx').image == ''", "message": "m"}]),
    rego('violation[{"msg": "m"}] { crypto.x509.parse_and_verify_certificates(input.review.object.spec.pem)[0] }'),
    pattern({"pattern": {"spec": {"=(hostNetwork)": "false"}}}),
    cel("time.now() > timestamp('2020-01-01T00:00:00Z')"), cel("random() != ''"),
    cel("namespaceObject.metadata.name == 'shop'"), cel("resource.Get('v1', 'pods', 'shop', 'a').kind != ''"),
    pattern({"message": "m", "deny": {"conditions": {"all": [
        {"key": "{{ time_now() }}", "operator": "Equals", "value": ""}]}}})])
def test_what_depends_on_more_than_the_request_is_not_remembered(documents: list[Json]) -> None:
    [rule, *_] = PolicySet.load(documents).of(Phase.VALIDATE)
    assert rule.areas() is None


def test_pods_made_of_other_objects_are_evaluated_each_time() -> None:
    """Their labels and names are those of a template, which are not where a pod's are."""
    documents = cel("'app' in object.metadata.?labels.orValue({})",
                    autogen={"podControllers": {"controllers": ["replicationcontrollers"]}},
                    matchConstraints={"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                                                         "resources": ["pods"]}]})
    policies = PolicySet.load(documents)
    assert [rule.areas() is None for rule in policies.of(Phase.VALIDATE)] == [False, True]
    outcomes = []
    for labels in ({"app": "a"}, {}):
        document = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r", "namespace": "shop"}, "spec": {
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
        decision = decide(Request.create(document), {}, policies, Context(now=NOW))
        outcomes.append({result.outcome for result in decision.results})
    assert (Outcome.FAIL in outcomes[0], Outcome.FAIL in outcomes[1]) == (False, True)


def test_what_was_looked_up_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was thought of it before: a rule that asks is asked again."""
    documents = rego('violation[{"msg": "m"}] { data.inventory.namespace.shop }')
    counted = Counted(documents, monkeypatch)
    [rule] = counted.policies.of(Phase.VALIDATE)
    monkeypatch.setattr(rule, "areas", recall.Areas)
    for held, outcome in (({}, Outcome.PASS), ({"namespace": {"shop": {"a": 1}}}, Outcome.FAIL)):
        decision = counted.ask(named("a"), {Inventory(): Answered(held)})
        assert [result.outcome for result in decision.results] == [outcome]
    assert counted.evaluated == 2


def test_an_error_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(rego('violation[{"msg": 7}] { input.review.object.spec }'), monkeypatch)
    assert [counted.ask(named("a")).results[0].outcome for _ in range(2)] == [Outcome.ERROR, Outcome.ERROR]
    assert counted.evaluated == 2


def test_what_is_long_is_not_kept_and_what_is_old_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(rego('violation[{"msg": msg}] { msg := input.review.object.spec.words }'), monkeypatch)
    for _ in range(2):
        counted.ask(named("a", words="w" * 5000))
    assert counted.evaluated == 2
    monkeypatch.setattr(recall, "_MOST", 3)
    for number in range(10):
        counted.ask(named("a", words=str(number)))
    assert len(counted.policies.recall._known) <= 3


def test_ever_other_violations_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(rego('violation[{"msg": msg}] { msg := input.review.object.spec.words }'), monkeypatch)
    monkeypatch.setattr(recall, "_HEAVIEST", 10_000)
    for number in range(50):
        counted.ask(named("a", words=f"{number:1000}"))
        memory = counted.policies.recall
        assert memory._weight == sum(said.weight for said in memory._known.values()) <= 10_000
    assert counted.evaluated == 50
    counted.ask(named("b", words=f"{49:1000}"))
    assert counted.evaluated == 50


def test_threads_remember_together() -> None:
    documents = rego('violation[{"msg": msg}] { msg := input.review.object.spec.words }')
    policies = PolicySet.load(documents)

    def judged(number: int) -> bool:
        words = str(number % 37)
        [result] = decide(Request.create(named(f"p{number}", words=words)), {}, policies, Context(now=NOW)).results
        return (result.message, result.resource) == (words, f"Pod/shop/p{number}")

    before, recall._MOST = recall._MOST, 5
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(judged, range(2000)))
    finally:
        recall._MOST = before
    assert policies.recall._weight == sum(said.weight for said in policies.recall._known.values())


def test_another_process_remembers_for_itself() -> None:
    policies = PolicySet.load(rego(SPEC))
    decide(Request.create(named("a")), {}, policies, Context(now=NOW))
    assert policies.recall._known
    assert not pickle.loads(pickle.dumps(policies.recall))._known


def test_exceptions_are_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    excepting = {"apiVersion": "policies.kyverno.io/v1", "kind": "PolicyException", "metadata": {"name": "e", "namespace": "shop"},
                 "spec": {"policyRefs": [{"name": "p", "kind": "ValidatingPolicy"}],
                          "matchConditions": [{"name": "n", "expression": "object.metadata.name == 'b'"}]}}
    counted = Counted([*cel("!has(object.spec.hostNetwork)"), excepting], monkeypatch)
    outcomes = [[result.outcome for result in counted.ask(named(name, hostNetwork=True)).results] for name in "aba"]
    assert outcomes == [[Outcome.FAIL], [Outcome.SKIP], [Outcome.FAIL]]


def test_namespaces_are_looked_at_each_time() -> None:
    documents = [template(f"package labels\n{SPEC}"),
                 constraint(match={"namespaceSelector": {"matchLabels": {"env": "prod"}}})]
    policies = PolicySet.load(documents)
    question = next(iter(decide(Request.create(named("a", hostNetwork=True)), {}, policies,
                                Context(now=NOW)).asks.questions))
    for labels, judged in (({"env": "prod"}, 1), ({"env": "test"}, 0), ({"env": "prod"}, 1)):
        decision = decide(Request.create(named("a", hostNetwork=True)), {}, policies, Context(now=NOW),
                          answers={question: Answered(labels)})
        assert len(decision.results) == judged


@pytest.mark.parametrize("seed", range(20))
def test_random_pods_get_what_they_would_get_anew(seed: int) -> None:
    dice = Random(seed)
    documents = [
        *rego(SPEC + '\nviolation[{"msg": msg}] { c := input.review.object.spec.containers[_]; not c.safe; '
              'msg := sprintf("%v in %v", [c.name, input.review.object.metadata.name]) }'),
        *cel("object.spec.containers.all(c, c.?safe.orValue(false)) || 'x' in object.metadata.?labels.orValue({})"),
        *[{**policy, "metadata": {"name": "q"}} for policy in pattern({"pattern": {"metadata": {"labels": {"x": "?*"}}}})]]
    policies, written = PolicySet.load(documents), copy.deepcopy(documents)
    for _ in range(60):
        document = named(dice.choice("ab"), hostNetwork=dice.choice([True, False]))
        document["metadata"]["labels"] = dice.choice([{}, {"x": "1"}, {"x": ""}, {"y": "1"}])
        document["spec"]["containers"] = [{"name": dice.choice("cd"), "safe": dice.choice([True, False, 1, 1.0, None])}
                                          for _ in range(dice.randrange(3))]
        again = decide(Request.create(document), {}, policies, Context(now=NOW))
        anew = decide(Request.create(document), {}, PolicySet.load(written), Context(now=NOW))
        assert again == anew
