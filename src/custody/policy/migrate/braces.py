"""The `{{ }}` of texts: where they are, and which texts are nothing else."""

from __future__ import annotations


def spans(text: str) -> list[tuple[int, int]]:
    """Where the outermost `{{ }}` of a text begin and end."""
    stack, made, at = [], [], 0
    while at < len(text):
        if text.startswith("{{", at):
            stack.append((at, 2))
            at += 2
        elif text[at] == "{" and stack:
            stack.append((at, 1))
            at += 1
        elif text[at] == "}" and stack and (stack[-1][1] == 1 or text.startswith("}}", at)):
            start, size = stack.pop()
            at += size
            if not stack:
                made.append((start, at))
        else:
            at += 1
    return made


def whole(text: str) -> str | None:
    """The expression of a text that is nothing but one `{{ }}`."""
    text = text.strip()
    return text[2:-2].strip() if spans(text) == [(0, len(text))] else None
