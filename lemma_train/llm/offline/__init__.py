"""The offline model: a rule-based teacher and student that need no network and no weights."""
