"""From items to formulas: later files over earlier ones, names resolved, types checked."""
