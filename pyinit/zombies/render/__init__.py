"""The output formats of the zombie report: text, JSON, metrics, a check."""
