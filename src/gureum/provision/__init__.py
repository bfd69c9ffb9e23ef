"""What `gureum up` and `gureum down` do to a machine, step by step."""
