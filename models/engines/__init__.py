"""How a step of training is carried out."""
