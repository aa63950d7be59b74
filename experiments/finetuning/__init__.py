"""Fine-tuning pretrained models: tuned against default hyperparameters, and LoRA against all weights, at equal CPU seconds.

    tasks.py      SmolLM2's first layers on Shakespeare, MiniLM on tweets: models, texts, scores of held-out texts
    spaces.py     the hyperparameters that are searched, and the defaults
    training.py   a trainer of transformers for a configuration, and its training as a Run whose unit is texts
    arms.py       default, random, tuned, LoRA; and what a line holds
    scores.py     means over seeds and texts, with intervals
    tables.py     the tables and the claims
"""
