"""The Image API v2 as operations, one file a noun."""
