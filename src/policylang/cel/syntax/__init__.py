"""From text to tree: tokens, grammar, macros, and the issues of what is no program."""
