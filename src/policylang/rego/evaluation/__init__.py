"""What is there while a policy runs: the state, documents under `data`, and what generated functions call."""
