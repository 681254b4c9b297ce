"""Ablations: a grid of training runs, each evaluated, and what can be said about their differences."""
