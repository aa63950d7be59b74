"""How long 128 tokens take: our cache, ours without one, and transformers, side by side.

    python -m experiments.decoding.speed            # a GPT-2 of ten million parameters, one CPU thread, a minute
    python -m experiments.decoding.speed --rounds 9 --batch 8

All have the same weights and write the same tokens greedily, which is checked. They take turns, in an order that changes from
round to round. Shown are CPU seconds, which other work on the machine changes less than elapsed ones, as median and range; and
how many times as long as ours with a cache the others take, as the median over rounds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from experiments.ledger import new_app
from experiments.ledger.command import keep_lines
from experiments.ledger.markdown import markdown_table

SHAPE: Mapping[str, Any] = {
    "layers": 6, "hidden": 384, "heads": 6, "vocabulary": 256, "context": 256, "activation": "gelu_tanh", "bias": True,
}  # fmt: skip
PROMPT = 16  # tokens
app = new_app()


def make_contenders(batch: int, tokens: int, shape: Mapping[str, Any] = SHAPE) -> dict[str, Callable[[], list[list[int]]]]:
    """By name, what writes so many tokens behind each of so many prompts, with a model of this shape."""
    import torch
    from transformers import GPT2LMHeadModel

    from models.config import GPTConfig
    from models.decoding.parameters import DecodingParameters
    from models.decoding.sampler import generate
    from models.gpt import GPT
    from models.huggingface import to_gpt2

    torch.set_num_threads(1)
    config = GPTConfig(**shape)
    ours, parameters = GPT(config), DecodingParameters(max_tokens=tokens, temperature=0)
    prompts = torch.randint(config.words, (batch, PROMPT), generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        to_gpt2(folder, config, dict(ours.state_dict()))
        theirs: Any = GPT2LMHeadModel.from_pretrained(folder).eval()

    def write() -> list[list[int]]:
        return [list(one.tokens or ()) for one in generate(ours, prompts, parameters, batch=batch)]

    @torch.inference_mode()
    def write_without_cache() -> list[list[int]]:
        ids = prompts
        for _ in range(tokens):
            ids = torch.cat((ids, ours(ids)[:, -1].argmax(-1, keepdim=True)), 1)
        return ids[:, PROMPT:].tolist()

    def write_theirs() -> list[list[int]]:
        found = theirs.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
            pad_token_id=0, use_cache=True,
        )  # fmt: skip
        return found[:, PROMPT:].tolist()

    return {"ours": write, "transformers": write_theirs, "ours without a cache": write_without_cache}


def time_contenders(calls: dict[str, Callable[[], list[list[int]]]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each in every round, after one that does not count. ValueError if they do not write the same."""
    written = {name: call() for name, call in calls.items()}
    if any(tokens != written["ours"] for tokens in written.values()):
        raise ValueError("the contenders write different tokens, so that their times mean nothing")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for place in np.random.default_rng(turn).permutation(len(calls)).tolist():
            name = list(calls)[place]
            started = time.process_time()
            calls[name]()
            seconds[name].append(time.process_time() - started)
    return seconds


def tabulate_seconds(seconds: dict[str, list[float]]) -> str:
    """Median, range, and the median ratio to ours."""
    rows = []
    for name, each in seconds.items():
        ratio = median(one / ours for one, ours in zip(each, seconds["ours"], strict=True))
        rows.append([name, f"{median(each):.2f}", f"{min(each):.2f} to {max(each):.2f}", f"{ratio:.2f}"])
    return markdown_table(["", "CPU s", "range", "times ours"], rows)


@app.command(help=keep_lines(__doc__))
def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    batch: Annotated[int, typer.Option(min=1, help="prompts at once")] = 1,
    tokens: Annotated[int, typer.Option(min=1, max=240, help="behind each")] = 128,
) -> None:
    typer.echo(tabulate_seconds(time_contenders(make_contenders(batch, tokens), rounds)))


if __name__ == "__main__":
    app()
