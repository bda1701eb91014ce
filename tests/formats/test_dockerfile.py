"""Dockerfiles in the shape in which conftest hands them to policies; `tests.fuzz.configurations` asks it about more."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import time
from typing import Any

import pytest

from custody.errors import MalformedError
from custody.formats import dockerfile


def commands(text: str) -> list[dict[str, Any]]:
    [made] = dockerfile.commands(text.encode(), "Dockerfile")
    return made


def values(text: str) -> list[Any]:
    return [(command["Cmd"], command["Flags"], command["Value"]) for command in commands(text)]


def test_each_instruction_is_a_command_of_its_stage() -> None:
    made = commands("ARG A=1\nFROM --platform=linux/amd64 a AS b\nFROM c\nONBUILD RUN [\"x\", \"y\"]\n")
    assert [(command["Cmd"], command["Stage"]) for command in made] == [("arg", 0), ("from", 0), ("from", 1), ("onbuild", 1)]
    assert made[1] == {"Cmd": "from", "SubCmd": "", "JSON": False, "Flags": ["--platform=linux/amd64"], "Value": ["a", "AS", "b"], "Stage": 0}
    assert made[3] == {"Cmd": "onbuild", "SubCmd": "RUN", "JSON": True, "Flags": [], "Value": ["x", "y"], "Stage": 1}


def test_lines_go_on_and_comments_stand_before_what_they_are_of() -> None:
    assert values("# syntax=docker/dockerfile:1\n# the base\nFROM a\nRUN x \\\n  # not part\n\n  y\n") == [
        ("comment", None, ["the base"]), ("from", [], ["a"]), ("run", [], ["x   y"])]
    assert values("# escape=`\nFROM a\nRUN x `\n y\\\n")[1] == ("run", [], ["x  y\\"])
    assert values("FROM a\n# far\n#\nRUN x\n") == [("from", [], ["a"]), ("run", [], ["x"])]


@pytest.mark.parametrize(("text", "expected"), [
    ("ENV a=b \"c d\"=e\\ f", ["a", "b", "=", "\"c d\"", "e\\ f", "="]), ("ENV a b c", ["a", "b c", ""]),
    ("CMD [\"a\", \"b\"]", ["a", "b"]), ("CMD ['a']", ["['a']"]), ("CMD []", None), ("COPY a  b c", ["a", "b", "c"]),
    ("HEALTHCHECK --interval=5s CMD x y", ["CMD", "x y"]), ("HEALTHCHECK NONE", ["NONE"]), ("EXPOSE 80 443/udp", ["80", "443/udp"]),
    ("ARG a='b c' d", ["a='b c'", "d"]), ("LABEL a=\"b\\\"c\"", ["a", "\"b\\\"c\"", "="]), ("USER  x ", ["x"])])
def test_values(text: str, expected: list[str] | None) -> None:
    assert commands(f"FROM a\n{text}\n")[-1]["Value"] == expected


def test_flags_lose_their_quotes() -> None:
    made = commands("FROM a\nCOPY --from=\"b c\" --chown=1\\:2 -- x y\n")[-1]
    assert (made["Flags"], made["Value"]) == (["--from=b c", "--chown=1:2"], ["x", "y"])


def test_here_documents_are_no_instructions() -> None:
    assert [name for name, _, _ in values("FROM a\nRUN <<EOF 3<<-'B'\nUSER root\nEOF\nFROM evil\n\tB\nCOPY <<X /y\nFROM z\nX\n")] == [
        "from", "run", "copy"]
    assert [name for name, _, _ in values("FROM a\nUSER <<EOF\nUSER b\n")] == ["from", "user", "user"]


@pytest.mark.parametrize(("text", "reason"), [
    ("", "no instruction"), ("# c\n", "no instruction"), ("FROM a\nFOO b", "unknown instruction FOO"), ("FROM a b", "FROM with 2 arguments"),
    ("FROM a AS 1b", "a stage named 1b"), ("FROM a\nRUN --foo x", "RUN with the flag --foo"), ("FROM a\nCOPY --link=2 a b", "--link with 2"),
    ("FROM a\nCOPY a", "COPY with 1 arguments"), ("FROM a\nENV a", "ENV with one argument"), ("FROM a\nENV =b", "an empty name"),
    ("FROM a\nSHELL x", "SHELL without a JSON array"), ("FROM a\nCMD [1]", "other than texts"), ("FROM a\nRUN --network=x y", "--network=x"),
    ("FROM a\nHEALTHCHECK --interval=1us CMD x", "--interval=1us"), ("FROM a\nONBUILD FROM b", "FROM in ONBUILD"),
    ("FROM a\nRUN <<EOF\nx", "a here-document without EOF"), ("# escape=x\nFROM a", "escape=x"), ("# escape=`\n# escape=`\nFROM a", "escape twice"),
    ("FROM a\nRUN --mount='a\"b' x", "in a list of fields"), ("FROM a\nUSER a" + "b" * 70_000, "a line of")])
def test_what_the_builder_refuses_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        commands(text)


@pytest.mark.parametrize(("text", "reason"), [
    ("ONBUILD " * 5000 + "RUN x", "line 2: got .ONBUILD in ONBUILD"),
    ("RUN <<EOF " + "${a:-" * 5000 + "}" * 5000 + "\nEOF", "line 2: got .more than 100 substitutions one within the other"),
    ("COPY a <<" + "${a:-" * 5000 + "}" * 5000, "substitutions one within the other"),
    ("RUN <<EOF \"" + "${a/b/" * 5000 + "}" * 5000 + "\"\nEOF", "substitutions one within the other")])
def test_what_is_too_deep_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        commands(f"FROM a\n{text}\n")


def test_a_few_substitutions_one_within_the_other() -> None:
    assert [name for name, _, _ in values("FROM a\nRUN <<EOF " + "${a:-" * 50 + "}" * 50 + "\nUSER a\nEOF\n")] == ["from", "run"]


def test_many_comments_take_no_longer_each() -> None:
    begun = time.monotonic()
    assert len(values("# c\n" * 100_000 + "FROM a\n")) == 100_001
    assert time.monotonic() - begun < 5


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedError, match="in UTF-8"):
        dockerfile.commands(b"FROM \xff\n", "Dockerfile")
