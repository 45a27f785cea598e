"""One module an experiment; each has `run(bench) -> Result`."""
