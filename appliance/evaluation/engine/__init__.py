"""Runs models for the evaluation: loading, greedy answers, likelihoods. The only heavy folder of the room."""
