"""The OCI runtime that puts an init into every container of a host, and leaves all else to the real runtime.

A container engine calls it instead of runc. On `create` and `run` it edits the bundle's config.json: it adds a
read-only bind mount of the init, and puts the init in front of the program. If it cannot, the container starts without
an init. In any case it then executes the real runtime.
"""
