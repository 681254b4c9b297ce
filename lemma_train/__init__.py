"""lemma_train: collect, train on and evaluate error-corrective trajectories (LEMMA, arXiv 2503.17439)."""

__version__ = "0.1.0"
