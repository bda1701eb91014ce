"""fanotify's permission events: what is refused, and that nobody ever waits for a judge who does not answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from custody.adapters.sensors import keeper
from custody.adapters.sensors.fanotify import Fanotify
from tests.conftest import ROOT
from tests.runtime.sensing import works


@pytest.fixture
def case(tmp_path: Path) -> Any:
    works(Fanotify())
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")

    def run(name: str) -> Any:
        finished = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "tests.runtime.fanotified",
             tmp_path, name], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False,
            env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}"})
        if "unshare failed" in finished.stderr:
            pytest.skip(finished.stderr.strip())
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout.splitlines()[-1])

    return run


def test_a_program_with_a_refused_digest_does_not_start(case: Any) -> None:
    assert case("denied") == {
        "codes": ["0", "126", "0"], "told": 3, "asked": 3, "denied": 1, "digest": True, "path": True, "name": "bad",
        "parent": "sh", "user": 0, "container": "host", "arguments": None, "losses": {}}


def test_the_bytes_count_and_not_the_name(case: Any) -> None:
    assert case("changed") == {"codes": [["0"], ["126"], ["126"]]}


def test_a_judge_that_fails_leaves_the_answer_for_late_ones(case: Any) -> None:
    assert case("failing") == {"codes": ["0"], "said": "broken"}


def test_the_judges_own_programs_are_not_asked_about(case: Any) -> None:
    assert case("own") == {"code": 0}


@pytest.mark.parametrize(("name", "code"), [("late", "0"), ("late-denied", "126")])
def test_who_is_not_judged_in_time_is_answered_by_the_keeper(case: Any, name: str, code: str) -> None:
    assert case(name) == {"codes": [code], "waited": True, "losses": {"late": 1}}


def test_a_judge_that_cannot_keep_up_keeps_nobody(case: Any) -> None:
    assert case("backlog") == {"all": 400, "asked": True, "losses": {}}


def test_when_the_judge_is_killed_everybody_goes_on(case: Any) -> None:
    assert case("killed") == {"asleep": True, "codes": ["0"], "later": ["0"]}


def test_when_the_judge_is_stopped_the_keeper_answers(case: Any) -> None:
    assert case("stopped") == {"codes": ["126"], "crowd": ["126"]}


def test_when_the_keeper_is_killed_that_is_said_and_everybody_goes_on(case: Any) -> None:
    result = case("keeper-killed")
    assert "nothing is watched" in result["said"]
    assert result["codes"] == ["0"]


def test_both_layers_of_a_containers_root_are_seen(case: Any) -> None:
    assert case("overlay") == {"seen": {"16": ["below", "above"], "256": ["below", "above"]}}


def test_containers_are_watched_as_they_come(case: Any) -> None:
    assert case("found") == {"told": ["a1", "b2", "b2"], "losses": {}, "left": ["b2"]}


def test_a_mark_on_a_filesystem_is_on_copies_of_its_mounts_too(case: Any) -> None:
    assert case("copied") == {"seen": {"16": 0, "256": 1}}


def test_containers_beyond_the_limit_are_counted(case: Any) -> None:
    assert case("crowded") == {"losses": True}


def test_a_mount_that_cannot_be_watched_is_named(case: Any) -> None:
    assert case("refused") == {"said": ["fanotify: /nowhere: No such file or directory",
                                        "fanotify: /etc/passwd: Not a directory"]}


def test_the_keeper_needs_nothing_of_this_package() -> None:
    finished = subprocess.run([sys.executable, "-I", "-S", keeper.__file__], capture_output=True, text=True,
                              check=False)
    assert "not enough values" in finished.stderr
    assert "custody" not in Path(keeper.__file__).read_text().split('"""', 2)[2]
