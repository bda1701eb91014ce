"""Configuration files of any format judged by rules in Rego, as conftest does."""
