"""What `bundle inspect` shows of certificates that say things in no right form: it hides nothing and never fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from custody.cli.run import run
from tests.sign.authority import World, fulcio, utf8

WORLD = World()


@pytest.mark.parametrize(("said", "shown"), [
    (fulcio(9, utf8("https://signer.example")), "https://signer.example"), (fulcio(9, b"no DER"), "no DER"),
    (fulcio(9, utf8("x" * 200)), "x" * 200), (fulcio(9, b"\x0c\x05cut"), "cut"), (fulcio(9, b""), "Build Signer URI"),
    (fulcio(9, b"\x0c\x02\xff\xfe"), "��")])
def test_claims(said: Any, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.json").write_text(json.dumps(WORLD.keyless(more=[said])))
    assert run(["bundle", "inspect", "b.json"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "Build Signer URI" in line]
    assert shown in line
