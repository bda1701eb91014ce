"""The Notary Project's client side: its directory, keys, plugins, trust stores and policies; signing and verifying."""
