"""The L3 agent: routers in namespaces."""
