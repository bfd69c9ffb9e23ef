"""ML2: network types and the mechanisms that bind ports to hosts."""
