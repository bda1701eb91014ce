"""CEL's values while a program runs: what they are, and what operators, conversions and errors make of them."""
