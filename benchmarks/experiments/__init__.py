"""The experiments: one module for each, with `run(bench) -> Result`."""
