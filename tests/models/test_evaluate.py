"""The validation loss: what it is over, counted token by token."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.config import TrainConfig
from models.data.batches import Corpus, epoch_sequences, sequences
from models.data.tokenizers import Characters
from models.engines.distributed.group import ALONE
from models.evaluate import COUNTED_ELSEWHERE, Validation
from tests.models.tiny import CORPUS, make

torch.set_num_threads(1)
ALL = 10**9


class Unigram:
    """A model whose loss on a token is a number of this token alone, so that a mean says which tokens are in it."""

    def __init__(self, words: int, context: int) -> None:
        self.config = SimpleNamespace(words=words, context=context)
        self.logits = torch.randn(words, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()

    def __call__(self, ids: Tensor) -> Tensor:
        return self.logits.expand(*ids.shape, -1)

    def losses(self) -> np.ndarray:
        return -F.log_softmax(self.logits.double(), -1).numpy()


class Member:
    """One of a group: sums are those of a group of one, and the test adds them up."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.sum = ALONE.sum


def corpus(length: int) -> Corpus:
    """Validation tokens that are all different: each one's number is its place."""
    tokens = np.arange(length, dtype=np.uint32)
    return Corpus("places", tokens, tokens, Characters("a"))


def validation(length: int, context: int, eval_tokens: int, group: Any = ALONE) -> tuple[Validation, Unigram]:
    model: Any = Unigram(length, context)
    config = TrainConfig(eval_tokens=eval_tokens)
    return Validation(corpus(length), model, config, torch.device("cpu"), group), model


def counts(found: Validation, length: int) -> np.ndarray:
    """How often each token is a target that counts."""
    targets = torch.cat([part.flatten() for part in found._targets()])
    return np.bincount(targets[targets != COUNTED_ELSEWHERE].numpy(), minlength=length)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_all_means_every_token_but_the_first_once(data: st.DataObject) -> None:
    context = data.draw(st.integers(1, 12))
    length = data.draw(st.integers(context + 1, 100))
    size = data.draw(st.integers(1, min(3, epoch_sequences(length, context))))
    eval_tokens = data.draw(st.sampled_from([length - 1, length, ALL]))
    members = [validation(length, context, eval_tokens, Member(rank, size)) for rank in range(size)]
    for member, _ in members:
        member.chunk = data.draw(st.integers(1, 5))
    seen = sum(counts(member, length) for member, _ in members)
    assert seen.tolist() == [0] + [1] * (length - 1)
    model = members[0][1]
    assert sum(member.loss() for member, _ in members) == pytest.approx(model.losses()[1:].mean(), rel=1e-6)


@pytest.mark.parametrize("eval_tokens", [1, 8, 64, 100, 191, 198])
def test_a_fixed_number_of_tokens_gives_the_numbers_that_it_gave(eval_tokens: int) -> None:
    """Stored results hang on them: sequences spread evenly, and a sum in this order."""
    run = make({"eval_tokens": eval_tokens})
    run.advance(32 * 10)
    context, valid = 8, CORPUS.valid
    count = min(max(1, eval_tokens // context), epoch_sequences(len(valid), context))
    starts = np.linspace(0, len(valid) - context - 1, count).astype(np.int64)
    ids, total = torch.from_numpy(sequences(valid, starts, context)), torch.zeros((), dtype=torch.float64)
    with torch.no_grad():
        for part in ids.split(run.validation.chunk):
            logits = run.model(part[:, :-1])
            total += F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), reduction="sum")
    assert run.validation.tokens == count * context
    assert run.validation.loss() == total.item() / (count * context)


def test_a_training_is_judged_on_all_of_its_validation_text() -> None:
    run = make({"eval_tokens": ALL})
    assert run.validation.tokens == len(CORPUS.valid) - 1
    assert run.advance(32 * 10)[0]["loss"] > 0
