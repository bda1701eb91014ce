"""Kyverno's libraries: values, what asks the world through ports, and policies of Kyverno's own suites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policylang.cel import CelError, CompileError
from policylang.cel.kyverno import KINDS, World, env
from policylang.cel.libraries.kyverno.ports import AnswerError
from policylang.errors import InputError
from tests.conftest import oracle, peer
from tests.languages.cel_kubernetes.expressions import VALUES
from tests.languages.cel_kubernetes.kyverno_cli import ours, recorded, theirs
from tests.languages.cel_kubernetes.policies import rows
from tests.languages.expressions import cel_expressions, wanted

_DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(("expression", "value"), [
    ("image('nginx').registry()", "index.docker.io"), ("image('nginx').repository()", "library/nginx"),
    ("image('nginx').identifier()", "latest"), ("parseImageReference('ghcr.io/a/b:v1').tag()", "v1"),
    (f"image('ghcr.io/a/b:v1@{_DIGEST}').digest()", _DIGEST), (f"image('a/b@{_DIGEST}').containsDigest()", True),
    (f"image('a/b:v1@{_DIGEST}').tag()", ""), ("image('localhost:5000/xy').registry()", "localhost:5000"),
    ("isImage('A/b')", False), ("isImage('docker.io/a')", False), ("isImage('https://ghcr.io/a')", False),
    ("image('docker.io/ab').repository()", "library/ab"),
    ("parseServiceAccount('system:serviceaccount:ns:n').Name", "n"), ("parseServiceAccount('jane').Namespace", ""),
    ("md5('a') == hash.md5('a')", True), ("sha1('abc')", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("math.round(2.5, 0)", 3.0), ("math.round(-1.25, 1)", -1.3), ("math.round(1234.0, -2)", 1200.0),
    ("json.unmarshal('{\"a\": [1, null]}')", {"a": [1.0, None]}), ("json.marshal({'b': 'x', 'a': '<'})",
                                                                  '{"a":"\\u003c","b":"x"}'),
    ("yaml.parse('a: yes\\nb: 1')", {"a": True, "b": 1.0}), ("gzip.decompress(gzip.compress('abc'))", "abc"),
    ("listObjToMap([{'k': 'x'}], [{'v': 1}], 'k', 'v')", {"x": 1}),
    ("time.toCron(timestamp('2024-01-07T03:04:05Z'))", "4 3 7 1 0"),
    ("string(time.truncate(timestamp('2024-01-02T03:04:05Z'), duration('1h')))", "2024-01-02T03:00:00Z"),
    ("object.name.orValue('x')", "a"), ("object.?nope.orValue('x')", "x"), ("object.?name.orValue('x')", "a"),
])
def test_a_value(expression: str, value: Any) -> None:
    assert env().compile(expression)({"object": {"name": "a"}}) == value


@pytest.mark.parametrize(("expression", "words"), [
    ("image('A')", "could not parse reference: A"),
    ("json.unmarshal('{')", "unexpected end of JSON input"),
    ("listObjToMap([{'k': 'x'}], [], 'k', 'v')", "listObjToMap must take lists of equal length. list1: 1, list2: 0"),
    ("x509.decode('x')", "failed to decode PEM block"),
    ("gzip.decompress(b'abc')", "gzip: invalid header"),
    ("resource.Get('v1', 'pods', 'a', 'b')", "resource.Get is not available here"),
    ("http.Get('https://a/')", "http.Get is not available here"),
    ("globalContext.Get('a', '')", "globalContext.Get is not available here"),
    ("image.GetMetadata('a').x", "image.GetMetadata is not available here"),
    ("random()", "random() is not available here"),
    ("time.now()", "time.now() is not available here"),
])
def test_an_error(expression: str, words: str) -> None:
    with pytest.raises(CelError) as raised:
        env().compile(expression)({})
    assert raised.value.message == words


class _Cluster:
    def get(self, api_version: str, resource: str, namespace: str, name: str) -> dict[str, Any]:
        if name == "none":
            raise AnswerError("not found")
        return {"asked": [api_version, resource, namespace, name]}

    def list(self, api_version: str, resource: str, namespace: str, labels: Mapping[str, str] | None) -> dict[str, Any]:
        return {"items": [{"asked": [api_version, resource, namespace, dict(labels or {})]}]}

    def post(self, api_version: str, resource: str, namespace: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"asked": [api_version, resource, namespace], **data}

    def to_gvr(self, api_version: str, kind: str) -> tuple[str, str, str]:
        group, _, version = api_version.rpartition("/")
        return group, version, f"{kind.lower()}s"


class _Web:
    def request(self, method: str, url: str, body: Any, headers: Mapping[str, str], ca_bundle: str) -> Any:
        return {"asked": [method, url, body, dict(headers), ca_bundle]}


class _Fixed:
    def now(self) -> int:
        return 0

    def text(self, pattern: str) -> str:
        return f"like {pattern}"

    def metadata(self, image: str) -> dict[str, Any]:
        return {"image": image}

    def signatures(self, image: str, attestors: list[Any]) -> int:
        return len(attestors)


@pytest.mark.parametrize(("expression", "value"), [
    ("resource.Get('v1', 'pods', 'ns', 'a').asked", ["v1", "pods", "ns", "a"]),
    ("resource.get(resource.toGVR('apps/v1', 'Deployment'), 'ns', 'a').asked", ["apps/v1", "deployments", "ns", "a"]),
    ("resource.List('v1', 'pods', '', {'a': 'b'}).items[0].asked", ["v1", "pods", "", {"a": "b"}]),
    ("resource.post('v1', 'pods', {'x': dyn(1)}).x", 1),
    ("http.Get('https://a/', {'h': 'v'}).asked", ["GET", "https://a/", None, {"h": "v"}, ""]),
    ("http.Client('pem').Post('https://a/', {'x': 1}).asked", ["POST", "https://a/", {"x": 1}, {}, "pem"]),
    ("random('[a-z]{3}')", "like [a-z]{3}"), ("string(time.now())", "1970-01-01T00:00:00Z"),
    ("image.getMetadata('nginx').image", "nginx"),
])
def test_ports_are_asked(expression: str, value: Any) -> None:
    fixed = _Fixed()
    world = World(resources=_Cluster(), http=_Web(), clock=fixed, random=fixed, images=fixed)
    assert env(world=world).compile(expression)({}) == value


def test_what_a_port_refuses_is_an_error() -> None:
    with pytest.raises(CelError, match="failed to get resource: not found"):
        env(world=World(resources=_Cluster())).compile("resource.Get('v1', 'pods', 'ns', 'none')")({})


def test_a_namespaced_policy_sees_its_namespace_only() -> None:
    at = env("NamespacedValidatingPolicy", World(resources=_Cluster()), namespace="ns")
    assert at.compile("resource.Get('v1', 'pods', 'a').asked")({}) == ["v1", "pods", "ns", "a"]
    with pytest.raises(CompileError):
        at.check("resource.Get('v1', 'pods', 'other', 'a')")


def test_each_kind_has_its_own_names() -> None:
    own = {"ImageValidatingPolicy": "verifyImageSignatures(images.containers[0], [attestors.a]) > 0",
           "GeneratingPolicy": "generator.Apply('ns', [{'kind': dyn('x')}])", "MutatingPolicy": "Object{}.x == 1"}
    for kind in KINDS:
        for needed, expression in own.items():
            if kind == needed:
                env(kind).check(expression)
            else:
                with pytest.raises(CompileError):
                    env(kind).check(expression)
    assert env("image").compile("ref.startsWith('ghcr.io/')")({"ref": "ghcr.io/a"}) is True
    with pytest.raises(InputError, match="got policy kind Nope, expected one of"):
        env("Nope")


def test_literals_may_be_mixed_in_generating_policies_only() -> None:
    env("GeneratingPolicy").check("[1, 'a']")
    with pytest.raises(CompileError, match="expected type 'int' but found 'string'"):
        env().check("[1, 'a']")


@pytest.mark.parametrize("name", ["kyverno-policies", "kyverno-cli", "gatekeeper-library"])
def test_every_expression_compiles_and_has_the_type_that_its_place_wants(name: str) -> None:
    wrong, count = [], 0
    for found in cel_expressions(oracle(name)):
        count += 1
        try:
            result = found.env.compile(found.expression).result
            types = wanted(found.path)
            if types and result not in types:
                wrong.append(f"{found.file} {found.path}: {result}")
        except CompileError as refused:
            wrong.append(f"{found.file} {found.path}: {refused}")
    assert count > 50
    assert wrong == []


def test_verdicts_of_validating_policies_are_those_of_kyvernos_tests() -> None:
    found = list(rows(oracle("kyverno-policies")))
    assert len(found) > 150
    assert [row for row in found if row.got != row.expected] == []


# What the extension libraries say in words of a newer cel-go.
@pytest.mark.parametrize(("expression", "says"), recorded())
def test_kyverno_says_the_same(expression: str, says: str) -> None:
    assert ours(expression) == says


def test_everything_is_recorded() -> None:
    assert [expression for expression, _ in recorded()] == list(VALUES)


@pytest.mark.peer
def test_kyverno_says_the_same_today() -> None:
    asked = [(expression, says) for expression, says in recorded() if says.startswith("value")][::3]
    assert theirs(peer("kyverno"), [expression for expression, _ in asked]) == [says for _, says in asked]
