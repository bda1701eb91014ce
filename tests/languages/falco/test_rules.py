"""Rule files: what is defined, appended, overridden and excepted, and every way in which loading fails."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policylang import falco
from policylang.errors import LanguageError
from policylang.source import SourceError

_RULE = "- rule: r\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n"
_MACRO = "- macro: m\n  condition: evt.type=open\n"
_LIST = "- list: l\n  items: [a, b]\n"


def _rule(condition: str, name: str = "r", more: str = "") -> str:
    return f"- rule: {name}\n  desc: d\n  output: o\n  priority: INFO\n  condition: {condition}\n{more}"


def _true(text: str, **event: Any) -> bool:
    event = {name.replace("_", "."): value for name, value in event.items()}
    return bool(falco.load(text).compile()("open", event))


def _warnings(text: str) -> set[str]:
    return {each.code for each in falco.load(text).warnings}


# --- what falco -V refuses: kind, words, line and column -------------------------------------------------------------

@pytest.mark.parametrize(("text", "kind", "reason", "place"), [
    ("a: [", "LOAD_ERR_YAML_PARSE", "did not find expected node content", (1, 5)),
    ("- a: 1\n -b", "LOAD_ERR_YAML_PARSE", "did not find expected '-' indicator", (2, 2)),
    ("- !x a", "LOAD_ERR_YAML_PARSE", "tag !x is not supported", (1, 3)),
    ("- *x", "LOAD_ERR_YAML_PARSE", "", (1, 3)),
    ("- [[[[[[[[[[1]]]]]]]]]]", "LOAD_ERR_YAML_PARSE", "nesting deeper than 8 levels", (1, 10)),
    ("- list: a\n  items: []\n  items: []", "LOAD_ERR_YAML_PARSE", "key 'items' stands twice", (3, 3)),
    ("- ? [a]\n  : b", "LOAD_ERR_YAML_PARSE", "a key must be a text", (1, 7)),
    ("text", "LOAD_ERR_YAML_VALIDATE", "Rules content is not yaml", (1, 1)),
    ("a: b", "LOAD_ERR_YAML_VALIDATE", "Rules content is not yaml array of objects", (1, 1)),
    ("- text", "LOAD_ERR_YAML_VALIDATE", "Unexpected element type. Each element should be a yaml associative array.",
     (1, 3)),
    ("- foo: bar", "LOAD_UNKNOWN_ITEM", "Unknown top level item", (1, 3)),
    (f"{_RULE}  prio: x\n", "LOAD_UNKNOWN_KEY", "Unknown key 'prio' in rule item", (6, 3)),
    (f"{_MACRO}  items: []\n", "LOAD_UNKNOWN_KEY", "Unknown key 'items' in macro item", (3, 3)),
    (f"{_LIST}  condition: x\n", "LOAD_UNKNOWN_KEY", "Unknown key 'condition' in list item", (3, 3)),
    (_RULE.replace("  output: o\n", ""), "LOAD_ERR_YAML_VALIDATE", "Item has no mapping for key 'output'", (1, 3)),
    (_RULE.replace("output: o", "output:"), "LOAD_ERR_YAML_VALIDATE", "Mapping for key 'output' is empty", (1, 3)),
    (_RULE.replace("output: o", 'output: ""'), "LOAD_ERR_YAML_VALIDATE", "Value must be non-empty", (4, 11)),
    (_RULE.replace("output: o", "output: [o]"), "LOAD_ERR_YAML_VALIDATE", "Value is not a scalar value", (4, 11)),
    (_RULE.replace("INFO", "LOUD"), "LOAD_ERR_YAML_VALIDATE", "Invalid priority", (5, 13)),
    (f"{_RULE}  enabled: maybe\n", "LOAD_ERR_YAML_VALIDATE", "Can't decode YAML scalar value", (6, 12)),
    (f"{_RULE}  capture_duration: -1\n", "LOAD_ERR_YAML_VALIDATE", "Can't decode YAML scalar value", (6, 21)),
    (f"{_RULE}  tags: a\n", "LOAD_ERR_YAML_VALIDATE", "Value is not a sequence", (6, 9)),
    (f"{_RULE}  tags: [[a]]\n", "LOAD_ERR_YAML_VALIDATE", "sequence value is not scalar", (6, 10)),
    ("- list: l", "LOAD_ERR_YAML_VALIDATE", "Item has no mapping for key 'items'", (1, 3)),
    ("- list: l(\n  items: []", "LOAD_ERR_YAML_VALIDATE", "List has an invalid name. List names must match", (1, 3)),
    ("- macro: a-b\n  condition: x", "LOAD_ERR_YAML_VALIDATE", "Macro has an invalid name. Macro names must", (1, 3)),
    ("- macro: a\n", "LOAD_ERR_YAML_VALIDATE", "Item has no mapping for key 'condition'", (1, 3)),
    ("- rule: a\n", "LOAD_ERR_YAML_VALIDATE", "Item has no mapping for key 'enabled'", (1, 3)),
    ("- required_engine_version: x", "LOAD_ERR_YAML_VALIDATE", "Unable to parse engine version 'x' as a semver string. "
     "Expected \"x.y.z\" semver format.", (1, 3)),
    ("- required_engine_version: 0.99.0", "LOAD_ERR_VALIDATE", "Rules require engine version 0.99.0, but engine "
     "version is 0.63.0", (1, 3)),
    ("- required_engine_version: 1.0.0", "LOAD_ERR_VALIDATE", "Rules require engine version 1.0.0", (1, 3)),
    ("- required_plugin_versions: a", "LOAD_ERR_YAML_VALIDATE", "Value of required_plugin_versions must be a sequence",
     (1, 29)),
    ("- required_plugin_versions: [a]", "LOAD_ERR_YAML_VALIDATE", "Plugin version must be a mapping", (1, 30)),
    ("- required_plugin_versions: [{name: a}]", "LOAD_ERR_YAML_VALIDATE", "Item has no mapping for key 'version'",
     (1, 30)),
    ("- required_plugin_versions: [{name: a, version: x}]", "LOAD_ERR_VALIDATE", "Invalid required version 'x' for "
     "plugin 'a'", (1, 30)),
    ("- required_plugin_versions: [{name: a, version: 1.0.0, alternatives: x}]", "LOAD_ERR_YAML_VALIDATE",
     "Value of plugin version alternatives must be a sequence", (1, 70)),
    ("- required_plugin_versions: [{name: a, version: 1.0.0, alternatives: [x]}]", "LOAD_ERR_YAML_VALIDATE",
     "Plugin version alternative must be a mapping", (1, 71)),
    ("- required_plugin_versions: [{name: a, version: 1.0.0, alternatives: [{name: a, version: 1.0.0}]}]",
     "LOAD_ERR_VALIDATE", "Defined multiple alternative version requirements for plugin 'a'", (1, 30)),
    ("- list: l\n  items: [a]\n  append: true", "LOAD_ERR_VALIDATE", "List uses 'append' or 'override.items: append' "
     "but no list by that name already exists", (1, 3)),
    ("- macro: l\n  condition: a\n  append: true", "LOAD_ERR_VALIDATE", "Macro uses 'append' or 'override.condition: "
     "append' but no macro by that name already exists", (1, 3)),
    ("- rule: l\n  condition: a\n  append: true", "LOAD_ERR_VALIDATE", "Rule uses 'append' or 'override.<key>: append' "
     "but no rule by that name already exists", (1, 3)),
    ("- rule: l\n  condition: a\n  override: {condition: replace}", "LOAD_ERR_VALIDATE", "An 'override.<key>: replace' "
     "to a rule was requested but no rule by that name already exists", (1, 3)),
    ("- rule: l\n  enabled: false", "LOAD_ERR_VALIDATE", "Rule has 'enabled' key but no rule by that name already "
     "exists", (1, 3)),
    (f"{_RULE}- rule: r\n  append: true\n", "LOAD_ERR_VALIDATE", "Appended rule must have exceptions or condition "
     "property", (6, 3)),
    (f"{_RULE}- rule: r\n  append: true\n  condition: a\n  override: {{condition: append}}", "LOAD_ERR_YAML_VALIDATE",
     "Keys 'override' and 'append: true' cannot be used together.", (6, 3)),
    (f"{_RULE}- rule: r\n  override: {{condition: append}}", "LOAD_ERR_YAML_VALIDATE", "An append override for "
     "'condition' was specified but 'condition' is not defined", (6, 3)),
    (f"{_RULE}- rule: r\n  condition: a\n  desc: x\n  override: {{condition: append}}", "LOAD_ERR_YAML_VALIDATE",
     "Unexpected key 'desc': no corresponding entry under 'override' is defined.", (8, 9)),
    (f"{_RULE}- rule: r\n  priority: INFO\n  override: {{priority: append}}", "LOAD_ERR_YAML_VALIDATE",
     "Key 'priority' cannot be appended to, use 'replace' instead", (8, 24)),
    (f"{_RULE}- rule: r\n  source: syscall\n  override: {{source: replace}}", "LOAD_ERR_YAML_VALIDATE",
     "Key 'source' cannot be replaced", (8, 22)),
    (f"{_RULE}- rule: r\n  desc: x\n  override: {{desc: prepend}}", "LOAD_ERR_YAML_VALIDATE",
     "Invalid override operation for key 'desc': 'prepend'. Allowed values are: append replace", (8, 20)),
    (f"{_RULE}- rule: r\n  desc: x\n  override: desc", "LOAD_ERR_YAML_VALIDATE", "Value of override must be a mapping",
     (8, 13)),
    (f"{_RULE}{_RULE}  source: k8s_audit\n", "LOAD_ERR_VALIDATE", "Rule has been re-defined with a different source",
     (6, 3)),
    (_rule("evt.type=open and nope"), "LOAD_ERR_VALIDATE", "Undefined macro 'nope' used in filter.", (5, 32)),
    ("- macro: a\n  condition: b\n- macro: b\n  condition: evt.type=open\n", "LOAD_ERR_VALIDATE",
     "Undefined macro 'b' used in filter.", (2, 14)),
    ("- macro: a\n  condition: a\n- macro: a\n  condition: or a\n  append: true", "LOAD_ERR_VALIDATE",
     "reference loop in macro 'a'", (2, 14)),
    (_rule("evt.type=open and"), "LOAD_ERR_COMPILE_CONDITION", "expected blank or '(' after 'and'", (5, 31)),
    (_rule(">\n    evt.type=open\n    and proc.nam=x"), "LOAD_ERR_COMPILE_CONDITION",
     "filter_check called with nonexistent field proc.nam", (7, 9)),
    (_rule("'proc.name=''a'' and (x'"), "LOAD_ERR_COMPILE_CONDITION", "expected a ')' token", (5, 37)),
    (f"{_LIST}{_rule('proc.name in (l) and proc.nam=x')}", "LOAD_ERR_COMPILE_CONDITION",
     "filter_check called with nonexistent field proc.nam", (7, 35)),
    ("- macro: m\n  condition: fd.num = x\n- rule: r\n  desc: d\n  output: o\n  priority: INFO\n  condition: m\n",
     "LOAD_ERR_COMPILE_CONDITION", "x is not a valid number", (2, 23)),
    (_RULE.replace("output: o", "output: a %proc.nam b"), "LOAD_ERR_COMPILE_OUTPUT",
     "invalid formatting token proc.nam b", (4, 14)),
    (_RULE.replace("output: o", "output: a %"), "LOAD_ERR_COMPILE_OUTPUT",
     "invalid formatting syntax: formatting cannot end with a %", (4, 13)),
    (_RULE.replace("output: o", "output: a %10"), "LOAD_ERR_COMPILE_OUTPUT",
     "invalid formatting syntax: formatting cannot end with a number", (4, 13)),
    (_RULE.replace("output: o", "output: '%toupper(fd.num)'"), "LOAD_ERR_COMPILE_OUTPUT",
     "can't add field transformer: type 'INT64' is not supported by 'toupper' transformer", (4, 13)),
    (f"{_RULE}  exceptions: x\n", "LOAD_ERR_YAML_VALIDATE", "Rule exceptions must be a sequence", (6, 15)),
    (f"{_RULE}  exceptions: [x]\n", "LOAD_ERR_YAML_VALIDATE", "Rule exception must be a mapping", (6, 16)),
    (f"{_RULE}  exceptions: [{{fields: [proc.name]}}]\n", "LOAD_ERR_YAML_VALIDATE",
     "Item has no mapping for key 'name'", (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a}}]\n", "LOAD_ERR_YAML_VALIDATE", "Item has no mapping for key 'fields'",
     (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name]}}, {{name: a, fields: [proc.name]}}]\n",
     "LOAD_ERR_YAML_VALIDATE", "Exceptions names in the same object must be unique", (6, 48)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name], comps: [=, =]}}]\n", "LOAD_ERR_VALIDATE",
     "Fields and comps lists must have equal length", (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name], comps: [like]}}]\n", "LOAD_ERR_VALIDATE",
     "'like' is not a supported comparison operator", (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.nam]}}]\n", "LOAD_ERR_VALIDATE",
     "'proc.nam' is not a supported filter field", (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: proc.name, comps: [in]}}]\n", "LOAD_ERR_VALIDATE",
     "Fields and comps must both be strings", (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: proc.name, comps: =}}]\n", "LOAD_ERR_VALIDATE",
     "When fields is a single value, comps must be one of (in, pmatch, intersects)", (6, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name], values: x}}]\n", "LOAD_ERR_YAML_VALIDATE",
     "Rule exception values must be a sequence", (6, 55)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name], values: [[a, b]]}}]\n", "LOAD_ERR_VALIDATE",
     "Fields and values lists must have equal length", (6, 56)),
    (f"{_RULE}  exceptions: [{{name: a, fields: proc.name, values: [[a]]}}]\n", "LOAD_ERR_VALIDATE",
     "Expected values array to contain a list of strings", (6, 54)),
    (f"{_RULE}- rule: r\n  append: true\n  exceptions: [{{name: a, values: [[x]]}}]\n", "LOAD_ERR_VALIDATE",
     "Rule exception must have fields property with a list of fields", (8, 16)),
    (f"{_RULE}- rule: r\n  append: true\n  exceptions: [{{name: a, fields: [proc.name]}}]\n", "LOAD_ERR_VALIDATE",
     "Rule exception must have values property with a list of values", (8, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name]}}]\n- rule: r\n  append: true\n  exceptions: [{{name: a, "
     "fields: [proc.name], values: [[x]]}]\n", "LOAD_ERR_VALIDATE",
     "Can not append exception fields to existing exception, only values", (9, 16)),
    (f"{_RULE}  exceptions: [{{name: a, fields: [proc.name]}}]\n- rule: r\n  append: true\n  exceptions: [{{name: a, "
     "comps: [=], values: [[x]]}]\n", "LOAD_ERR_VALIDATE",
     "Can not append exception comps to existing exception, only values", (9, 16)),
])
def test_refused(text: str, kind: str, reason: str, place: tuple[int, int]) -> None:
    with pytest.raises(SourceError) as caught:
        falco.load({"rules.yaml": text})
    assert (caught.value.kind, (caught.value.line, caught.value.column)) == (kind, place)
    assert caught.value.reason.startswith(reason)
    assert str(caught.value).startswith(f"rules.yaml:{place[0]}:{place[1]}: ")


def test_errors_name_the_file_they_are_in() -> None:
    first = "- macro: m\n  condition: proc.name = a\n"
    with pytest.raises(SourceError, match=r"^b.yaml:3:18: filter_check called with nonexistent field x.y"):
        falco.load({"a.yaml": first, "b.yaml": "- macro: m\n  append: true\n  condition: and x.y = 1\n" + _rule("m")})


# --- lists, macros --------------------------------------------------------------------------------------------------

def test_lists_are_texts() -> None:
    text = ("- list: shells\n  items: [sh, '\"my shell\"', your shell]\n- list: more\n  items: [shells, zsh]\n"
            "- list: none\n  items: []\n- list: one\n  items: [fish]\n")
    rule = _rule("proc.name in (x, none, more , none) or proc.name = one or fd.name in (none)")
    assert falco.load(text + rule).lists["more"] == ("sh", '"my shell"', "your shell", "zsh")
    for name in ("sh", "my shell", "your shell", "zsh", "x", "fish"):
        assert _true(text + rule, proc_name=name)
    for name in ("shells", "none", "y"):
        assert not _true(text + rule, proc_name=name)
    assert not _true(text + rule, fd_name="none")


def test_a_list_is_put_in_at_delimiters_only() -> None:
    text = "- list: sh\n  items: [a, b]\n"
    assert _true(text + _rule("proc.name in (sh)"), proc_name="a")
    assert _true(text + _rule("proc.name = bash or fd.name = x.sh"), fd_name="x.sh")
    assert _true(text + _rule("proc.name in (ash,sh,\n   zsh)"), proc_name="b")


def test_lists_of_lists_to_any_depth_and_no_loops() -> None:
    text = "".join(f"- list: l{n}\n  items: [l{n - 1}, v{n}]\n" for n in range(1, 20))
    assert _true("- list: l0\n  items: [v0]\n" + text + _rule("proc.name in (l19)"), proc_name="v0")
    with pytest.raises(SourceError, match="reference loop in list 'a'"):
        falco.load("- list: a\n  items: [x]\n- list: a\n  items: [a]\n  append: true\n")


def test_growing_lists_and_macros_are_refused() -> None:
    twice = "".join(f"- list: l{n}\n  items: [l{n - 1}, l{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(SourceError, match="more than 100000 items"):
        falco.load("- list: l0\n  items: [v]\n" + twice)
    textual = "".join(f"- list: k{n}\n  items: ['k{n + 1},k{n + 1}']\n" for n in range(40)) + _rule("proc.name in (k0)")
    with pytest.raises(SourceError, match="longer than"):
        falco.load(textual)
    macros = "- macro: m0\n  condition: evt.type = open\n" + "".join(
        f"- macro: m{n}\n  condition: (m{n - 1} and fd.num = {n}) or (m{n - 1} and fd.num != {n})\n"
        for n in range(1, 40))
    with pytest.raises(SourceError, match="more than 20000 checks"):
        falco.load(macros)
    chain = "- macro: m0\n  condition: evt.type = open\n" + "".join(
        f"- macro: m{n}\n  condition: not m{n - 1}\n" for n in range(1, 3000))
    with pytest.raises(SourceError, match="exceeded max depth limit"):
        falco.load(chain)


def test_macros() -> None:
    text = "- macro: a\n  condition: proc.name = x\n- macro: b\n  condition: (a or proc.name = y)\n"
    text += _rule("b and not c") + (
        "- macro: c\n  condition: fd.num = 1\n- macro: c\n  condition: or fd.num = 2\n  append: true\n"
        "- macro: a\n  condition: proc.name = z\n")
    assert _true(text, proc_name="z")
    assert _true(text, proc_name="y")
    assert not _true(text, proc_name="x")
    assert not _true(text, proc_name="y", fd_num=2)
    assert _warnings(text) == {"LOAD_DEPRECATED_ITEM", "LOAD_NO_EVTTYPE"}
    assert _warnings(_RULE + _MACRO + _LIST) == {"LOAD_UNUSED_MACRO", "LOAD_UNUSED_LIST"}


@pytest.mark.parametrize("name", ["lambda", "None", "class", "import", "__name__".strip("_"), "get", "found"])
def test_names_that_are_python_s(name: str) -> None:
    assert _true(f"- macro: {name}\n  condition: proc.name = {name}\n" + _rule(name), proc_name=name)


# --- rules ----------------------------------------------------------------------------------------------------------

def test_keys_of_a_rule() -> None:
    text = _RULE.replace("INFO", "informational") + (
        "  tags: [b, a, b]\n  enabled: false\n  capture: true\n  capture_duration: 500\n  capture_events: 3\n"
        "  capture_filesize: 9\n  warn_evttypes: false\n  skip-if-unknown-filter: true\n  source: syscall\n")
    rule = falco.load(text)["r"]
    assert (rule.level, rule.priority, rule.tags, rule.enabled) == ("Informational", 6, ("a", "b"), False)
    assert (rule.capture, rule.capture_duration, rule.capture_events, rule.capture_filesize) == (True, 500, 3, 9)
    assert not falco.load(text).compile()("open", {})
    with pytest.raises(KeyError):
        falco.load(text)["s"]


def test_append_and_override() -> None:
    more = ("- rule: r\n  condition: and proc.name = x\n  output: more\n  desc: e\n  tags: [t]\n  priority: ERROR\n"
            "  enabled: false\n  override: {condition: append, output: append, desc: append, tags: append, "
            "priority: replace, enabled: replace}\n")
    rule = falco.load(_RULE + more)["r"]
    assert rule.text == "evt.type=open and proc.name = x"
    assert (rule.description, rule.level, rule.tags, rule.enabled) == ("d e", "Error", ("t",), False)
    assert rule.output.text({}) == "o more"
    assert falco.load(_RULE + more + "- rule: r\n  enabled: true\n")["r"].enabled
    replaced = _RULE + "- rule: r\n  condition: evt.type=close\n  override: {condition: replace}\n"
    assert falco.load(replaced)["r"].text == "evt.type=close"
    appended = _RULE + "- rule: r\n  append: true\n  condition: or evt.type=close\n"
    assert falco.load(appended)["r"].text == "evt.type=open or evt.type=close"
    lists = _LIST + "- list: l\n  items: [c]\n  override: {items: append}\n- list: l\n  items: [d]\n  append: true\n"
    assert falco.load(lists).lists["l"] == ("a", "b", "c", "d")
    assert falco.load(lists + "- list: l\n  items: [e]\n  override: {items: replace}\n").lists["l"] == ("e",)


def test_exceptions() -> None:
    text = _RULE + """\
  exceptions:
  - name: both
    fields: [proc.name, fd.name]
    comps: [=, startswith]
    values:
    - [a, /x]
    - ["b c", /y]
  - name: default
    fields: [proc.pname, fd.num]
    values:
    - [p, 7]
  - name: lists
    fields: [proc.name, fd.name]
    comps: [in, pmatch]
    values:
    - [[q, "r s"], [/v, /w]]
    - [t, /u]
  - name: scalar
    fields: user.name
    values: [root, "my user"]
  - name: modified
    fields: [proc.cmdline]
    comps: [contains anyof]
    values:
    - [[foo, bar]]
  - name: transformed
    fields: [tolower(proc.cwd)]
    values:
    - [/home]
  - name: later
    fields: [proc.exe]
  - name: empty
    fields: [proc.exe]
    values: []
