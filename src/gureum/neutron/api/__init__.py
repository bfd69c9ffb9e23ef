"""The operations of the Network API, one file a noun."""
