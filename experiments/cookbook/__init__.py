"""Programs of tuning guides, rewritten on ours: `python -m experiments.cookbook median_pruning`; README.md lists them.

    programs.py   the list: a name, the guide's number, the stated size
    scale.py      how much smaller than in the guides everything is
    outcome.py    what a program found, beside what it is compared with
    space.py      the hyperparameters that a guide searches, as ranges and as `trial.suggest_*`
    text.py       the text, its tokens, what is trained on and what is evaluated
    measure.py    every program at its stated size, once, as lines of the ledger
    command.py    the command

What several programs, or one long one, train:

    trainer.py         a Trainer of Hugging Face for a configuration
    gpt.py             a training of our own GPT for a configuration
    reviews.py         reviews, and a Trainer that classifies them
    classification.py  reviews classified by our GPT with a head
    pretrained.py      SmolLM2's first layers under the Trainer
    encoder.py         MiniLM's first layers with a head under the Trainer
    machine.py         one driver of several_machines
    digits.py          the training script that managed_tuner tunes
    checkout.py        nanoGPT's train.py, beside nanogpt.toml

All others are programs, one a file; each is a function of a scale that returns an outcome.
"""