"""
    text += "- rule: r\n  append: true\n  exceptions: [{name: later, values: [[e]]}]\n"
    excepted = [{"proc.name": "a", "fd.name": "/xx"}, {"proc.name": "b c", "fd.name": "/y"}, {"user.name": "root"},
                {"proc.pname": "p", "fd.num": 7}, {"proc.name": "r s", "fd.name": "/w/z"}, {"user.name": "my user"},
                {"proc.name": "t", "fd.name": "/u"}, {"proc.cmdline": "a foo"}, {"proc.cwd": "/HOME"},
                {"proc.exe": "e"}]
    matcher = falco.load(text).compile()
    for event in excepted:
        assert not matcher("open", event), event
    for event in [{}, {"proc.name": "a"}, {"proc.name": "b c", "fd.name": "/x"}, {"proc.pname": "p", "fd.num": 8},
                  {"user.name": "other"}, {"proc.cmdline": "baz"}]:
        assert matcher("open", event), event
    replaced = text + ("- rule: r\n  exceptions: [{name: x, fields: user.name, values: [u]}]\n"
                       "  override: {exceptions: replace}\n")
    assert falco.load(replaced).compile()("open", {"user.name": "root"})
    assert not falco.load(replaced).compile()("open", {"user.name": "u"})
    assert "LOAD_APPEND_NO_VALUES" in _warnings(text + "- rule: r\n  append: true\n  exceptions: [{name: later}]\n")


def test_unknown_filters_may_be_skipped() -> None:
    for broken in (_rule("proc.nobody = x"), _rule("evt.type = nothing"),
                   _RULE.replace("output: o", "output: '%no.field'")):
        assert _warnings(broken + "  skip-if-unknown-filter: true\n") == {"LOAD_UNKNOWN_FILTER"}
        assert falco.load(broken + "  skip-if-unknown-filter: true\n").rules == ()
        with pytest.raises(SourceError):
            falco.load(broken)
    with pytest.raises(SourceError):
        falco.load(_rule("fd.num = x") + "  skip-if-unknown-filter: true\n")


def test_warnings() -> None:
    assert _warnings(_RULE + "  source: cloud\n") == {"LOAD_UNKNOWN_SOURCE"}
    assert _warnings(_rule("proc.name = x")) == {"LOAD_NO_EVTTYPE"}
    assert _warnings(_rule("proc.name = x", more="  warn_evttypes: false\n")) == set()
    assert _warnings(_rule("not evt.type = open")) == {"LOAD_NO_EVTTYPE"}
    assert _warnings(_rule("evt.type = open or proc.name = x")) == {"LOAD_NO_EVTTYPE"}
    assert _warnings(_rule("not (evt.type != open or proc.name = x)")) == set()
    assert _warnings(_rule('evt.type = open and not proc.name in ("<NA>")')) == {"LOAD_UNSAFE_NA_CHECK"}
    assert _warnings(_rule("evt.type = open and proc.name = proc.pname")) == {"LOAD_COMPILE_CONDITION"}
    assert _warnings(_RULE.replace("output: o", "output: a %container.info")) == {"LOAD_DEPRECATED_ITEM"}
    assert _warnings(_RULE.replace("output: o", "output: a %evt.dir")) == {"LOAD_DEPRECATED_ITEM"}
    assert falco.load({"x.yaml": _MACRO}).warnings[0].place == "x.yaml:1:3"


def test_versions() -> None:
    loaded = falco.load("- required_engine_version: 15\n- required_engine_version: 0.57.0\n"
                        "- required_plugin_versions:\n  - {name: a, version: 0.7.0}\n"
                        "  - {name: b, version: 1.0.0, alternatives: [{name: c, version: 2.0.0-rc1}]}\n")
    assert loaded.required_engine_version == (0, 57, 0)
    assert loaded.required_plugin_versions == ((("a", "0.7.0"),), (("b", "1.0.0"), ("c", "2.0.0-rc1")))


def test_string_operators_on_lists_in_rule_files_for_old_engines() -> None:
    rule = _rule("ka.user.groups contains admin", more="  source: k8s_audit\n")
    event = {"kind": "Event", "stage": "x", "user": {"groups": ["a", "my-admins"]}}
    assert falco.load("- required_engine_version: 2\n" + rule).compile("k8s_audit")("pluginevent", event)
    with pytest.raises(SourceError, match="operator not supported list filters"):
        falco.load(rule)


def test_documents_and_empty_files() -> None:
    assert falco.load("").rules == ()
    assert falco.load("# nothing\n---\n---\n-\n").rules == ()
    assert len(falco.load(f"---\n{_RULE}---\n{_RULE.replace('rule: r', 'rule: s')}").rules) == 2
    assert len(falco.load([_RULE, _RULE.replace("rule: r", "rule: s").encode()]).rules) == 2


@pytest.mark.parametrize("text", [
    b"\xff", b"- rule: a\0", "- rule: \ud800", b"- list: a\n  items: [" + b"a, " * 1_500_000])
def test_bytes_that_are_no_rules(text: bytes | str) -> None:
    with pytest.raises(LanguageError):
        falco.load(text)


@given(st.lists(st.sampled_from(["- ", "rule", ": ", "r", "\n", "  ", "[", "]", "{", "}", "condition", "&a ", "*a", "'",
                                 '"', ">", "|", "!t ", "? ", "items", "macro", "list", "override", "append", "true",
                                 "evt.type=open", "exceptions", "name", "fields", "values", "output", "%", "desc"]),
                max_size=40).map("".join))
def test_hostile_files(text: str) -> None:
    with suppress(LanguageError):
        falco.load(text)


_AUDIT = "- rule: r\n  desc: d\n  condition: ka.verb=get\n  output: o\n  priority: INFO\n  source: k8s_audit\n"
_CHANGES = {
    "redefined": "- rule: r\n  desc: d\n  condition: evt.num>1\n  output: o\n  priority: INFO\n",
    "appended": "- rule: r\n  condition: and evt.num>1\n  append: true\n",
    "condition appended": "- rule: r\n  condition: and evt.num>1\n  override: {condition: append}\n",
    "condition replaced": "- rule: r\n  condition: evt.num>1\n  override: {condition: replace}\n",
    "output replaced": "- rule: r\n  output: p\n  override: {output: replace}\n",
    "exceptions appended": "- rule: r\n  exceptions: [{name: e, fields: [evt.num], values: [[1]]}]\n"
                           "  override: {exceptions: append}\n",
    "enabled": "- rule: r\n  enabled: false\n",
}


@pytest.mark.parametrize("change", _CHANGES)
def test_falco_append_other_source(change: str) -> None:
    """A rule keeps its source: whatever changes it under another is refused."""
    with pytest.raises(SourceError, match="Rule has been re-defined with a different source") as caught:
        falco.load({"rules.yaml": f"{_AUDIT}{_CHANGES[change]}  source: syscall\n"})
    assert caught.value.kind == "LOAD_ERR_VALIDATE"


@pytest.mark.parametrize("source", ["source: k8s_audit", "source:", 'source: ""'])
def test_a_change_of_the_same_source(source: str) -> None:
    rules = falco.load({"rules.yaml": f"{_AUDIT}- rule: r\n  output: p\n  {source}\n  override: {{output: replace}}\n"})
    assert [(rule.name, rule.source) for rule in rules.rules] == [("r", "k8s_audit")]
