"""What policies inherit from Go: numbers, formatting verbs, times, durations, quantities, regular expressions."""
