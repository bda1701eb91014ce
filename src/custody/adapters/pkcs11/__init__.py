"""Keys on PKCS#11 tokens. The module of a token, which is C, is loaded into a child process (`child.py`) alone."""
