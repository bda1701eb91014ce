"""What the real OPA 1.22.2 answered, a call for each class in which a builtin had been wrong."""

# ruff: noqa: E501, RUF001 - a table of odd texts

from __future__ import annotations

from typing import Any

import pytest

from policylang.budget import Meter
from policylang.rego.builtins import BUILTINS
from policylang.rego.declare import BuiltinError, Context
from policylang.rego.values import UNDEFINED, Set, compact
from policylang.rego.values.numbers import read

ERROR = "error"


@pytest.mark.parametrize(("name", "operands", "answer"), [
    ("plus", [read("0.1"), read("0.2")], "0.3"), ("div", [1, 3], "0.33333333333333333334"), ("div", [0, -5], "-0"),
    ("plus", [read("1234567.5"), 0], "1.2345675e+06"), ("plus", [read("1e3"), 0], "1000"),
    ("abs", [read("18446744073709551617")], "18446744073709551616"), ("floor", [read("-0.5")], "0"),
    ("ceil", [read("-0.5")], "1"), ("round", [read("-0.5")], "-1"), ("sum", [[read("0.1"), read("0.2")]], "0.3"),
    ("product", [[read("0.1"), 3]], "0.30000000000000004"), ("json.marshal", [read("1.0")], '"1.0"'),
    ("json.unmarshal", ["[1.0,1e400,0.1e1]"], "[1.0,1e400,0.1e1]"), ("bits.rsh", [1024, 2**64 + 1], "512"),
    ("yaml.unmarshal", ["[1.0, 1e400, 12345678901234567890123]"], '[1,"1e400",1.2345678901234568e+22]'),
    ("yaml.marshal", [read("12345678.25")], '"1.234567825e+07\\n"'), ("yaml.marshal", ["𐐀"], '"\\"\\\\U00010400\\"\\n"'),
    ("yaml.marshal", [{"🙂": True, "aaaa": False}], '"\\"\\\\U0001F642\\": true\\naaaa: false\\n"'),
    ("yaml.marshal", ["\x7f"], ERROR), ("yaml.unmarshal", ["null: 1"], ERROR), ("yaml.unmarshal", ["!foo 1"], '"1"'),
    ("yaml.unmarshal", ["%YAML 1.2\n---\na"], ERROR), ("yaml.unmarshal", ["!!set {a}"], '{"a":null}'),
    ("sprintf", ["%d", [read("2.0")]], '"%!d(float64=2)"'), ("sprintf", ["%v", [[read("1.0"), read("1e3")]]], '"[1.0, 1e3]"'),
    ("sprintf", ["%v", [["\x00\x07é\ufeff"]]], '"[\\"\\\\x00\\\\aé\\\\ufeff\\"]"'), ("upper", ["ᾳ"], '"ᾼ"'),
    ("glob.match", ["[a-c-e]", [], "a"], ERROR), ("glob.match", ["a\\", [], "a"], ERROR),
    ("regex.match", ["\\C", "a"], ERROR), ("regex.split", ["", ""], "[]"), ("regex.globs_match", [".*", "xΑΣ+"], "true"),
    ("regex.template_match", ["{", "ab", "é", "é"], ERROR), ("semver.is_valid", ["v1.2.3"], "true"),
    ("uuid.parse", ["(0c4c1ca4-8fe1-4db3-a6ab-7f4b6e4aa2c3)"], '{"variant":"RFC4122","version":4}'),
    ("uri.is_valid", ["http://%41/"], "false"), ("uri.parse", [" b"], '{"path":" b","raw_path":" b"}'),
    ("net.cidr_merge", [["192.168.2.0/23", "::ffff:1.2.3.4"]], '["1.2.3.4/8","192.168.2.0/23"]'),
    ("net.cidr_merge", [["::/0", "10.0.0.0/08"]], '["::/0"]'), ("net.cidr_contains_matches", ["x", []], "[]"),
    ("io.jwt.decode", ["eyJhbGciOiJIUzI1NiIsImVuYyI6ImEifQ.e30.e30"], ERROR), ("io.jwt.verify_hs256", ["a.b.", ""], "false"),
    ("io.jwt.verify_rs256", ["ΐ", "null"], ERROR), ("crypto.parse_private_keys", ["aaaa"], "[]"),
    ("crypto.x509.parse_rsa_private_key", ["aaaa"], "null"), ("object.subset", [[], []], "true"), ("object.subset", [[1], Set.of([])], "true"), ("object.subset", [[], Set.of([])], "false"),
    ("object.subset", [[1, 1], Set.of([1, 2])], "true"), ("object.get", [{"l": [10, 20]}, ["l", read("1.0")], 0], "20"),
    ("or", [Set.of([1]), Set.of([read("1.0")])], "[1]"), ("union", [Set.of([Set.of([read("1.0")]), Set.of([1, 2])])], "[1.0,2]"),
    ("net.cidr_merge", [["10.0.0.0/8", "::ffff:10.0.0.1/128"]], '["10.0.0.0/8","10.0.0.1/32"]'), ("net.cidr_is_valid", ["10.0.0.0/008"], "true"),
    ("yaml.marshal", [{"": 1, "*": 2}], '"\\"\\": 1\\n\'*\': 2\\n"'), ("yaml.unmarshal", ["184467440713709551615"], "184467440713709550000"),
    ("json.verify_schema", [{"$ref": ""}], "[true,null]"), ("strings.render_template", ["\u3000{{- .a -}} x", {"a": 2}], '"\u30002x"'),
    ("base64.is_valid", ["aGk"], "false"),
    ("crypto.x509.parse_and_verify_certificates_with_options", ["x", {"no": 1}], "[false,[]]"),
    ("json.verify_schema", [{"multipleOf": 0}], '[false,"jsonschema: multipleOf must be strictly greater than 0"]'),
    ("json.verify_schema", [{"exclusiveMinimum": True}],
     '[false,"jsonschema: exclusiveMinimum cannot be used without minimum"]'),
    ("json.verify_schema", [{"exclusiveMaximum": "1"}],
     '[false,"jsonschema: Invalid type. Expected: boolean/number, given: exclusiveMaximum"]'),
    ("json.match_schema", ["[3]", {"items": {"minimum": 5, "exclusiveMinimum": True}}],
     '[false,[{"desc":"Must be greater than 5","error":"0: Must be greater than 5","field":"0",'
     '"type":"number_gt"}]]'),
    ("strings.render_template", ["a {{/* }} */}} b{{- /* */ -}} c", {}], '"a  bc"'),
    ("strings.render_template", ["{{/* c *}/}}", {}], ERROR), ("strings.render_template", ["{{/* c */ }}", {}], ERROR),
    ("strings.render_template", ['{{"a}}b"}}{{`}}`}}', {}], '"a}}b}}"'),
    ("strings.render_template", ["{{ /* c */}}", {}], ERROR),
    ("strings.render_template", ["{{$x := .a}}{{$x}}", {"a": {"b": [1]}}], '"map[b:[1]]"'),
    ("strings.render_template", ["{{eq .a 1}}", {"a": 1}], ERROR), ("strings.render_template", ["{{.a}}", {"a": None}],
                                                                    '"\\u003cundefined\\u003e"'),
    ("time.format", [[1709164800000000000, "UTC", ""]], '"2024-02-29T00:00:00Z"'),
    ("yaml.unmarshal", ["!!timestamp 2001-12-14t21:59:43.10-05:00"], '"2001-12-14T21:59:43.1-05:00"'),
    ("time.clock", [read("1.00000000000000000001")], "[0,0,0]"),
])
def test_answers(name: str, operands: list[Any], answer: str) -> None:
    function = BUILTINS[name]
    try:
        value = function.call(*([Context(Meter())] if function.context else []), *operands)
    except BuiltinError:
        assert answer == ERROR
        return
    assert answer == ("undefined" if value is UNDEFINED else compact(value))


def test_bytes_that_are_no_text_are_kept() -> None:
    raw = BUILTINS["base64.decode"].call("/w==")
    assert BUILTINS["hex.encode"].call(raw) == "ff"
    assert compact(raw) == '"\ufffd"'
