"""The passes written out against autograd's, in every form that a config can ask for; the kernels against float64."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from models.config import GPTConfig, split
from models.engines.cpu import engine as cpu
from models.engines.cpu import kernels
from models.engines.cpu.kernels import pointer
from models.engines.eager import EagerEngine
from models.engines.engine import Engine
from models.flat import flatten
from models.gpt import ACTIVATIONS, GPT
from models.optimizers.rows import OPTIMIZERS
from models.predict.support import MODEL
from models.train import TrainRun
from tests.models.test_ownership import skip_where_others_write
from tests.models.tiny import CORPUS, TINY

torch.set_num_threads(1)
library = kernels.library()
compiler = shutil.which((os.environ.get("CC") or "cc").split()[0])
needs_compiler = pytest.mark.skipif(compiler is None, reason="there is no C compiler for the kernels")
needs_kernels = pytest.mark.skipif(library is None, reason="there are no kernels")

SMALL: dict[str, Any] = {"layers": 2, "hidden": 24, "heads": 4, "vocabulary": 19, "context": 21}
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "biases, untied": {"bias": True, "tie": False},
    "tanh": {"activation": "gelu_tanh", "bias": True},
    "relu2": {"activation": "relu2"},
    "llama": {"activation": "swiglu", "norm": "rms", "positions": "rotary", "kv_heads": 2},
    "normed queries": {"activation": "swiglu", "norm": "rms", "positions": "rotary", "kv_heads": 2, "qk_norm": True},
    "mup": {"activation": "swiglu", "bias": True, "dropout": 0.1, "parametrisation": "mup", "base_hidden": 8, "base_layers": 1},
    "dropout": {"dropout": 0.2, "layer_dropout": 0.3},
    "all dropout": {"dropout": 0.2, "layer_dropout": 0.3, "embedding_dropout": 0.1, "attention_dropout": 0.1},
    "only layers": {"layer_dropout": 0.5},
    "one shared key": {"kv_heads": 1},
    "wide heads": {"hidden": 72, "heads": 2},
    "whole vectors": {"hidden": 64, "heads": 2, "context": 33},
    "loss": {"label_smoothing": 0.1, "z_loss": 0.01},
    "other numbers": {
        "ff_ratio": 2.5, "positions": "rotary", "rotary_base": 500.0, "norm_eps": 1e-2, "init_std": 0.1, "parametrisation": "mup",
        "base_hidden": 12, "base_head": 3,
    },
    "an inner width": {"ff": 40, "norm": "rms", "norm_eps": 1e-2},
}  # fmt: skip


def passes(kind: type[Engine], form: dict[str, Any], micro: int) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and gradients of a batch of 6 sequences, cut into micro-batches, after gradients that must be forgotten."""
    model_config, training = split({**SMALL, **form, "lr": 1e-3})
    model = GPT(model_config, seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    flat = flatten(model)
    engine = kind(model, flat, OPTIMIZERS["adamw"].load()(flat, training), training)
    ids = torch.randint(19, (6, model_config.context + 1), generator=generator)
    engine.gradient(ids, 1.0, 1.0, 5)
    engine.clear()
    losses = [engine.gradient(part, micro / 6, 2.0, 7 + i).item() for i, part in enumerate(ids.split(micro))]
    return losses, engine.named_tensors(flat.grads)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("micro", [6, 2])
@needs_kernels
def test_losses_and_gradients_are_those_of_autograd(form: str, micro: int) -> None:
    losses, ours = passes(cpu.CPUEngine, FORMS[form], micro)
    expected, theirs = passes(EagerEngine, FORMS[form], micro)
    assert losses == pytest.approx(expected, rel=1e-5)
    for name, other in theirs.items():
        torch.testing.assert_close(ours[name], other, rtol=2e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")
        assert other.abs().max() > 1e-6, name


def test_every_option_that_is_declared_is_held_against_autograd() -> None:
    """predict/support.py says what the passes know; here is what proves it."""
    declared = {**MODEL, "label_smoothing": None, "z_loss": None}
    for name, values in declared.items():
        tried = [{**SMALL, **form}[name] for form in FORMS.values() if name in {**SMALL, **form}]
        default = getattr(GPTConfig, name, None)
        if values is None:
            assert any(value != default for value in tried), name
        else:
            assert set(values) <= {default, *tried}, name


@needs_kernels
def test_it_is_taken_where_it_can_be_and_nowhere_else() -> None:
    def engine(threads: int = 1, **more: Any) -> type[Engine]:
        return type(TrainRun({**TINY, **more}, 0, 2, CORPUS, "steps", threads=threads).engine)

    assert engine() is cpu.CPUEngine
    assert engine(threads=2) is engine(precision="bf16") is engine(activation_checkpointing=True) is EagerEngine


@needs_kernels
def test_trainings_with_and_without_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**TINY, "dropout": 0.1, "micro_batch": 2, "batch": 4}
    ours = TrainRun(config, 0, 30, CORPUS, "steps").advance(30)[0]
    monkeypatch.setattr(cpu, "library", lambda: None)
    theirs = TrainRun(config, 0, 30, CORPUS, "steps").advance(30)[0]
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-3)
    assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-3)


