"""What the verbs of the Network API do."""
