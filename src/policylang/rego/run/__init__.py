"""Policies as functions of input and data, their tests, and what tests tell."""
