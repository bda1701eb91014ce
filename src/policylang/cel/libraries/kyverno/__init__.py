"""The functions that Kyverno adds (kyverno pkg/cel/libs, kyverno/sdk extensions/cel)."""
