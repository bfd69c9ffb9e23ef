"""Looking into uploaded bytes, in a child process under limits."""
