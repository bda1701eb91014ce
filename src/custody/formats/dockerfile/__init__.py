"""Dockerfiles as BuildKit's frontend reads them (moby/buildkit frontend/dockerfile/parser, Dockerfile reference)."""

from __future__ import annotations

from custody.formats.dockerfile.commands import commands
from custody.formats.dockerfile.lines import Instruction, instructions

__all__ = ["Instruction", "commands", "instructions"]
