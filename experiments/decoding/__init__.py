"""Decoding parameters and prompts, tuned together: `python -m experiments.decoding`.

    metrics.py      how good a text is: exact match, ROUGE, F1 of a list, distinct n-grams
    judge.py        the same by a judge model: perplexity, with a penalty on repetition
    objective.py    the mean quality over questions as a Run, in the unit of questions
    questions.py    lists that are asked for, and what is right (topics.toml)
    prompts.py      templates and examples, as choices of a space
    smollm2.py      SmolLM2-135M in our own GPT
    arms.py         greedy, default, random and GP search, each with its best prompt, on questions held out
    tables.py       their table with intervals, and the claim
    speed.py        our cache beside transformers'
"""
