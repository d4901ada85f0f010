"""Finds weight files on the disk and on the hub, with what must lie beside them."""

from pathlib import Path, PurePosixPath

import huggingface_hub
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from merclip_jax.errors import UserError
from merclip_jax.files import expanded
from merclip_jax.weights.formats import shards

HUB = "hf://"
# What the folders of Hugging Face and open_clip hold, the first that is there.
IN_FOLDER = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
    "adapter_model.safetensors",  # LoRA: told when it is read
    "adapter_model.bin",
)
# (what lies in a folder that no reader here knows, what it is, what makes a file of it)
_FOLDERS = (
    (
        "*.distcp",
        "a distributed checkpoint of torch",
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE",
    ),
    ("zero_to_fp32.py", "a DeepSpeed checkpoint", "python zero_to_fp32.py FOLDER FILE"),
    ("saved_model.pb", "a TensorFlow model", "its authors' tools for PyTorch"),
    ("*.ckpt.index", "a TensorFlow checkpoint", "its authors' tools for PyTorch"),
)
# What lies beside weights in a folder of a training and is none.
_BESIDE = ("optimizer", "scheduler", "rng_state", "scaler", "training_args")
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".pyth", ".ckpt", ".pkl", ".tar")
CONFIGS = ("config.json", "open_clip_config.json")
BESIDE = ("vocab.json", "merges.txt", "tokenizer.json", *CONFIGS)


def locate(source: str) -> Path:
    """The local path of a source: a path, or a file of the hub that is fetched.

    With a file of the hub come the tokenizer and configuration that lie in its folder.
    Raises UserError when it does not exist or cannot be fetched.
    """
    if not source.startswith(HUB):
        path = expanded(source)
        if not path.exists():
            raise UserError(f"{source}: there is no such file or folder")
        return path
    parts = source.removeprefix(HUB).split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise UserError(f"{source}: expected hf://owner/name/file")
    repo, name = "/".join(parts[:2]), PurePosixPath(parts[2])
    try:  # the file itself first: what lies beside it is no use without
        path = _fetched(repo, str(name), source)
        if path.name.endswith(shards.INDEX):
            for part in sorted(set(shards.indexed(path).values())):
                _fetched(repo, str(name.with_name(part)), source)
    except EntryNotFoundError as error:
        raise UserError(f"{source}: cannot be fetched ({error})") from error
    for other in BESIDE:
        try:
            _fetched(repo, str(name.with_name(other)), source)
        except EntryNotFoundError:  # few repositories have all of them
            continue
    return path


def files_of(path: Path) -> list[Path]:
    """The weight files that a path means, an index before its parts.

    Args:
        path: of a file, of the index of a file in parts, or of a model's folder.

    Returns:
        One file, or an index and its parts, or the parts without an index.

    Raises:
        UserError: the folder holds none or several, or a part lacks.
    """
    if path.name.endswith(shards.INDEX):
        return [path, *shards.parts_of(path)]
    if not path.is_dir():
        if shards.is_part(path):
            shards.whole([path])
        return [path]
    for name in IN_FOLDER:
        if (path / name).exists():
            return [path / name]
    indices = sorted(path.glob(f"*{shards.INDEX}"))
    if indices:  # safetensors before pickles, as with single files
        first = f".safetensors{shards.INDEX}"
        index = max(indices, key=lambda path: path.name.endswith(first))
        return [index, *shards.parts_of(index)]
    parts = sorted(filter(shards.is_part, path.iterdir()))
    if len(shards.group([part.name for part in parts])) == 1:
        shards.whole(parts)
        return parts
    for pattern, what, remedy in _FOLDERS:
        if any(path.glob(pattern)):
            raise UserError(f"{path}: {what}; a file is made of it by {remedy}")
    others = [
        p.name
        for p in sorted(path.iterdir())
        if p.suffix in _SUFFIXES and not p.name.startswith(_BESIDE)
    ]
    there = f"; give one of {', '.join(others[:5])}" if others else ""
    raise UserError(f"{path}: holds none of {', '.join(IN_FOLDER)}{there}")


def check_activation(path: Path) -> None:
    """UserError when a file's own configuration names another activation than ours."""
    # Shapes do not show it: such a tower would load and compute something else.
    for name in CONFIGS:
        beside = path.with_name(name)
        if not beside.exists():
            continue
        try:
            used = _activations(shards.load_json(beside))
        except (AttributeError, TypeError) as error:
            raise UserError(
                f"{beside}: not a model's configuration ({error})"
            ) from error
        if used - {"quick_gelu"}:
            raise UserError(
                f"{path}: {name} beside it says that its towers use "
                f"{' and '.join(sorted(used - {'quick_gelu'}))}; the towers here use "
                "quick_gelu, as OpenAI's do, and would compute something else"
            )


def _activations(config: dict) -> set[str]:
    """What a configuration says of both towers, or of its only one."""
    towers = [config, *(config.get(f"{t}_config") or {} for t in ("vision", "text"))]
    used = {tower["hidden_act"] for tower in towers if "hidden_act" in tower}
    # open_clip says quick_gelu where it is so, and nothing where it is GELU.
    if "model_cfg" in config and not config["model_cfg"].get("quick_gelu"):
        used.add("gelu")
    return used


def _fetched(repo: str, name: str, source: str) -> Path:
    """A file of the hub; EntryNotFoundError when its repository lacks it."""
    try:
        return Path(huggingface_hub.hf_hub_download(repo, name))
    except LocalEntryNotFoundError as error:  # no network, and not fetched before
        if huggingface_hub.try_to_load_from_cache(repo, name) is not None:
            raise EntryNotFoundError(name) from error  # known to be absent
        raise UserError(f"{source}: {name} cannot be fetched ({error})") from error
    except EntryNotFoundError:
        raise
    except Exception as error:  # the hub and its HTTP client each raise their own
        raise UserError(f"{source}: {name} cannot be fetched ({error})") from error
