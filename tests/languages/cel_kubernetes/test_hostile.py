"""Libraries under inputs that try to stall them, fill memory, or come out somewhere else."""

from __future__ import annotations

import zlib

import pytest

from policylang.budget import BudgetExceeded, Limits
from policylang.cel import DYN, CelError, CompileError
from policylang.cel.cost.tally import CostExceeded
from policylang.cel.kubernetes import admission, env
from policylang.cel.kubernetes.costs import COSTS
from policylang.cel.kyverno import env as kyverno

ENV = env(variables={"x": DYN})
LONG = "a" * 1_000_000


TEXTS = {"letters": LONG, "odd end": f"{LONG}!", "dots": "a." * 500_000, "dashes": "a-" * 500_000,
         "signs": "=" * 1_000_000, "digits": "9" * 1_000_000, "numbers": "1." * 500_000,
         "colons": "::" * 500_000, "escapes": "%41" * 300_000}
FORMATS = ("dns1123Label", "dns1123Subdomain", "dns1035Label", "qualifiedName", "labelValue", "uri", "uuid", "byte",
           "date", "datetime")
READERS = ("isQuantity(x)", "isIP(x)", "isCIDR(x)", "isSemver(x)", "isSemver(x, true)", "isURL(x)", "isImage(x)")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", FORMATS)
def test_formats_take_linear_time(name: str, text: str) -> None:
    refused = name != "byte" or text not in ("letters", "digits")  # which are base64
    assert ENV.compile(f"format.{name}().validate(x).hasValue()")({"x": TEXTS[text]}) is refused


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("call", READERS)
def test_long_texts_are_read_or_refused_at_once(call: str, text: str) -> None:
    assert kyverno().extended({"x": DYN}).compile(call)({"x": TEXTS[text]}) in (True, False)


def test_exponents_do_not_become_large_numbers() -> None:
    program = ENV.compile("quantity(x).add(quantity('1n')).isGreaterThan(quantity('1'))")
    assert program({"x": "1e4000"}) is True
    with pytest.raises(CelError, match="unable to parse quantity's suffix"):
        program({"x": "1e5000"})


def test_a_gzip_bomb_is_stopped_by_the_budget() -> None:
    squeeze = zlib.compressobj(9, wbits=31)
    bomb = squeeze.compress(b"\0" * (64 << 20)) + squeeze.flush()
    program = kyverno().extended({"x": DYN}).compile("gzip.decompress(x).size()", limits=Limits(size=1 << 20))
    with pytest.raises(BudgetExceeded):
        program({"x": bomb})


@pytest.mark.parametrize("pattern", ["(a*)*$", "(a|aa)+$", "(.*)(.*)(.*)(.*)x", "(?:a?){50}a{50}"])
def test_patterns_take_linear_time(pattern: str) -> None:
    assert ENV.compile("x.find('" + pattern + "') != x + x")({"x": LONG[:100_000]}) is True


def test_a_pattern_with_too_large_a_program_is_an_error() -> None:
    with pytest.raises(CelError, match="Illegal regex"):
        ENV.compile("'a'.find(x)")({"x": "((a{100}){100}){100}"})


def test_cost_stops_an_evaluation() -> None:
    program = admission().compile("object.xs.all(a, object.xs.all(b, object.xs.all(c, a + b + c >= 0)))", cost=COSTS,
                                  limits=Limits(steps=10_000_000))
    given = {"object": {"xs": list(range(300))}}
    with pytest.raises(CostExceeded, match="operation cancelled: actual cost limit exceeded"):
        program.measure(given, limit=1_000_000)


@pytest.mark.parametrize("expression", [
    "request.__class__", "object.__class__.__mro__", "''.__class__", "ip('::1').__class__", "ip('::1').value",
    "quantity('1').digits", "quantity('1').parse()", "semver('1.0.0').version", "url('/').url",
    "format.uuid().validate", "__import__('os')", "authorizer.port", "resource.world", "json.__init__",
    "image('ab').registry",
])
def test_there_is_no_way_out(expression: str) -> None:
    for at in (admission(authorized=True), kyverno()):
        try:
            with pytest.raises(CelError):
                at.compile(expression)({"object": {}, "request": {}})
        except CompileError:
            continue


@pytest.mark.parametrize("text", ["json.unmarshal(x)", "yaml.parse(x)"])
def test_deep_documents_are_refused(text: str) -> None:
    program = kyverno().extended({"x": DYN}).compile(text)
    for document in ("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000):
        with pytest.raises((CelError, BudgetExceeded)):
            program({"x": document})
