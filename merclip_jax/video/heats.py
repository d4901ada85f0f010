"""Where on the faces of an event its answer comes from."""

from collections.abc import Sequence

import numpy as np

from merclip_jax.explaining import heat
from merclip_jax.results import figures
from merclip_jax.video.answer import Answerer
from merclip_jax.video.page import Heat
from merclip_jax.video.result import Shown

MOST = 6  # events with maps, those of the highest scores
_PICTURES = 7


def heats(shown: Sequence[Shown], answerer: Answerer) -> dict[int, Heat]:
    """Maps of some events by their places; none where the method has no places.

    Of an emotion that was trained on, else of the AU that is most probable.

    Args:
        shown: events with their windows.
        answerer: that said them.
    """
    system, variables, context = answerer.model.members[0]
    order = sorted(range(len(shown)), key=lambda i: -shown[i].event.score)
    found = {}
    for i in order[:MOST]:
        event, window = shown[i].event, shown[i].window
        if window is None:
            continue
        batch = answerer.batch([window])
        given = system, variables, context, batch
        try:
            if answerer.model.about.classes:
                p = event.classes.copy()
                if answerer.nothing is not None:
                    p[answerer.nothing] = -1
                best = int(p.argmax())
                name = answerer.classes[best]
                maps = heat.class_maps(*given, np.asarray([best]))
            elif answerer.evidence:
                au = answerer.aus[int(event.aus.argmax())]
                name = f"AU{au}"
                maps = heat.au_maps(*given, answerer.evidence, au)
            else:
                return {}
        except ValueError:  # no layer of it lies on frames
            return {}
        t, size = window.frames.shape[:2]
        wide = heat.on_frames(maps, t, size)[0]
        wide = wide / max(float(wide.max()), 1e-30)
        some = np.rint(np.linspace(0, t - 1, min(t, _PICTURES))).astype(int)
        # What speaks most may lie in a picture between those.
        most = int(wide.max((1, 2)).argmax())
        some[np.abs(some - most).argmin()] = most
        pictures = [figures.overlaid(window.frames[k], wide[k]) for k in some.tolist()]
        found[i] = (name, pictures)
    return found
