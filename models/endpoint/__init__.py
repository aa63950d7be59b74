"""Models behind OpenAI's protocol of completions and chat completions: any of them called, ours served.

    client.py   Endpoint: a CompletionModel elsewhere, many requests at once, tried again where that may help; imports no torch
    server.py   our own model over the same protocol
"""
