"""All SQL of Glance."""
