"""Compute: servers, flavors, hosts."""
