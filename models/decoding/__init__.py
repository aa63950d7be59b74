"""Text out of a model: tokens sampled one after the other.

    parameters.py   DecodingParameters: temperature, filters, penalties, length, stop strings; imports no torch
    completion.py   Completion, and what completes texts: a model here or an endpoint; imports no torch
    processors.py   each of them as a function of logits
    cache.py        keys and values of what was read, so that a token costs a token
    sampler.py      generate: prompts of different lengths at once; a Completion of each
    completer.py    Completer: texts in, texts out, by a model and its tokenizer
"""