@needs_kernels
def test_a_rate_that_is_absurd_is_seen_to_diverge() -> None:
    run = TrainRun({**TINY, "lr": 1e12, "optimizer": "sgd", "clip": 0.0}, 0, 40, CORPUS, "steps")
    assert torch.tensor(run.advance(40)[0]["loss"]).isnan() and run.diverged


def small_engine() -> Engine:
    model_config, training = split(SMALL)
    model = GPT(model_config)
    flat = flatten(model)
    return cpu.CPUEngine(model, flat, OPTIMIZERS["adamw"].load()(flat, training), training)


@needs_kernels
def test_sequences_beyond_the_context_are_refused_and_narrow_tokens_are_taken() -> None:
    engine = small_engine()
    with pytest.raises(ValueError, match="sequences are 22 tokens long, but the context is 21"):
        engine.gradient(torch.zeros(2, 23, dtype=torch.int64), 1.0, 1.0, 0)
    ids = torch.arange(44).view(2, 22) % 19
    losses = [engine.gradient(ids.to(kind), 1.0, 1.0, 0).item() for kind in (torch.int64, torch.int32, torch.uint8)]
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize("token", [19, -1, 2**40])
@needs_kernels
def test_a_token_that_is_none_is_named(token: int) -> None:
    engine = small_engine()
    ids = torch.zeros(2, 22, dtype=torch.int64)
    for place in ((0, 3), (1, 21)):
        ids[place] = token
        with pytest.raises(IndexError, match=f"token is {token}"):
            engine.gradient(ids, 1.0, 1.0, 0)
        ids[place] = 0


# -- where there is no compiler ------------------------------------------------------------------------------------------


def asked(patch: pytest.MonkeyPatch, environment: dict[str, str]) -> ctypes.CDLL | None:
    """The library in an environment, asked for anew."""
    for name in ("CC", "HPO_KERNELS"):
        patch.delenv(name, raising=False)
    for name, value in environment.items():
        patch.setenv(name, value)
    found: ctypes.CDLL | None = kernels.library.__wrapped__()
    return found


@pytest.mark.parametrize(
    ("compiler", "words"),
    [
        ("no-such-compiler", "there is no C compiler 'no-such-compiler'"),
        ("false", "returned non-zero exit status 1"),
        ("sh -c 'echo an error of its own >&2; exit 1' --", "an error of its own"),
    ],
)
def test_without_a_compiler_training_goes_on_and_says_so(
    compiler: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert asked(monkeypatch, {"CC": compiler, "HPO_CACHE": str(tmp_path)}) is None
    assert "training goes on without the kernels" in caplog.text and words in caplog.text


def test_it_can_be_switched_off_and_a_wrong_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, {"HPO_KERNELS": "off"}) is None
    with pytest.raises(ValueError, match="HPO_KERNELS is '0', but must be on or off"):
        asked(monkeypatch, {"HPO_KERNELS": "0"})


