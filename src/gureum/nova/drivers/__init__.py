"""Hypervisor drivers. May use gureum.core, the contract's structs, and nothing of a store."""
