"""The node side of the networking service: agents that make the wanted state true on their host."""
