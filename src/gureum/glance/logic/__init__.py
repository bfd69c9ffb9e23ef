"""What the verbs of Glance do."""
