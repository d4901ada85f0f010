"""What a training starts from, as a config says it."""

import dataclasses

from merclip_jax.declared import check


@dataclasses.dataclass(frozen=True)
class WholeOptions:
    """Weights of a whole model to start from: a path, a folder of ours, or hf://.

    model: the source, "" for random weights; new_head: start the last layer anew;
    weights: which of the sets of weights in the file (a name that convert --check
    shows), "" for the training's own; seen: datasets that it was trained on, where it
    does not say so itself.
    """

    model: str = ""
    new_head: bool = False
    weights: str = ""
    seen: tuple[str, ...] = ()

    def __post_init__(self):
        check(self)
        for name in ("new_head", "weights", "seen"):
            if getattr(self, name) and not self.model:
                raise ValueError(f"{name}={getattr(self, name)}: goes with model")


@dataclasses.dataclass(frozen=True)
class InitOptions:
    """Published weights to start from: a path, a folder of ours, hf://owner/name/file.

    vision: the encoder's, "" for random ones; text: the text tower's and its tokenizer;
    merclip: a whole MER-CLIP's, in place of vision; norm_from_classifier: take
    UniFormerV2's norm before its classifier as the pooled feature's; new_head: with
    merclip, start the last layer anew; weights: which of the sets of weights in the
    file of vision or merclip (raw, ema, or a name that convert --check shows), "" for
    the training's own; seen: datasets of micro-expressions that these weights were
    trained on, where they do not say so themselves.
    """

    vision: str = ""
    text: str = ""
    merclip: str = ""
    norm_from_classifier: bool = True
    new_head: bool = False
    weights: str = ""
    seen: tuple[str, ...] = ()

    def __post_init__(self):
        check(self)
        if self.seen and not (self.vision or self.merclip):
            raise ValueError(f"seen={self.seen}: goes with vision or merclip")


@dataclasses.dataclass(frozen=True)
class ClipInitOptions:
    """CLIP's published towers to start from, each as in InitOptions.

    vision: the image tower's, "" for random ones; text: the text tower's and its
    tokenizer; weights: which of the sets of weights in the file of vision.
    """

    vision: str = ""
    text: str = ""
    weights: str = ""

    def __post_init__(self):
        check(self)
        if self.weights and not self.vision:
            raise ValueError(f"weights={self.weights} goes with vision")
