"""Which licence a text is, where it is the whole text of one licence and of nothing else.

Texts are compared by their words, in small letters, without signs (as the SPDX matching guidelines have it, SPDX
specification 2.3, annex B): what may differ from copy to copy, such as the holder's name, is left out. Texts of the GNU
licences are not told: they do not say whether later versions count.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from custody.kit.digest import sha256

LARGEST = 64 << 10
"""Bytes of a text that is looked at."""
_WORD = re.compile(r"[a-z0-9]+")
_LEFT_OUT = frozenset(("http", "https", "www"))
_BEFORE = 80
"""Words in front of a licence's own, of its title and the copyright; behind them is none."""
_APPENDIX = re.compile(
    r"appendix how to apply the apache license to your work .{1,1500}? limitations under the license")
_HOLDERS = (
    (re.compile(r"neither the names? of .{1,200}? nor the names of .{1,80}? may"), "neither nor may"),
    (re.compile(r"this software is provided by .{1,160}? as is and"), "provided as is and"),
    (re.compile(r"in no event shall .{1,160}? be liable"), "in no event be liable"),
    (re.compile(r"(?<= )(?:[123]|[abc]|i{1,3}) (?=redistributions? |neither )"), ""))
_OTHERS = re.compile(r"\b(?:licensed|sublicense|subcomponents?|permission|redistributions?|gpl|lgpl|agpl|dual)\b")
"""Words in front of a licence's own that say that there is more than one."""


class _Text(NamedTuple):
    license: str
    begin: str
    end: str
    digest: str
    """SHA-256 of its words from begin to end, with a space between them."""


_TEXTS = (
    _Text("Apache-2.0", "apache license version 2 0 january 2004", "end of terms and conditions",
          "e0d4f9ce3ca922b9034c8ebb91b1add0725c9b2f3491ea47c0b3fef00245f1de"),
    _Text("MIT", "permission is hereby granted free of charge to any person obtaining a copy",
          "or other dealings in the software",
          "7d382b2600df4d55ffbcfedf3e145d46c8653a36b382dd0a7d6b0c94819081e4"),
    _Text("ISC", "permission to use copy modify and or distribute this software for any purpose with or without fee",
          "performance of this software",
          "2b86a2b5d677413d0669f2fecf765eeea32409878799e49c4ca1753a0084ffc9"),
    _Text("BSD-3-Clause", "redistribution and use in source and binary forms", "possibility of such damage",
          "fb738f471c11f16cd4f97932c2492e5049924a96f005abceefacf20b520c34ef"),
    _Text("BSD-2-Clause", "redistribution and use in source and binary forms", "possibility of such damage",
          "d4c464072522ccec6f4c356c255a911df8da7f9b27361391394de89507c30bad"),
    _Text("MPL-2.0", "mozilla public license version 2 0", "as defined by the mozilla public license v 2 0",
          "b59ad31436b35a95a00cff48e84c1f014339f59fac784c1935fc6f7dc34abf70"),
    _Text("EPL-1.0", "the accompanying program is provided under the terms of this eclipse public license",
          "each party waives its rights to a jury trial in any resulting litigation",
          "8d94093146c50c99e9d0714c03137aa771cd4e45e9773190de3f0c81372a924d"))


def recognise(content: bytes) -> str | None:
    """The identifier on the SPDX list; None where it is another text, or has more in it than one licence."""
    if len(content) > LARGEST:
        return None
    words = _words(content)
    for text in _TEXTS:
        start = words.find(text.begin)
        end = words.find(text.end, start)
        if start < 0 or end < 0:
            continue
        end += len(text.end)
        if _digest(words[start:end]) == text.digest:
            behind = words[end:].strip()
            if text.license == "Apache-2.0":
                behind = _APPENDIX.sub("", behind, count=1)
            return text.license if _alone(words[:start], behind) else None
    return None


def _words(content: bytes) -> str:
    text = content.decode("utf-8", "replace").lower().replace("licence", "license")
    return " ".join(word for word in _WORD.findall(text) if word not in _LEFT_OUT)


def _digest(words: str) -> str:
    for pattern, word in _HOLDERS:
        words = pattern.sub(word, words)
    return sha256(words.encode())[7:]


def _alone(front: str, behind: str) -> bool:
    return not behind.strip() and len(front.split()) <= _BEFORE and not _OTHERS.search(front)
