"""Texts, their tokens, and the sequences that a step is trained on."""
