"""What events hold and how it is compared: fields and their types, literals, operators, patterns, transformers."""
