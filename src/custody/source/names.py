"""Names that are one slip away from a popular one (typosquatting)."""

from __future__ import annotations

import re

_POPULAR = {
    "npm": "react lodash express axios chalk commander debug request async moment webpack typescript eslint jest vue "
           "angular jquery underscore bluebird yargs uuid dotenv mongoose socket.io prettier rimraf semver minimist "
           "glob mkdirp body-parser cross-env nodemon redux react-dom next babel-core electron puppeteer ws",
    "pypi": "requests numpy pandas urllib3 boto3 setuptools certifi idna flask django pyyaml cryptography jinja2 click "
            "six python-dateutil scipy matplotlib pytest sqlalchemy pillow colorama beautifulsoup4 aiohttp pydantic "
            "tensorflow torch scikit-learn tqdm wheel virtualenv paramiko selenium jellyfish prompt-toolkit fastapi",
    "cargo": "serde tokio rand syn quote libc regex clap anyhow thiserror reqwest hyper futures log chrono itertools "
             "serde_json rust_decimal openssl tracing",
    "gem": "rails rack nokogiri rake bundler devise puma sidekiq rspec activesupport atlas-client faraday json",
}
"""Written by hand from what everybody uses; a team's own list is better (`--popular FILE`)."""
_SEPARATORS = re.compile(r"[-_.]+")


def popular(more: frozenset[str] = frozenset()) -> dict[str, frozenset[str]]:
    """By type of package; `more` are of every type."""
    return {kind: frozenset(names.split()) | more for kind, names in _POPULAR.items()}


def squats(name: str, names: frozenset[str]) -> str | None:
    """The popular name that a name is one edit, one swap, or other separators away from; None for what is one itself.

    Names of less than five letters are not judged: most are one edit from another.
    """
    if name in names or len(name) < 5:
        return None
    bare = _SEPARATORS.sub("", name).lower()
    return next((known for known in sorted(names) if len(known) >= 5 and abs(len(known) - len(name)) <= 2 and (
        _SEPARATORS.sub("", known) == bare or _near(name.lower(), known))), None)


def _near(name: str, known: str) -> bool:
    """Whether one letter more, less or other, or two that changed places, make one of the other."""
    if abs(len(name) - len(known)) > 1:
        return False
    front = 0
    while front < min(len(name), len(known)) and name[front] == known[front]:
        front += 1
    left, right = name[front:], known[front:]
    return left[1:] == right[1:] or left[1:] == right or left == right[1:] or (
        len(left) > 1 and len(right) > 1 and left[:2] == right[1::-1] and left[2:] == right[2:])
