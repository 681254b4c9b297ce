"""Training: from a recipe to a checked, fine-tuned model."""
