"""The command line: one module a command, each with `TEXT`, `add_parser` and `run`.

A command module is imported only when it is asked for, so that `gureum run` does not pay for `up`.
"""
