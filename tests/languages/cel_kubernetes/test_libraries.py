"""What Kubernetes' libraries give, by expression: a value, or the words of the error."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from policylang.cel import DYN, CelError, CompileError
from policylang.cel.cost.tally import CostExceeded
from policylang.cel.kubernetes import MINORS, admission, env
from policylang.cel.kubernetes.costs import COSTS, Budget
from policylang.cel.kubernetes.objects import misnamed
from policylang.cel.kubernetes.schemas import escape
from policylang.cel.libraries.kubernetes.authorizer import Attributes, AuthorizerValue, Decision, User, resource_check
from policylang.errors import InputError

ENV = env()
_SEEN = '"[1] [2]".findAll("[0-9]"'


@pytest.mark.parametrize(("expression", "value"), [
    ("[1, 2, 3].sum()", 6), ("[1.5, 2.5].sum()", 4.0),
    ("[duration('1m'), duration('1s')].sum() == duration('61s')", True),
    ("[].sum() == 0", True), ("[3, 1].max()", 3), ("['b', 'a'].min()", "a"), ("[1, 1, 2].isSorted()", True),
    ("[2, 1].isSorted()", False), ("[1, 2, 1].lastIndexOf(1)", 2), ("[1, 2].indexOf(3)", -1),
    ("'abc 12'.find('[0-9]+')", "12"), ("'abc'.find('[0-9]+')", ""), (f"{_SEEN})", ["1", "2"]), (f"{_SEEN}, 1)", ["1"]),
    (f"{_SEEN}, 0)", []), ("'aaa'.findAll('a*')", ["aaa"]),
    ("url('https://u@[::1]:8080/a%20b?k=1&k=2#f').getHost()", "[::1]:8080"),
    ("url('https://[::1]:8080/').getHostname()", "::1"), ("url('https://a:80/').getPort()", "80"),
    ("url('/a b').getEscapedPath()", "/a%20b"), ("url('https://a/?k=1&k=2').getQuery()", {"k": ["1", "2"]}),
    ("isURL('../x')", False), ("url('https://a/') == url('https://a/')", True),
    ("quantity('1Gi').compareTo(quantity('1024Mi'))", 0), ("quantity('50k').asInteger()", 50000),
    ("quantity('1.5').isInteger()", False), ("quantity('100m').asApproximateFloat()", 0.1),
    ("quantity('50k').add(20).isLessThan(quantity('50.1k'))", True), ("quantity('1').sub(quantity('500m')) == "
                                                                   "quantity('0.5')", True),
    ("sign(quantity('-1'))", -1), ("isQuantity('10q')", False),
    ("ip('::1').isLoopback()", True), ("ip('10.0.0.1').family()", 4), ("string(ip('2001:db8:0::1'))", "2001:db8::1"),
    ("ip.isCanonical('2001:DB8::1')", False), ("isIP('1.2.3.4.5')", False),
    ("ip('127.0.0.1') == ip('127.0.0.1')", True),
    ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", True), ("cidr('10.0.0.0/8').containsCIDR('9.0.0.0/7')", False),
    ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", True), ("cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", True),
    ("string(cidr('::/0'))", "::/0"), ("cidr('::/12').prefixLength()", 12), ("isCIDR('::/129')", False),
    ("semver('1.2.3-rc.1').isLessThan(semver('1.2.3'))", True), ("semver('v01.2', true).minor()", 2),
    ("isSemver('v1.0.0')", False), ("semver('1.0.0+a') == semver('1.0.0+b')", True),
    ("format.dns1123Label().validate('a-b').hasValue()", False),
    ("format.dns1123Label().validate('a.b').value()", ["must not contain dots"]),
    ("format.named('uuid').value().validate('x').value()", ["does not match the UUID format"]),
    ("format.named('nope').hasValue()", False), ("format.date().validate('2023-02-29').value()", ["invalid date"]),
    ("format.byte().validate('aGVsbG8=').hasValue()", False), ("format.labelValue().validate('').hasValue()", False),
    ("format.qualifiedName().validate('/x').value()", ["prefix part must be non-empty"]),
    ("sets.contains([1, 2], [1])", True), ("[1, 2].transformList(i, v, i + v)", [1, 3]), ("[3, 1].sort()", [1, 3]),
    ("type(quantity('1')) == kubernetes.Quantity", True), ("type(ip('::1')) == net.IP", True),
])
def test_a_value(expression: str, value: Any) -> None:
    assert ENV.compile(expression)({}) == value


@pytest.mark.parametrize(("expression", "words"), [
    ("[].max()", "max called on empty list"),
    ("'a'.find(dyn('['))", "Illegal regex: error parsing regexp: missing closing ]: `[`"),
    ("url('../x')", 'URL parse error during conversion from string: parse "../x": invalid URI for request'),
    ("quantity('1Kx')", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
    ("quantity('1.5').asInteger()", "cannot convert value to integer"),
    ("ip('1.2')",
     'IP Address "1.2" parse error during conversion from string: ParseAddr("1.2"): IPv4 address too short'),
    ("ip('::ffff:1.2.3.4')", 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
    ("ip('fe80::1%eth0')", 'IP address "fe80::1%eth0" with zone value is not allowed'),
    ("cidr('10.0.0.0')", "network address parse error during conversion from string: network address parse error "
                         "during conversion from string: netip.ParsePrefix(\"10.0.0.0\"): no '/'"),
    ("semver('1.2')", "No Major.Minor.Patch elements found"),
])
def test_an_error(expression: str, words: str) -> None:
    with pytest.raises(CelError) as raised:
        ENV.compile(expression)({})
    assert raised.value.message == words


@pytest.mark.parametrize(("expression", "since"), [
    ("isIP('::1')", "1.30"), ("format.uuid() == format.uuid()", "1.31"), ("[1].all(i, v, v > i)", "1.32"),
    ("isSemver('1.0.0')", "1.33"), ("[1].sort() == [1]", "1.34"),
])
def test_each_minor_version_has_its_libraries(expression: str, since: str) -> None:
    for version in MINORS:
        if version < since:
            with pytest.raises(CompileError):
                env(version).compile(expression)
        else:
            assert env(version).compile(expression)({}) is True


def test_a_version_that_is_not_known_is_refused() -> None:
    with pytest.raises(InputError, match=r"got an unknown version, expected one of 1\.30"):
        env("1.99")


def test_types_of_admission() -> None:
    at = admission(composed={})
    with pytest.raises(CompileError, match="undefined field 'nope'"):
        at.check("request.nope")
    with pytest.raises(CompileError, match="undeclared reference to 'params'"):
        at.check("params.x")
    at.declare("replicas", DYN)
    assert at.compile("variables.replicas > 1 && request.operation == 'CREATE'")(
        {"variables": {"replicas": 2}, "request": {"operation": "CREATE"}}) is True


def test_patches_are_data() -> None:
    at = admission(patch=True)
    program = at.compile('[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b~c"), value: "x"}]')
    assert str(program.result) == "list(JSONPatch)"
    assert program({}) == [{"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "x"}]
    program = at.compile('Object{spec: Object.spec{replicas: 1}}')
    assert (str(program.result), program({})) == ("Object", {"spec": {"replicas": 1}})
    assert misnamed(program({})) == []
    wrong = at.compile("Object{spec: Object.spec{a: [Object.spec.b{}], c: Object.nope{}}}")({})
    assert misnamed(wrong) == [
        f'unexpected type name "{name}", expected "{path}", which matches field name path from root Object type'
        for name, path in (("Object.spec.b", "Object.spec.a"), ("Object.nope", "Object.spec.c"))]
    assert at.compile("Object{a: 1}.a == 1 && has(Object{a: 1}.a) && !has(Object{}.a)")({}) is True


class _Allows:
    """An authorizer that allows one verb, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Attributes] = []

    def authorize(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        return Decision(attributes.verb == "get", "because")


def test_an_authorizer_is_asked_through_its_port() -> None:
    at, port = admission(authorized=True), _Allows()
    given = {"authorizer": AuthorizerValue(port, User("jane")),
             "authorizer.requestResource": resource_check(port, User("jane"), "apps", "deployments", "", "ns", "web")}
    asked = ("authorizer.group('apps').resource('deployments').namespace('ns').name('web').fieldSelector('a=b')"
             ".check('get').allowed()")
    assert at.compile(asked)(given) is True
    assert at.compile("authorizer.requestResource.check('create').reason()")(given) == "because"
    assert at.compile("authorizer.serviceAccount('ns', 'sa').path('/healthz').check('get').errored()")(given) is False
    assert port.asked == [
        Attributes(User("jane"), "get", "", "apps", "deployments", "", "ns", "web", "a=b"),
        Attributes(User("jane"), "create", "", "apps", "deployments", "", "ns", "web"),
        Attributes(User("system:serviceaccount:ns:sa", ("system:serviceaccounts", "system:serviceaccounts:ns")), "get",
                   "/healthz"),
    ]
    for wrong, words in (("authorizer.path(' ')", "path must not be empty"),
                         ("authorizer.group('').resource('')", "resource must not be empty"),
                         ("authorizer.serviceAccount('ns', 'A')", "Invalid service account name"),
                         ("authorizer.serviceAccount('n.s', 'a')", "Invalid service account namespace")):
        with pytest.raises(CelError) as raised:
            at.compile(wrong)(given)
        assert raised.value.message == words


def test_programs_travel_to_workers() -> None:
    program = pickle.loads(pickle.dumps(admission(composed={"x": DYN}).compile("quantity(variables.x).isInteger()")))
    assert program({"variables": {"x": "1"}}) is True


@pytest.mark.parametrize(("name", "escaped"), [
    ("plain", "plain"), ("namespace", "__namespace__"), ("a-b.c/d", "a__dash__b__dot__c__slash__d"),
    ("a__b", "a__underscores__b"), ("1a", None), ("a b", None), ("", None),
])
def test_property_names_are_escaped(name: str, escaped: str | None) -> None:
    assert escape(name) == escaped


def test_expressions_share_a_budget() -> None:
    at = admission()
    cheap = at.compile("object.x > 1", cost=COSTS)
    dear = at.compile("object.xs.all(a, object.xs.all(b, a + b >= 0))", cost=COSTS)
    wrong = at.compile("object.nope", cost=COSTS)
    given = {"object": {"x": 2, "xs": list(range(100))}}
    budget = Budget(total=10_000, per_call=5_000)
    assert budget.evaluate(cheap, given) is True
    assert budget.left == 10_000 - 3
    with pytest.raises(CelError, match=r"expression 'object\.nope' resulted in error: no such key: nope"):
        budget.evaluate(wrong, given)
    with pytest.raises(CelError, match="resulted in error: operation cancelled: actual cost limit exceeded"):
        budget.evaluate(dear, given)
    with pytest.raises(CostExceeded, match="running out of cost budget, no further validation rules will be run"):
        budget.evaluate(dear, given)
