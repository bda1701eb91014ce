"""Runners for the peers' own cases, `python -m tests.oracles [NAME…]`.

A set is a folder of $CUSTODY_ORACLES (default `../shared/oracles` beside the repository), such as `pod-security`. Its
runner is the module of the same name with `_` for `-`, here `tests/oracles/pod_security.py`, with one function:

    def run(folder: Path) -> Iterator[tuple[str, str | None]]

It is given the set's folder and yields one pair per case: the case's name, and None where custody is right, else the
reason why it is wrong, in one line. A case that custody does not support is wrong, with that as its reason; a runner
never skips one, and an exception that leaves `run` is a bug in the runner. Everything a runner needs beside the folder
it imports from custody.

A set that is counted in parts has more such functions in `PARTS`, by the part's name: `kyverno-policies-cel` is a line
of its own.

`scores.toml` holds what was right when it was last recorded, `"pod-security" = { right = 10, total = 10 }`;
`--check` compares and exits 1 where a score dropped, `--record` writes the scores of this run.
"""
