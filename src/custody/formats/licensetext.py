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
_WORD = re.compile(r"[^\W_]+")
_LEFT_OUT = frozenset(("http", "https", "www"))
_LINES, _LINE = 40, 25
"""Lines in front of a licence's own words, and words in each: its title and who has the copyright."""
_APPENDIX = "appendix how to apply the apache license to your work "
_APPENDIX_DIGEST = "610fd854e3da68e3c8d42bad3ca84231ab792d29c948e457e6d50eaee5b57398"
_NAMES = r"((?:[^\W_]+ ){1,20}?)"
_HOLDERS = (
    (re.compile(rf"neither the names? of {_NAMES}nor the names of {_NAMES}may"), "neither nor may"),
    (re.compile(rf"this software is provided by {_NAMES}as is and"), "provided as is and"),
    (re.compile(rf"in no event shall {_NAMES}be liable"), "in no event be liable"),
    (re.compile(rf"copyright {_NAMES}licensed under the apache license version 2 0 the license you"), "licensed you"),
    (re.compile(r"(?<= )(?:[123]|[abc]|i{1,3}) (?=redistributions? |neither )"), ""))
_TERMS = re.compile(
    r"\b(?:licensed|sublicense|subcomponents?|permission|permitted|redistributions?|gpl|lgpl|agpl|dual|commons|clause|"
    r"use[ds]?|using|production|commercial(?:ly)?|evaluation|paid|pay(?:ing|ment)?|fees?|contract|forbidden|prohibited|"
    r"must|may|not|no|only|without|except|subject|unless|provided|if|shall|patents?|restricted|terms|conditions?)\b")
"""Words that neither a holder's name nor a title has: they say under what more it is."""
_TITLE = re.compile(r"(?:the )?(?:new |modified |revised |simplified )?(?:mit|x11|expat|isc|apache|bsd|mozilla|eclipse)"
                    r"(?: (?:2|3))?(?: clause)?(?: public)?(?: software)?(?: license)?(?: (?:mit|isc|bsd|mpl|epl))?"
                    r"(?: version| v)?(?: [12] 0)?(?: (?:2|3) clause)?(?: (?:the )?(?:mit|isc|bsd|license))*\Z")
_COPYRIGHT = re.compile(r"(?:portions |parts )?(?:copyright|c [0-9]{4})\b|all rights reserved\Z|(?:the )?licen[sc]e\Z")


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
    lines = [_words(line) for line in content.decode("utf-8", "replace").lower().splitlines()]
    words = " ".join(filter(None, lines))
    for text in _TEXTS:
        start = words.find(text.begin)
        end = words.find(text.end, start)
        if start < 0 or end < 0:
            continue
        end += len(text.end)
        if _digest(words[start:end]) == text.digest:
            return text.license if _alone(lines, words[:start], words[end:].strip(), text) else None
    return None


def _words(line: str) -> str:
    line = line.replace("licence", "license").replace("©", " copyright ")
    return " ".join(word for word in _WORD.findall(line) if word not in _LEFT_OUT)


def _digest(words: str) -> str:
    for pattern, word in _HOLDERS:
        words = pattern.sub(lambda match, word=word: (  # type: ignore[misc]
            match[0] if any(_TERMS.search(name) for name in match.groups()) else word), words)
    return sha256(words.encode())[7:]


def _alone(lines: list[str], front: str, behind: str, text: _Text) -> bool:
    """Whether in front of a licence's words are only titles and the copyright, and behind them nothing."""
    if behind and not (text.license == "Apache-2.0" and behind.startswith(_APPENDIX)
                       and _digest(behind) == _APPENDIX_DIGEST):
        return False
    count, left = 0, len(front)
    for line in lines:
        if left <= 0:
            return True
        if not line:
            continue
        count += 1
        line = line[:left].strip()
        left -= len(line) + 1
        if count > _LINES or line.count(" ") >= _LINE or not (
                _TITLE.match(line) or (_COPYRIGHT.match(line) and not _TERMS.search(line))):
            return False
    return True
