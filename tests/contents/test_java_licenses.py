"""Licences of Java archives: of their project files and those of parents beside them, manifests, and texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.formats import licensetext
from custody.sbom.catalog import catalog
from tests.contents.images import image
from tests.contents.jars import jar, project, properties

APACHE = (Path(__file__).parents[2] / "LICENSE").read_bytes()
MIT = b"""The MIT License (MIT)

Copyright (c) 2020 Ann Example and others

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
BSD = b"""Copyright (c) %s. All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
following conditions are met:
1. Redistributions of source code must retain the above copyright notice, this list of conditions and the following
disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following
disclaimer in the documentation and/or other materials provided with the distribution.
%sTHIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES,
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL,
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY,
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF
THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""
THIRD = (b"3. Neither the name of %s nor the names of its contributors may be used to endorse or promote products "
         b"derived from this software without specific prior written permission.\n")


@pytest.mark.parametrize(("text", "license_"), [
    (APACHE, "Apache-2.0"), (MIT, "MIT"), (BSD % (b"Ann", b""), "BSD-2-Clause"),
    (BSD % (b"Ann", THIRD % b"the copyright holder"), "BSD-3-Clause"),
    (APACHE.replace(b"\n", b"\r\n").upper(), "Apache-2.0")])
def test_the_whole_text_of_one_licence_is_told(text: bytes, license_: str) -> None:
    assert licensetext.recognise(text) == license_


@pytest.mark.parametrize("text", [
    APACHE + MIT, MIT + BSD % (b"Ann", b""), APACHE + b"\nFoo SUBCOMPONENTS: those have licenses of their own",
    MIT.replace(b"without restriction", b"with restrictions"), MIT + b"but not on Sundays",
    b"Dual licensed: GPL or\n" + MIT, APACHE[:-4000], b"", b"\xff\xfe\x00", APACHE + b" " * (64 << 10),
    BSD % (b"Ann", b"4. And a beer is due.\n")])
def test_a_text_that_is_changed_or_of_several_licences_is_none(text: bytes) -> None:
    assert licensetext.recognise(text) is None


@given(st.binary(max_size=300), st.integers(0, len(MIT)))
def test_what_is_put_into_a_licence_never_breaks_the_reader(noise: bytes, place: int) -> None:
    assert licensetext.recognise(MIT[:place] + noise + MIT[place:]) in (None, "MIT")


def licenses(folder: Path, members: dict[str, bytes], manifest: dict[str, str] | None = None) -> tuple[str, ...]:
    content = jar({**properties("com.acme", "shop", "1"), **members}, manifest=manifest or {"A": "b"})
    [package] = (entry for entry in catalog(image(folder, [("app/shop-1.jar", content)])).packages
                 if entry.name == "com.acme/shop")
    return package.licenses


@pytest.mark.parametrize("name", ["META-INF/LICENSE", "META-INF/license.txt", "LICENSE.md", "META-INF/LICENCE"])
def test_an_archive_without_words_has_the_licence_of_its_text(name: str, tmp_path: Path) -> None:
    assert licenses(tmp_path, {name: APACHE}) == ("Apache-2.0",)


def test_words_that_are_a_licence_count_before_a_text_and_others_behind_it(tmp_path: Path) -> None:
    assert licenses(tmp_path / "a", {"LICENSE": APACHE}, {"Bundle-License": "MIT"}) == ("MIT",)
    assert licenses(tmp_path / "b", {"LICENSE": APACHE}, {"Bundle-License": "https://x/LICENSE"}) == (
        "https://x/LICENSE",)
    assert licenses(tmp_path / "c", {"LICENSE": b"mine"}, {"Bundle-License": "https://x/L"}) == ("https://x/L",)


def test_two_texts_that_differ_tell_nothing(tmp_path: Path) -> None:
    assert licenses(tmp_path / "a", {"LICENSE": APACHE, "META-INF/LICENSE.txt": MIT}) == ()
    assert licenses(tmp_path / "b", {"LICENSE": APACHE, "META-INF/LICENSE.txt": b"other"}) == ()
    assert licenses(tmp_path / "c", {"LICENSE": APACHE, "META-INF/LICENSE.txt": APACHE}) == ("Apache-2.0",)
    assert licenses(tmp_path / "d", {"licenses/LICENSE": APACHE, "com/acme/LICENSE": APACHE}) == ()


PARENT = "<parent><groupId>com.acme</groupId><artifactId>above</artifactId><version>%s</version></parent>"
SAID = "<licenses><license><name>EPL-2.0</name></license></licenses>"


@pytest.mark.parametrize(("version", "expected"), [("7", ("EPL-2.0",)), ("8", ())])
def test_a_parent_in_the_same_archive_says_its_childrens(version: str, expected: tuple[str, ...],
                                                         tmp_path: Path) -> None:
    assert licenses(tmp_path, {**project("com.acme", "shop", "1", PARENT % version),
                               **project("com.acme", "above", "7", SAID)}) == expected


def test_parents_in_a_circle_say_nothing(tmp_path: Path) -> None:
    assert licenses(tmp_path, {**project("com.acme", "shop", "1", PARENT % "7"),
                               **project("com.acme", "above", "7", PARENT % "7")}) == ()


@pytest.mark.parametrize("text", [
    "Acme is not open source. It may not be used in production without paying a fee. The rest:\n%s",
    '"Commons Clause": the right to sell the Software is not granted.\n%s',
    "%s\n未经书面许可\n", "Использование\n%s",
    "Copyright (c) 2024 Acme, only for evaluation\n%s", "MIT License for evaluation alone\n%s", "%s\nand a fee"])
def test_terms_beside_a_text_make_it_another(text: str) -> None:
    plain = MIT.decode() if isinstance(MIT, bytes) else MIT
    assert licensetext.recognise((text % plain).encode()) is None


@pytest.mark.parametrize("front", [
    "The MIT License (MIT)\n\nCopyright (c) 2011-2024 Jane Doe, https://doe.example\n\n", "MIT License\n",
    "# The MIT License\n\nPortions copyright © 2024 Acme, Inc. and others\nAll rights reserved.\n"])
def test_titles_and_holders_stand_in_front(front: str) -> None:
    plain = MIT.decode() if isinstance(MIT, bytes) else MIT
    whole = plain[plain.index("Permission is hereby"):]
    assert licensetext.recognise((front + whole).encode()) == "MIT"


@pytest.mark.parametrize("stated", ["GPL", "Commercial", "SSPL", "CC BY-NC 4.0", "GNU General Public License"])
def test_what_is_stated_is_not_replaced_by_a_text(tmp_path: Path, stated: str) -> None:
    assert licenses(tmp_path / "a", {"LICENSE": MIT}, {"Bundle-License": stated}) == (stated,)


@pytest.mark.parametrize("other", ["LICENSE-acme.txt", "COPYING", "META-INF/LICENCE.commercial", "license.html"])
def test_every_text_of_a_licence_counts(tmp_path: Path, other: str) -> None:
    assert licenses(tmp_path / "a", {"META-INF/LICENSE": MIT, other: b"ask us"}) == ()
    assert licenses(tmp_path / "b", {"META-INF/LICENSE": MIT, other: MIT}) == ("MIT",)