@needs_compiler
def test_with_a_compiler_there_are_kernels() -> None:
    assert os.environ.get("HPO_KERNELS") == "off" or library is not None


def made_in(cache: Path) -> list[Path]:
    """The libraries in a cache folder."""
    return list(cache.glob("kernels-of-*/kernels-*.so"))


@needs_compiler
def test_it_is_compiled_once_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_where_others_write(tmp_path)
    environment = {"HPO_CACHE": str(tmp_path)}
    assert asked(monkeypatch, environment) is not None
    (made,) = made_in(tmp_path)
    before = made.stat().st_mtime_ns
    command = [sys.executable, "-c", "from models.engines.cpu.kernels import library; assert library() is not None"]
    subprocess.run(command, env=dict(os.environ), check=True)
    assert [made] == list(made.parent.iterdir()) and made.stat().st_mtime_ns == before


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_damaged_library_is_compiled_anew(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_where_others_write(tmp_path)
    assert asked(monkeypatch, {"HPO_CACHE": str(tmp_path)}) is not None
    (made,) = made_in(tmp_path)
    whole = made.read_bytes()
    made.unlink()  # this process has it mapped: it must not be written into
    made.write_bytes({"cut": whole[:5000], "empty": b"", "foreign": Path(sys.executable).resolve().read_bytes()}[damage])
    assert asked(monkeypatch, {"HPO_CACHE": str(tmp_path)}) is not None
    assert [path.read_bytes() for path in made.parent.iterdir()] == [whole]


@needs_compiler
@pytest.mark.parametrize("environment", [{"CC": ""}, {"CC": " "}, {"HPO_CACHE": "/proc/nowhere"}, {"HPO_CACHE": "."}])
def test_an_odd_environment_is_no_obstacle(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked(monkeypatch, {"HPO_CACHE": str(tmp_path), **environment}) is not None


# -- kernels against float64 -----------------------------------------------------------------------------------------------


def loaded() -> ctypes.CDLL:
    assert library is not None
    return library


@pytest.mark.parametrize("kind", [name for name in ACTIVATIONS if name != "swiglu"])
@needs_kernels
def test_activations_and_their_derivatives(kind: str) -> None:
    x = torch.cat([torch.linspace(-14, 14, 20_001), torch.tensor([0.0, -0.0, 1e-30, -40.0, 40.0, -1e12, 1e12])])
    u, a = x.clone(), torch.empty_like(x)
    loaded().activate(pointer(u), pointer(a), 1, len(x), {"gelu": 0, "gelu_tanh": 1, "relu2": 2}[kind])
    f: Callable[[Tensor], Tensor] = ACTIVATIONS[kind]
    exact, slope = f(x.double()), vmap(grad(f))(x.double())
    assert ((a - exact).abs() / exact.abs().clamp(min=1)).max() < 4e-7
    assert ((u - slope).abs() / slope.abs().clamp(min=1)).max() < (4e-6 if kind == "gelu_tanh" else 6e-7)


def attended(with_: ctypes.CDLL, b: int, t: int, n: int, k: int, d: int) -> tuple[list[Tensor], list[Tensor]]:
    """(y, dqkv) of the kernels and of the plain formula in float64."""
    generator = torch.Generator().manual_seed(t)
    qkv = torch.randn(b * t, (n + 2 * k) * d, generator=generator) * 2
    dy, y, logs, dqkv = torch.randn(b * t, n * d, generator=generator), torch.empty(b * t, n * d), torch.empty(b, n, t), qkv + 1
    sizes = b, t, n, k, d, 0.9 / sqrt(d)
    assert with_.attention(pointer(qkv), pointer(y), pointer(logs), *sizes) == 0
    assert with_.attention_backward(*(pointer(x) for x in (dy, qkv, y, logs, dqkv)), *sizes) == 0
    exact = qkv.double().requires_grad_()
    q, keys, v = (x.view(b, t, -1, d).transpose(1, 2) for x in exact.split([n * d, k * d, k * d], dim=1))
    keys, v = (x.repeat_interleave(n // k, dim=1) for x in (keys, v))
    scores = (q @ keys.transpose(2, 3) * sizes[-1]).masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -torch.inf)
    out = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b * t, n * d)
    (dexact,) = torch.autograd.grad(out, exact, dy.double())
    return [y, dqkv], [out.detach(), dexact]


SIZES = [(2, 1, 1, 1, 1), (3, 7, 2, 2, 5), (1, 16, 2, 1, 16), (2, 50, 4, 2, 36), (1, 130, 3, 3, 64), (1, 33, 6, 2, 17)]


@pytest.fixture(scope="module", params=["as it is", "-march=haswell", "-march=x86-64"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels for this processor, and for ones with narrower vectors."""
    if request.param == "as it is":
        return loaded()
    if platform.machine() != "x86_64" or (request.param == "-march=haswell" and "avx2" not in kernels._processor()):
        pytest.skip("this processor is of another family")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "NATIVE", [request.param])
        patch.setenv("HPO_CACHE", str(tmp_path_factory.mktemp("kernels")))
        return kernels._load(kernels._library_file())


@pytest.mark.parametrize("sizes", SIZES)
@needs_kernels
def test_attention_and_its_gradient(compiled: ctypes.CDLL, sizes: tuple[int, int, int, int, int]) -> None:
    for ours, exact in zip(*attended(compiled, *sizes), strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=2e-5, atol=2e-5)


@needs_kernels
def test_attention_sees_nothing_of_what_comes_later() -> None:
    qkv, logs = torch.randn(40, 3 * 8), torch.empty(1, 1, 40)
    before, after = torch.empty(40, 8), torch.empty(40, 8)
    loaded().attention(pointer(qkv), pointer(before), pointer(logs), 1, 40, 1, 1, 8, 0.3)
    qkv[25:] = 1e6
    loaded().attention(pointer(qkv), pointer(after), pointer(logs), 1, 40, 1, 1, 8, 0.3)
    assert torch.equal(before[:25], after[:25]) and not torch.equal(before[25:], after[25:])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("z", [0.0, 0.1])
@pytest.mark.parametrize("offset", [0.0, 1e4])
@needs_kernels
def test_the_loss_and_its_gradient(smoothing: float, z: float, offset: float) -> None:
    logits, targets = torch.randn(9, 37) * 20 + offset, torch.randint(37, (9,))
    exact = logits.double().requires_grad_()
    expected = F.cross_entropy(exact, targets, label_smoothing=smoothing) + z * exact.logsumexp(-1).square().mean()
    (slope,) = torch.autograd.grad(expected, exact)
    loss = loaded().token_loss(pointer(logits), pointer(targets), 9, 37, smoothing, z, 3.0)
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(logits.double(), 3 * slope, rtol=1e-5, atol=1e-6 * (1 + z * offset))


@pytest.mark.parametrize("kernel", ["0", "1", "2", "3", "attention", "norm", "token_loss"])
@needs_kernels
def test_not_a_number_goes_in_and_comes_out(kernel: str) -> None:
    x, y, more = torch.randn(4, 24), torch.zeros(4, 8), torch.zeros(64)
    ones, targets = torch.ones(24), torch.zeros(4, dtype=torch.int64)
    x[0, 3] = torch.nan
    if kernel.isdecimal():  # an activation
        loaded().activate(pointer(x), pointer(y), 4, 8, int(kernel))
    elif kernel == "attention":
        loaded().attention(pointer(x), pointer(y), pointer(more), 1, 4, 1, 1, 8, 0.3)
    elif kernel == "norm":
        y = torch.zeros(4, 24)
        loaded().norm(pointer(x), None, None, pointer(ones), None, pointer(y), pointer(more), 4, 24, 1e-5, 0)
    else:
        y = torch.tensor(loaded().token_loss(pointer(x), pointer(targets), 4, 24, 0.0, 0.0, 1.0))
    assert y.isnan().any()
