"""The forms of the zombie report: text, JSON, metrics, a check."""
