"""The compute host's side of Nova: the contract, the worker behind it, its loops."""
