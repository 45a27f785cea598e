"""Launchers: a stub or a script that starts as quickly as the interpreter, and the compiled package beside it."""
