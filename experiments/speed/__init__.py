"""How fast our training loop is, beside nanoGPT, a plain loop and Hugging Face's Trainer."""
