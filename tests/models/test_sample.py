"""Text from a checkpoint."""

from pathlib import Path

import pytest
import torch

from models.data.batches import Corpus
from models.data.tokenizers import Characters
from models.decoding.parameters import DecodingParameters
from models.sample import load_model, sample_text
from models.train import TrainRun

torch.set_num_threads(1)

CONFIG = {"layers": 1, "hidden": 16, "heads": 2, "context": 8, "batch": 8, "lr": 1e-2, "eval_tokens": 64}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    tokenizer = Characters("abcd")
    ids = tokenizer.encode("abcd" * 300)
    return Corpus("abcd", ids[:1000], ids[1000:], tokenizer)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = TrainRun({**CONFIG, "dropout": 0.1}, 0, 60, corpus, "steps")
    run.advance(60)
    path = tmp_path_factory.mktemp("trained") / "checkpoint"
    run.save(path)
    return path


def test_a_trained_model_writes_what_it_read(trained: Path, corpus: Corpus) -> None:
    assert sample_text(trained, CONFIG, corpus, "ab", DecodingParameters(22, 0)) == "abcd" * 6
    assert sample_text(trained, CONFIG, corpus, None, DecodingParameters(23, 0)) == "abcd" * 6
    assert sample_text(trained, CONFIG, corpus, "ab", DecodingParameters(22, 0, stop="da")) == "abc"
    assert len(sample_text(trained, CONFIG, corpus, "ab")) == 302


def test_the_same_call_gives_the_same_text(trained: Path, corpus: Corpus) -> None:
    texts = [sample_text(trained, CONFIG, corpus, "a", DecodingParameters(50, 5.0), seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_average_is_sampled_where_there_is_one(corpus: Corpus, tmp_path: Path) -> None:
    run = TrainRun({**CONFIG, "ema": 0.9}, 0, 60, corpus, "steps")
    run.advance(60)
    run.save(tmp_path / "averaged")
    model = load_model(tmp_path / "averaged", CONFIG, corpus)
    assert run.average is not None
    for name, weight in model.named_parameters():
        assert torch.equal(weight, run.engine.named_tensors(run.average.values)[name]), name
        assert not torch.equal(weight, run.engine.named_tensors(run.flat.weights)[name]), name


def test_a_padded_vocabulary_writes_only_the_corpus(corpus: Corpus, tmp_path: Path) -> None:
    config = {**CONFIG, "vocabulary": 64}
    TrainRun(config, 0, 60, corpus, "steps").save(tmp_path / "untrained")
    assert set(sample_text(tmp_path / "untrained", config, corpus, "a", DecodingParameters(50))) <= set("abcd")


def test_what_does_not_fit_is_named(trained: Path, corpus: Corpus) -> None:
    with pytest.raises(ValueError, match=r"checkpoint does not fit: positions\.weight"):
        load_model(trained, {**CONFIG, "context": 9}, corpus)
    with pytest.raises(ValueError, match="the character 'Z'"):
        sample_text(trained, CONFIG, corpus, "Z")
    with pytest.raises(ValueError, match="the prompt is empty"):
        sample_text(trained, CONFIG, corpus, "")
    with pytest.raises(ValueError, match="prompt is 3, but must be text, or None"):
        sample_text(trained, CONFIG, corpus, 3)  # type: ignore[arg-type]


def test_a_seed_that_is_not_allowed_is_refused_before_the_checkpoint_is_read(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match=r"^seed is nan, but must be "):
        sample_text("nowhere", CONFIG, corpus, seed=float("nan"))  # type: ignore[arg-type]


def test_a_file_of_torch_is_called_so(corpus: Corpus, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt is damaged or not a checkpoint: .* it looks like a file of torch\.save"):
        sample_text(tmp_path / "model.pt", CONFIG, corpus)
