"""`custody rego fmt`: what it prints, keeps and refuses; modules of OPA's cases come out as `opa fmt` prints them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from policylang.rego.syntax.format import formatted
from policylang.source import Source, SourceError
from tests.conftest import oracle, peer
from tests.languages.rego_tools.test_commands import custody

MESSY = '''package   a.b["c-d"]
import data.z   as zz
import data.b # about b
# the first rule

p   =  x if   {
  x := 1+(2*3) # six
  # a comment of its own


  (x + y) > 2; input["a"].b
  not   startswith( x , "a" ) with input.q as {
     "k": 1, "l": 2,
     # about m
     "m": 3 }
  every k,v in {"a":1} { v==1 }
  z := [ y |
      some y in input.ys
      y > 1 ]
} else = 2 if { input.y }
else = 3
q contains m if m := sprintf("%v", ["x"])
default r = false
r if { true }
# the end
'''
NEAT = '''package a.b["c-d"]

import data.b # about b
import data.z as zz

# the first rule

p := x if {
	x := 1 + (2 * 3) # six

	# a comment of its own

	x + y > 2
	input.a.b
	not startswith(x, "a") with input.q as {
		"k": 1, "l": 2,
		# about m
		"m": 3,
	}
	every k, v in {"a": 1} { v == 1 }
	z := [y |
		some y in input.ys
		y > 1
	]
} else := 2 if input.y

else := 3

q contains m if m := sprintf("%v", ["x"])

default r := false

r := true

# the end
'''


def test_one_style() -> None:
    assert formatted(Source(MESSY)) == NEAT


def test_imports_after_rules_and_a_byte_order_mark() -> None:
    text = ("\ufeffpackage a\n# one\np := foo.x\n# two\nimport data.foo # three\n\nq := 1\nr := 2\n"
            "import data.foo as b\nimport data.c\n# four\n")
    made = formatted(Source(text))
    assert made == ("package a\n\n# one\np := foo.x\n\n# two\nimport data.foo # three\n\nq := 1\nr := 2\n\n"
                    "import data.c\nimport data.foo as b\n\n# four\n")
    assert formatted(Source(made)) == made


def test_it_is_its_own_fixed_point() -> None:
    assert formatted(Source(NEAT)) == NEAT


@pytest.mark.peer
def test_opa_has_the_same_style() -> None:
    done = subprocess.run([peer("opa"), "fmt"], input=NEAT, capture_output=True, text=True, check=True)
    assert done.stdout == NEAT


def test_v0_keeps_its_syntax() -> None:
    assert formatted(Source('package a\np[x]{x:=1}\nq = 2 { input.x\n}'), 0) == (
        "package a\n\np[x] {\n\tx := 1\n}\n\nq = 2 {\n\tinput.x\n}\n")


def test_what_would_move_a_comment_is_refused() -> None:
    with pytest.raises(SourceError, match="would move a comment") as caught:
        formatted(Source("package a\n\np if {\n\tx := 1 + # why\n\t\t2\n\tx > 1\n}\n"))
    assert (caught.value.line, caught.value.column) == (4, 11)


def test_flags(tmp_path: Path) -> None:
    messy, neat = tmp_path / "messy.rego", tmp_path / "neat.rego"
    messy.write_text(MESSY)
    neat.write_text(NEAT)
    assert custody("fmt", "-l", str(tmp_path)).stdout == f"{messy}\n"
    assert custody("fmt", "-d", "--fail", str(tmp_path)).return_value == 3
    assert "+p := x if {" in custody("fmt", "-d", str(messy)).stdout
    assert custody("fmt", given=MESSY).stdout == NEAT
    assert custody("fmt", "-w", str(tmp_path)).return_value == 0
    assert messy.read_text() == NEAT
    messy.write_text("package")
    assert custody("fmt", str(messy)).return_value == 2


@pytest.mark.peer
def test_modules_come_out_as_from_opa(tmp_path: Path) -> None:
    root = oracle("opa-cases") / "v1/test/cases/testdata/v1"
    modules = sorted({module for path in root.rglob("*.yaml")
                      for case in yaml.load(path.read_text(), yaml.CSafeLoader)["cases"]
                      for module in case.get("modules") or []})[::4]
    for at, module in enumerate(modules):
        (tmp_path / f"{at}.rego").write_bytes(module.encode())
    subprocess.run([peer("opa"), "fmt", "-w", str(tmp_path)], check=True, capture_output=True)
    same = 0
    for at, module in enumerate(modules):
        try:
            mine = formatted(Source(module))
        except SourceError:
            continue
        assert formatted(Source(mine)) == mine, module
        same += mine.encode() == (tmp_path / f"{at}.rego").read_bytes()
    assert same / len(modules) > 0.95


def test_rego_fmt_parens_grow() -> None:
    """What is printed is printed the same again; parentheses stand where OPA sets them, whatever the author did."""
    messy = ('package play\n\nimport rego.v1\n\nfirst := {"one"}\nsecond := {"two"}\n\n'
             "example contains msg if { msg := (first | second)[_] }\n\nc := [x | x := ((first & second))[_]]\n")
    text = formatted(Source(messy))
    assert "example contains msg if msg := (first | second)[_]\n" in text
    assert "c := [x | x := (first & second)[_]]\n" in text
    assert formatted(Source(text)) == text


SIGNS = {  # as written → as OPA prints it
    "x := 1 + 2 + 3": "x := (1 + 2) + 3", "x := 1 + (2 * 3)": "x := 1 + (2 * 3)", "x == ((1 + 2))": "x == 1 + 2",
    "(1 + 1) in [2]": "(1 + 1) in [2]", "f((1 + 2))": "f(1 + 2)", "x := (1, 2 in [3])": "x := (1, 2 in [3])",
    "1, (2 in [3]) in [true]": "1, (2 in [3]) in [true]", "x := [(1 - 1) - 1]": "x := [(1 - 1) - 1]",
    "x := a | b & c": "x := a | (b & c)", 'y := {"a": 1,\n"b": 2}': 'y := {\n\t\t"a": 1,\n\t\t"b": 2,\n\t}',
    "y := [1,\n2, 3]": "y := [\n\t\t1,\n\t\t2, 3,\n\t]",
    "f([1,\n2], 3)": "f(\n\t\t[\n\t\t\t1,\n\t\t\t2,\n\t\t],\n\t\t3,\n\t)"}


@pytest.mark.parametrize("written", SIGNS)
def test_signs_and_lists(written: str) -> None:
    text = formatted(Source(f"package a\n\np if {{\n\t{written}\n\ttrue\n}}\n"))
    assert text == f"package a\n\np if {{\n\t{SIGNS[written]}\n\ttrue\n}}\n"
    assert formatted(Source(text)) == text
