"""The chain of custody for container images, from the commit to the running pod."""

__version__ = "0.1.0"
