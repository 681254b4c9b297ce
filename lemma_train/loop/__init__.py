"""The whole loop as one recipe: collect, train, evaluate base and tuned, report."""
