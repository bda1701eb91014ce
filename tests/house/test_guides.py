"""The guides' commands: that all can be read, and that those that need no service and no network do what they show.

All of them are typed by `python -m tests.guides`, a step of .ci/run.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests import guides


def test_every_block_is_read() -> None:
    for document in guides.ORDER.values():
        text = (guides.ROOT / document).read_text()
        blocks = list(guides.blocks(text))
        assert len(blocks) == len(re.findall(r"^ *```console$", text, re.MULTILINE)), document
        assert all(block.steps for block in blocks), document
        for block in blocks:
            for step in block.steps:
                re.compile(guides.expression(step.expected)[0])


def test_what_is_compared() -> None:
    pattern, names = guides.expression("a sha256:0123456789ab… of 2026-11-24T09:31:47Z\n  …\nlog index 4")
    match = re.fullmatch(pattern, "a sha256:" + "f" * 64 + " of 2026-12-01T00:00:00.5Z x\ny log index 71", re.DOTALL)
    assert match is not None
    assert [(match[group], documented) for group, documented in names.items()] == [("f" * 64, "0123456789ab")]
    assert re.fullmatch(guides.expression("2 of 2 commits")[0], "1 of 2 commits") is None


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_the_source_guide_is_right(tmp_path: Path) -> None:
    reader = guides.Reader(tmp_path)
    try:
        reader.read(guides.ORDER["source"])
    finally:
        reader.close()
    assert not reader.wrong, "\n".join(reader.wrong)
    assert reader.typed > 10
