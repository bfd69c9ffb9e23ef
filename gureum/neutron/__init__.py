"""The networking service."""
