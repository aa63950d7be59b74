"""Step Law: the best learning rate and batch size of a language model."""
