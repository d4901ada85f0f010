"""LoRA and its kin: small matrices that are to be added to weights, not weights."""

import re
from collections.abc import Mapping

import numpy as np

from merclip_jax.errors import UserError
from merclip_jax.weights.formats.tensors import Tensor

# peft's and loralib's, kohya's, and those of LoHa, LoKr, IA3 and DoRA.
_FIRST = re.compile(r"(^|.*\.)lora_(A|down|embedding_A)($|[._].*)")
_ANY = re.compile(
    r"(^|.*[._])(lora_(A|B|E|up|down|embedding_[AB]|magnitude_vector)|hada_w[12]_[ab]"
    r"|lokr_w[12]\w*|ia3_l|base_layer)($|[._].*)"
)


def check_adapters(path: str, tensors: Mapping[str, np.ndarray | Tensor]) -> None:
    """UserError for a file with an adapter that was not merged into its weights.

    Args:
        path: of the file.
        tensors: by key; none of them is read.
    """
    added = [key for key in tensors if _ANY.fullmatch(key)]
    if not added:
        return
    ranks = {
        # (rank, in) of a linear layer; peft's embeddings have it so too.
        tensors[key].shape[0]
        for key in added
        if _FIRST.fullmatch(key) and len(tensors[key].shape) > 1
    }
    told = f"rank {' and '.join(map(str, sorted(ranks)))}" if ranks else "rank unknown"
    whole = any(".base_layer." in key for key in added) or len(added) < len(tensors)
    what = "that was not merged into its weights" if whole else "without any weights"
    raise UserError(
        f"{path}: holds a LoRA adapter ({told}, {len(added)} tensors such as "
        f"{added[0]}) {what}. Merge it first, with peft: PeftModel.from_pretrained("
        "model, adapter).merge_and_unload().state_dict(), save that and give it here"
    )
