"""Licences: what packages state becomes an expression on the SPDX list where it means one, and else stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import cyclonedx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats.licenselist import EXCEPTIONS, LICENSES, REPLACED
from custody.formats.licenses import _ALIASES, combined, expression, is_expression, is_identifier, reference, stated


@pytest.mark.parametrize(("words", "means"), [
    ("mit", "MIT"), ("Expat", "MIT"), ("GPL-2+", "GPL-2.0-or-later"), ("GPL-2", "GPL-2.0-only"),
    ("GPLv2+", "GPL-2.0-or-later"), ("LGPL-2.1+", "LGPL-2.1-or-later"), ("LGPLv2+", "LGPL-2.0-or-later"),
    ("GPL-1+", "GPL-1.0-or-later"), ("GFDL-1.3+", "GFDL-1.3-or-later"), ("AGPLv3", "AGPL-3.0-only"),
    ("ASL 2.0", "Apache-2.0"), ("Apache License, Version 2.0", "Apache-2.0"), ("MPLv1.1", "MPL-1.1"),
    ("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0"), ("GPLv2+ and MIT", "GPL-2.0-or-later AND MIT"),
    ("MPL-1.1 and MPL-2.0, and MIT", "MPL-1.1 AND MPL-2.0 AND MIT"),
    ("Perl or MIT", "(Artistic-1.0-Perl OR GPL-1.0-or-later) OR MIT"),
    ("License :: OSI Approved :: MIT License", "MIT"), ("OSI Approved :: ISC License (ISCL)", "ISC"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"), ("(MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"),
    ("MIT/Apache-2.0", "MIT OR Apache-2.0"), ("GPL-2 | GPL-3", "GPL-2.0-only OR GPL-3.0-only"),
    ("GPL (>= 2)", "GPL-2.0-or-later"), ("MIT + file LICENSE", "MIT"), ("EPL-1.0+", "EPL-1.0+"),
    ("GPL-2.0-with-classpath-exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
    ("GPL-2 with Classpath exception", "GPL-2.0-only WITH Classpath-exception-2.0"),
    ("Apache-2.0 WITH LLVM-exception", "Apache-2.0 WITH LLVM-exception"), ("LicenseRef-x", "LicenseRef-x"),
])
def test_words_that_mean_one_licence(words: str, means: str) -> None:
    assert expression(words) == means
    assert is_expression(means)


@pytest.mark.parametrize("words", [
    "BSD", "BSD License", "Apache", "Public Domain", "SEE LICENSE IN x", "UNLICENSED", "MIT OR", "OR MIT", "MIT MIT",
    "MIT and BSD", "GPL-2+ with OpenSSL exception", "GPL-9", "GPL-2.7", "()", "", " ", "MIT WITH Apache-2.0",
    "LLVM-exception", "(" * 70 + "MIT" + ")" * 70, "MIT AND " * 400 + "MIT"])
def test_words_that_mean_none_that_is_sure(words: str) -> None:
    assert expression(words) is None


def test_every_replacement_and_alias_is_an_expression() -> None:
    assert all(is_expression(means) for means in (*_ALIASES.values(), *REPLACED.values()))
    assert set(REPLACED) <= LICENSES
    assert not LICENSES & EXCEPTIONS


def test_the_list_is_that_of_the_cyclonedx_schema() -> None:
    """Which refuses identifiers that it does not know."""
    place = Path(cyclonedx.__file__).parent / "schema/_res/spdx.SNAPSHOT.schema.json"
    assert set(json.loads(place.read_text())["enum"]) == LICENSES | EXCEPTIONS


def test_what_is_not_on_the_list_keeps_its_words() -> None:
    assert stated(["Expat", "MIT", "Some\n License", "UNKNOWN", ""]) == ("MIT", "Some License")
    text, extracted = combined(("MIT OR ISC", "public-domain", "Some License"))
    assert text == f"(MIT OR ISC) AND LicenseRef-public-domain AND {reference('Some License')}"
    assert extracted == {"LicenseRef-public-domain": "public-domain", reference("Some License"): "Some License"}
    assert is_expression(text)


@given(st.text(max_size=60) | st.lists(st.sampled_from(
    ["MIT", "GPL-2+", "and", "OR", "with", "(", ")", "Expat", ",", "/", "BSD", "LLVM-exception"]),
    max_size=9).map(" ".join))
def test_nothing_but_expressions_comes_out(words: str) -> None:
    means = expression(words)
    assert means is None or is_expression(means)
    assert all(is_expression(name) or not is_identifier(name) for name in stated([words]))
