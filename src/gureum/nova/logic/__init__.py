"""Nova's verbs: what an API call decides and writes."""
