"""The generated pages of docs/: what the declarations say, written for a reader."""
