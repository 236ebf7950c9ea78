"""The half of the builder that needs torch: tokeniser, batches, training, scoring, model card."""
