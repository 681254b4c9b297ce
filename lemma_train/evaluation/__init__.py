"""How good is a model, is the gain real, and does it repair its own errors: benchmarks, metrics, scorecard, report."""
