"""What is a configuration of Connaisseur, by itself: each document is asked."""

from __future__ import annotations

from typing import Any


def is_configuration(document: Any) -> bool:
    """Whether a document is one, by its fields."""
    if not isinstance(document, dict) or "kind" in document or "apiVersion" in document:
        return False
    inner = document.get("application", document)
    return isinstance(inner, dict) and "validators" in inner
