"""Builtins that need what is outside a policy, and those that the compiler answers itself."""

from __future__ import annotations

from policylang.rego.builtins.operands import mapping, string
from policylang.rego.builtins.strings import plain
from policylang.rego.declare import BuiltinError, Context, builtin
from policylang.rego.values import Set, Value, text, unkey

_ALLOWED = frozenset({
    "method", "url", "body", "enable_redirect", "force_json_decode", "force_yaml_decode", "headers", "raw_body",
    "tls_use_system_certs", "tls_ca_cert", "tls_ca_cert_file", "tls_ca_cert_env_variable", "tls_client_cert",
    "tls_client_cert_file", "tls_client_cert_env_variable", "tls_client_key", "tls_client_key_file",
    "tls_client_key_env_variable", "tls_insecure_skip_verify", "tls_server_name", "timeout", "cache", "force_cache",
    "force_cache_duration_seconds", "raise_error", "caching_mode", "max_retry_attempts",
    "cache_ignored_headers"})
_REQUIRED = ("method", "url")


@builtin("http.send", "object[string: any]", result="object[any: any]", context=True, nondeterministic=True)
def http_send(context: Context, request: Value) -> Value:
    asked = mapping(request, 1)
    unknown = [name for name in asked if name not in _ALLOWED]
    if unknown:
        shown = text(Set({name: unkey(name) for name in unknown}))
        raise _operand(f"invalid request parameters(s): {shown}")
    missing = [name for name in _REQUIRED if name not in asked]
    if missing:
        raise _operand(f"missing required request parameters(s): {text(Set.of(missing))}")
    return context.ask("http.send", "access to the network").http_send(asked)


class _Fault(BuiltinError):  # noqa: N818 - beside OperandError
    code = "eval_type_error"


def _operand(message: str) -> BuiltinError:
    return _Fault(f"operand 1 {message}")


@builtin("net.lookup_ip_addr", "string", result="set[string]", context=True, nondeterministic=True)
def lookup_ip_addr(context: Context, host: Value) -> Set:
    name = string(host, 1)
    return Set.of(context.ask("net.lookup_ip_addr", "name resolution").lookup_ip_addr(name))


@builtin("opa.runtime", result="object[string: any]", context=True, nondeterministic=True)
def runtime(context: Context) -> Value:
    return {} if context.world is None else context.world.runtime()


@builtin("trace", "string", result="boolean", context=True)
def trace(context: Context, note: Value) -> bool:
    """A note in the trace; here it goes where `print` goes."""
    shown = string(note, 1)
    if len(context.printed) < 10_000:
        context.printed.append(shown)
    return True


@builtin("internal.print", "array[set[any]]", result="any", context=True)
@builtin("print", result="any", context=True)
def show(context: Context, *values: Value) -> bool:
    if len(context.printed) < 10_000:
        context.printed.append(" ".join(map(plain, values)))
    return True


@builtin("internal.test_case", "array[any]", result="any")
def test_case(value: Value) -> bool:
    """The name of a test's case: `opa test` reports it, and it is always true."""
    del value
    return True


@builtin("rego.metadata.chain", result="array[any]")
def metadata_chain() -> Value:
    """Of the rule that a call is in; the compiler puts its value into the program."""
    raise BuiltinError("the compiler did not resolve the rule's metadata")


@builtin("rego.metadata.rule", result="any")
def metadata_rule() -> Value:
    raise BuiltinError("the compiler did not resolve the rule's metadata")
