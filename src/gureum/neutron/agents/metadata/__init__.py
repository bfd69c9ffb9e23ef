"""The metadata agent: who asks, signed and forwarded to Nova."""
