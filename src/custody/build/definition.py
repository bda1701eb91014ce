"""What a repository says about its own build: `custody-build.toml` in the commit that is built.

    [build]
    command = ["python3", "build.py"]   # run in the sandbox; see the CUSTODY_… variables in build.sandbox
    lock = "requirements.txt"           # inputs, fetched by hash before the step runs
    timeout = 600                       # seconds; further limits: see build.limits
    memory = "2 GiB"

    [image]
    entrypoint = ["python3", "-m", "shop"]
    env = { PYTHONPATH = "/app/site-packages" }
    workdir = "/app"
    user = "10001"
    ports = ["8080/tcp"]
    labels = { "org.opencontainers.image.title" = "shop" }

Every folder that the command leaves in $CUSTODY_OUTPUT becomes one layer, in the order of their names.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec

from custody.build.limits import Limits, parse_limits
from custody.errors import MalformedError
from custody.kit import stricttoml

NAME = "custody-build.toml"
_MAX_SIZE = 256 * 1024
_MAX_ARGUMENT = 128 * 1024 - 1
"""Of one argument to execve(2): MAX_ARG_STRLEN."""


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    command: list[str]
    lock: str | None = None
    timeout: int | None = None
    memory: int | str | None = None
    processes: int | None = None
    file_size: int | str | None = None
    files: int | None = None
    depth: int | None = None
    output_size: int | str | None = None
    tmp_size: int | str | None = None
    log_size: int | str | None = None

    @property
    def limits(self) -> Limits:
        """Raises MalformedError for what is out of range."""
        stated = {field.name: value for field in fields(Limits) if (value := getattr(self, field.name)) is not None}
        return parse_limits(stated, f"{NAME}: build")


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    entrypoint: list[str] = []
    cmd: list[str] = []
    env: dict[str, str] = {}
    workdir: str = "/"
    user: str = ""
    ports: list[str] = []
    labels: dict[str, str] = {}

    def to_config(self) -> dict[str, Any]:
        """The `config` object of an OCI image configuration."""
        fields = {"Entrypoint": self.entrypoint, "Cmd": self.cmd,
                  "Env": [f"{key}={value}" for key, value in sorted(self.env.items())], "WorkingDir": self.workdir,
                  "User": self.user, "ExposedPorts": {port: {} for port in self.ports}, "Labels": self.labels}
        return {key: value for key, value in fields.items() if value}


class Definition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    build: Step
    image: Image = Image()


def parse_definition(data: bytes, where: str = NAME) -> Definition:
    """Raises MalformedError, naming the key; keys that are not known are refused."""
    if len(data) > _MAX_SIZE:
        raise MalformedError(where, got=f"{len(data)} bytes", expected=f"at most {_MAX_SIZE}")
    try:
        definition = msgspec.convert(stricttoml.loads(data), Definition)
    except msgspec.ValidationError as error:
        raise MalformedError(where, got=str(error), expected="the keys of the build guide") from None
    except ValueError as error:
        raise MalformedError(where, got=str(error), expected="TOML") from None
    if not definition.build.command or not definition.build.command[0]:
        raise MalformedError(f"{where}: build.command", got=definition.build.command,
                             expected="a program and its arguments")
    for number, argument in enumerate(definition.build.command):
        if "\0" in argument:
            raise MalformedError(f"{where}: build.command[{number}]", got=argument, expected="text without NUL")
        if len(argument.encode("utf-8", "surrogatepass")) > _MAX_ARGUMENT:
            raise MalformedError(f"{where}: build.command[{number}]", got=f"{len(argument)} characters",
                                 expected=f"at most {_MAX_ARGUMENT} bytes")
    _ = definition.build.limits
    return definition
