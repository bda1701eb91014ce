"""What is written as YAML is read again as the same, by custody's reader and by PyYAML's."""

from __future__ import annotations

import pytest
import yaml as pyyaml

from custody.formats import yaml


@pytest.mark.parametrize("text", ["a\nb", "a\nb\n", "a\n\n\nb\n\n", " a\nb", "a \nb", "\na\nb", "\n", "a\r\nb",
                                  "\ta\n\tb",
                                  "# a\nb", "a: b\n- c", "---\na", "%a\nb", "a\x07\nb", "ä\n…", "yes", "1", "",
                                  "has(object.x) &&\n  'a' != \"b\""])
def test_texts_are_read_again_as_they_were(text: str) -> None:
    document = {"a": [{"text": text}], text or "key": 1}
    dumped = yaml.dumped(document)
    assert pyyaml.safe_load(dumped) == document
    assert yaml.documents(dumped.encode(), "x") == [document]


def test_a_key_in_pem_stands_as_it_is() -> None:
    key = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"
    assert yaml.dumped({"data": key}) == (
        "data: |\n  -----BEGIN PUBLIC KEY-----\n  MFkw\n  -----END PUBLIC KEY-----\n")
