"""From checked modules to Python functions."""
