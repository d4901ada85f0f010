"""How often the 95 % interval over subjects holds the truth, in five kinds of study.

  python -m benchmarks.coverage --studies=1000

A study draws subjects who differ in how easily they are read, their clips and the
answers to them; the truth is the score of 60,000 such subjects. Beside the interval
that a card shows stand those that resample subjects with replacement, and how often the
interval of the difference between two equally good systems holds zero. No clip, model
or device takes part: minutes on one core.
"""

import argparse
import dataclasses
import json

import numpy as np
from scipy import stats

from merclip_jax.scoring import intervals, metrics, paired

TRUTH = 60_000
SCORES = ("uf1", "uar", "acc")
THIRDS = (1 / 3, 1 / 3, 1 / 3)
SKEWED = (0.46, 0.24, 0.13, 0.08, 0.05, 0.025, 0.015)


@dataclasses.dataclass(frozen=True)
class Setting:
    """A kind of study: how many subjects, and how frequent the classes are."""

    name: str
    subjects: int
    priors: tuple[float, ...]
    clips: tuple[int, int] = (3, 16)  # of a subject: from, up to but not including


SETTINGS = (
    Setting("25 subjects, 3 equal classes", 25, THIRDS),
    Setting("25 subjects, .6/.2/.2", 25, (0.6, 0.2, 0.2)),
    Setting("10 subjects, 3 equal classes", 10, THIRDS),
    Setting("28 subjects, 7 skewed classes", 28, SKEWED),
    Setting("92 subjects, 7 skewed classes", 92, SKEWED),
)


def study(setting: Setting, rng: np.random.Generator, subjects: int) -> np.ndarray:
    """Confusion matrices [s, k, k] of a study's subjects."""
    return studies_of(setting, rng, subjects, systems=1)[0]


def studies_of(
    setting: Setting, rng: np.random.Generator, subjects: int, *, systems: int
) -> list[np.ndarray]:
    """The same of several equally good systems that were asked the same clips.

    A subject's clips are answered rightly with a probability of their own, Beta(3, 2),
    the rarest class at 0.55 times it; wrong answers follow the classes' frequency.
    """
    k = len(setting.priors)
    ease = rng.beta(3, 2, size=subjects)
    hard = np.linspace(0, 0.45, k)
    who = np.repeat(np.arange(subjects), rng.integers(*setting.clips, size=subjects))
    label = rng.choice(k, size=who.size, p=setting.priors)
    found = []
    for _ in range(systems):
        right = rng.random(who.size) < ease[who] * (1 - hard[label])
        answer = np.where(right, label, rng.choice(k, size=who.size, p=setting.priors))
        matrices = np.zeros((subjects, k, k))
        np.add.at(matrices, (who, label, answer), 1)
        found.append(matrices)
    return found


def equal_systems(setting: Setting, studies: int) -> list[dict]:
    """How often the paired interval of two equally good systems holds zero."""
    held = {score: 0 for score in SCORES}
    for i in range(studies):
        rng = np.random.default_rng(i)
        a, b = studies_of(setting, rng, setting.subjects, systems=2)
        runs = {"a": a[:, None], "b": b[:, None]}
        gaps = paired.differences(runs, "a")["b"]
        for score in SCORES:
            held[score] += gaps[score].low <= 0 <= gaps[score].high
    return [
        {"setting": setting.name, "method": "paired, equal systems", "score": score}
        | {"held_%": round(100 * count / studies, 1)}
        for score, count in held.items()
    ]


def scores(matrices: np.ndarray) -> np.ndarray:
    """UF1, UAR and ACC [..., 3] of matrices [..., k, k]."""
    stacked = np.reshape(matrices, (-1, *matrices.shape[-2:]))
    found = np.stack(metrics.pooled_scores(stacked)[:3], -1)
    return found.reshape(*matrices.shape[:-2], 3)


def jackknife(matrices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intervals [2, 3] as a card shows them."""
    del rng
    whole = matrices.sum(0)
    without = scores(whole - matrices)
    pairs = zip(scores(whole), without.T, strict=True)
    return np.asarray([intervals.jackknife(x, each) for x, each in pairs]).T


def _resampled(matrices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    s = len(matrices)
    times = rng.multinomial(s, np.full(s, 1 / s), size=1000).astype(float)
    return scores((times @ matrices.reshape(s, -1)).reshape(-1, *matrices.shape[1:]))


def percentile(matrices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intervals [2, 3] between the percentiles of resampled scores."""
    return np.percentile(_resampled(matrices, rng), (2.5, 97.5), axis=0)


def bca(matrices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intervals [2, 3] by Efron's bias-corrected and accelerated percentiles."""
    drawn, whole = _resampled(matrices, rng), matrices.sum(0)
    value, without = scores(whole), scores(whole - matrices)
    off = without.mean(0) - without
    acceleration = (off**3).sum(0) / (6 * (off**2).sum(0) ** 1.5)
    below = (drawn < value).mean(0) + (drawn == value).mean(0) / 2
    bias = stats.norm.ppf(np.clip(below, 1e-3, 1 - 1e-3))
    found = []
    for z in stats.norm.ppf((0.025, 0.975)):
        moved = bias + (bias + z) / (1 - acceleration * (bias + z))
        places = stats.norm.cdf(moved)
        found.append([np.quantile(d, p) for d, p in zip(drawn.T, places, strict=True)])
    return np.asarray(found)


METHODS = {"jackknife": jackknife, "percentile": percentile, "bca": bca}


def coverage(setting: Setting, studies: int, methods: dict = METHODS) -> list[dict]:
    """Rows of setting, method, score, coverage, truth above, mean width in percent."""
    truth = scores(study(setting, np.random.default_rng(99), TRUTH).sum(0))
    ends = {name: [] for name in methods}
    for i in range(studies):
        matrices = study(setting, np.random.default_rng(i), setting.subjects)
        for name, method in methods.items():
            ends[name].append(method(matrices, np.random.default_rng((7, i))))
    rows = []
    for name, found in ends.items():
        low, high = np.moveaxis(np.asarray(found), 1, 0)
        held, above = (low <= truth) & (truth <= high), truth > high
        for k, score in enumerate(SCORES):
            shares = held.mean(0)[k], above.mean(0)[k], (high - low).mean(0)[k]
            rows.append(
                {"setting": setting.name, "method": name, "score": score}
                | {"truth": round(float(truth[k]), 3)}
                | dict(
                    zip(
                        ("held_%", "above_%", "width_%"),
                        (round(100 * float(share), 1) for share in shares),
                        strict=True,
                    )
                )
            )
    return rows


def main() -> None:
    """Print a row for every setting, method and score as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000, help="of each setting")
    flags = parser.parse_args()
    for setting in SETTINGS:
        rows = coverage(setting, flags.studies)
        for row in [*rows, *equal_systems(setting, flags.studies)]:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
