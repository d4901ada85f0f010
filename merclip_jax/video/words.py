"""What was found in a video in words, and what a reader must know of them."""

from collections.abc import Sequence

import numpy as np

from merclip_jax.results.counted import counted
from merclip_jax.scoring import conformal
from merclip_jax.text import wording
from merclip_jax.video.answer import Answerer
from merclip_jax.video.events import Event
from merclip_jax.video.result import SLOWEST, Result

NOT_FOUND = "no micro-expression found"
UNSURE = "unsure"
_LIKELY = 0.5  # probability from which an AU is told


def verdict(result: Result) -> str:
    """What was found, in words; never a forced emotion."""
    if not any(row.face >= 0 for row in result.rows):
        return "no face found"
    if result.events:
        return counted(len(result.events), "possible micro-expression")
    best = result.best
    if best is None:
        return f"{NOT_FOUND}: no window of a face is long enough"
    return f"{NOT_FOUND} (highest score {best.score:.2f} at {best.middle:.2f} s)"


def promise(answerer: Answerer) -> str:
    """What stands behind an answered emotion."""
    if answerer.sets is None:
        return "none: it is not known how sure the model is"
    return (
        "an emotion is answered where it is alone in a set that held the true one in "
        f"{conformal.LEVEL:.0%} of the clips like those it was calibrated on"
    )


def notes(result: Result, answerer: Answerer) -> list[str]:
    """What a reader must know of this answer."""
    about = answerer.model.about
    found = list(about.notes)
    if about.contract != "raw-window":
        found.append(
            "The model was trained on clips that were cut where annotators said, not "
            "on raw video: it has no answer for a face that shows nothing, and motion "
            "alone says when to ask it."
        )
    if about.dataset.startswith("synthetic"):
        found.append(
            "The model is a demonstration: it was trained on procedural faces alone. "
            "What it says of people is worth nothing."
        )
    if 0 < result.rate < SLOWEST:
        found.append(
            f"{result.rate:.1f} pictures a second: a micro-expression may fall between "
            "them; record 60 or more."
        )
    if answerer.aus and len(answerer.calibrated) < len(answerer.aus):
        own = [f"AU{au}" for au in answerer.aus if au not in answerer.calibrated]
        found.append(f"Not calibrated, to be compared with themselves: {_and(own)}.")
    if answerer.classes and answerer.sets is None:
        found.append(
            "How often the answers are right is not known of this model: no promise "
            "stands behind a probability."
        )
    found.append(
        "A score says how alike a face's motion is to what was annotated elsewhere. It "
        "is no proof of what a person feels, and tells nothing of lies."
    )
    return found


def answered(event: Event, answerer: Answerer) -> tuple[str, list[str]]:
    """The answer to an event, or that there is none, and what it may be.

    One emotion is answered where it is the only one in its set; without sets where it
    has more than half of the probability.

    Args:
        event: which.
        answerer: that said it.
    """
    p = event.classes.copy()
    if not p.size:
        return UNSURE, []
    if answerer.nothing is not None:
        p[answerer.nothing] = 0
    names = list(answerer.classes)
    if answerer.sets is not None:
        inside = answerer.sets.of(event.classes[None])[0]
    else:
        inside = p > 0.5 * p.sum()
    possible = [names[i] for i in np.argsort(-event.classes) if inside[i]]
    alone = len(possible) == 1 and possible[0] == names[int(p.argmax())]
    return (possible[0] if alone else UNSURE), possible


def told(event: Event, answerer: Answerer) -> list[tuple[float, int]]:
    """AUs by their probabilities, the largest first; calibrated ones where any is.

    Args:
        event: which.
        answerer: that said it.
    """
    known = answerer.calibrated or answerer.aus
    both = zip(event.aus.tolist(), answerer.aus, strict=True)
    return sorted(((p, au) for p, au in both if au in known), reverse=True)


def sentence(event: Event, answerer: Answerer) -> str:
    """An event in words: what moved, what it suggests, how sure.

    Args:
        event: which.
        answerer: that said it.
    """
    moved = [(p, au) for p, au in told(event, answerer) if p >= _LIKELY]
    words = [
        f"{wording.PHRASES.get(au, f'AU{au}').lower()} (AU{au}, {p:.2f})"
        for p, au in moved[:4]
    ]
    shown = _and(words) if words else "no action unit that could be named"
    answer, possible = answered(event, answerer)
    if answer != UNSURE:
        p = event.classes[answerer.classes.index(answer)]
        suggests = f"it suggests {answer} ({p:.2f})"
    elif len(possible) > 1:
        suggests = f"it may be {_and(possible, 'or')}: no answer is given"
    else:
        suggests = "no emotion can be told"
    return (
        f"From {event.onset:.2f} to {event.offset:.2f} s, strongest at "
        f"{event.apex:.2f} s (score {event.score:.2f}): {shown}; {suggests}."
    )


def _and(words: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
