"""What an image exposes: secrets in the bytes of its layers and its configuration, and risky settings."""
