"""Measure pyinit beside every other init that is installed: `python3 -m benchmarks`. Standard library only."""
