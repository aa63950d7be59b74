"""Sentiment of English and of Chinese texts: what does a search of 20 minutes gain? `python -m experiments.sentiment`

    corpora.py      the texts: where they come from, what is left out, how they are split
    budget.py       CPU seconds of a search, and the best model that it evaluates
    spaces.py       the hyperparameters that are searched, and the defaults
    encoder.py      English: a pretrained encoder in transformers' Trainer
    reviews.py      Chinese: our GPT with a classification head, from scratch
    arms.py         the five arms: majority class, defaults, stock Optuna, ours with GP, ours with ASHA(GP)
    scores.py       macro-F1, accuracy, F1; intervals; whether a model has learned nothing
    tables.py       the tables and the sentences
"""
