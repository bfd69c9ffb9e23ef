"""The schema of Glance, step by step."""
