"""Clips counted per task, and what accounts for a difference from the papers."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from data_builders.readers.findings import words
from data_builders.readers.release import Release
from data_builders.tasks import SUB24, Task, tasks_of

ClipFacts = tuple[str, str, str, str]  # split, subject, clip, emotion


_SHOWN = 10  # reasons that are printed


@dataclass(frozen=True)
class Tally:
    """A task counted on the clips of a build.

    counts: split -> class -> clips; subjects: split -> subjects; checksum: SHA-256 of
    the sample list; unknown: emotions that the task neither maps nor drops.
    """

    counts: dict[str, dict[str, int]]
    subjects: dict[str, int]
    checksum: str
    unknown: tuple[str, ...]


# Clips whose emotion depends on the version of the table, and what it is in the other.
_OTHER_TABLE = {
    ("casme2", "20140508"): (
        SUB24,
        "surprise",
        "sadness here, surprise in that of 2019",
    ),
}
# Copies of a table that lack all rows of an emotion: which, how many, what is known.
_LACKING = {"mmew": ("others", 66, "not in the copies of the table that go around")}


def tally(task: Task, clips: Iterable[ClipFacts]) -> Tally:
    """Counts a task.

    Args:
        task: Which.
        clips: (split, subject, clip's full name, emotion) of each.
    """
    classes = task.emotions
    counts: dict[str, Counter] = {}
    subjects: dict[str, set] = {}
    lines, unknown = [], set()
    # An emotion that a task neither maps nor drops is a mistake of the task or of the
    # table: it is told, and never left out without a word.
    for split, subject, clip, emotion in clips:
        if emotion in classes and clip not in task.excluded:
            name = classes[emotion]
            counts.setdefault(split, Counter())[name] += 1
            subjects.setdefault(split, set()).add(subject)
            lines.append(f"{split}\t{clip}\t{name}\n")
        elif emotion not in classes and emotion not in task.dropped:
            unknown.add(emotion)
    return Tally(
        {split: {n: counts[split][n] for n in task.names} for split in sorted(counts)},
        {split: len(subjects[split]) for split in sorted(subjects)},
        hashlib.sha256("".join(sorted(lines)).encode()).hexdigest(),
        tuple(sorted(unknown)),
    )


def differences(task: Task, found: Tally) -> list[str]:
    """Compares a tally with the published counts.

    Args:
        task: Which was counted.
        found: What was counted.

    Returns:
        A line for each split that differs, and for each emotion without a class.
    """
    lines = []
    for split, total in task.clips.items():
        have = found.counts.get(split, {})
        pairs = [("clips", sum(have.values()), total)]
        for name, count in zip(task.names, task.counts.get(split, ()), strict=False):
            pairs.append((name, have.get(name, 0), count))
        if split in task.subjects:
            pairs.append(
                ("subjects", found.subjects.get(split, 0), task.subjects[split])
            )
        differ = [f"{n} {a} instead of {b}" for n, a, b in pairs if a != b]
        lines += [f"{split}: {', '.join(differ)}"] if differ else []
    lines += [f"emotion {e!r} has no class in the task" for e in found.unknown]
    return lines


def report(release: Release, config: str) -> dict[str, dict]:
    """Counts every task of the release's dataset.

    Args:
        release: What was found.
        config: The config's name.

    Returns:
        Task -> classes, published counts, what was counted (`Tally`), `differences`,
        and `explained`: the clips that account for these, each with its reason; `equal`
        and `accounted` say whether there is a difference, and whether it is accounted
        for. Plain JSON values.
    """
    return {
        name: _report(task, release, config)
        for name, task in tasks_of(release.dataset).items()
    }


def _report(task: Task, release: Release, config: str) -> dict[str, object]:
    # Other configs, such as SMIC's long recordings, hold other clips, of which nothing
    # is published.
    if task.configs and config not in task.configs:
        task = replace(task, counts={}, clips={}, subjects={})
    built = {clip.row.clip for clip in release.clips}
    full = {f"{release.dataset}/{clip}" for clip in built}
    found = tally(task, [fact for fact in _facts(release) if fact[2] in full])
    differ = differences(task, found)
    explained, accounted = [], True
    if differ:
        # A split may be absent where others are there; nothing at all is no dataset.
        there = {row.split for row in release.rows} or set(task.clips)
        explained, facts = _explain(task, release, built)
        explained += [f"{name}: not there" for name in task.clips if name not in there]
        clips = {split: n for split, n in task.clips.items() if split in there}
        accounted = not differences(replace(task, clips=clips), tally(task, facts))
    return {
        "classes": list(task.names),
        "published": {
            split: dict(zip(task.names, counts, strict=True))
            for split, counts in task.counts.items()
        },
        "published_clips": dict(task.clips),
        "published_subjects": dict(task.subjects),
        **asdict(found),
        "unknown": list(found.unknown),
        "differences": differ,
        "explained": explained,
        "equal": not differ,
        "accounted": accounted,
    }


def table(tasks: Mapping[str, Mapping], *, everything: bool = False) -> list[str]:
    """Returns lines of a table of what `report` counted.

    A cell is "found/published" where they differ. The verdict is "as published",
    "accounted for" (by the reasons below the table), "DIFFERS", or "-" without
    published counts. A reason of several tasks is told once.

    Args:
        tasks: What `report` counted.
        everything: Whether all reasons are shown, not the first ones.
    """
    rows = [("task", "split", "clips", "subjects", "verdict", "classes")]
    for name, task in tasks.items():
        verdict = "as published" if task["equal"] else "accounted for"
        verdict = verdict if task["accounted"] else "DIFFERS"
        verdict = verdict if task["published_clips"] else "-"
        for split in sorted({*task["counts"], *task["published_clips"]}):
            found = task["counts"].get(split, dict.fromkeys(task["classes"], 0))
            wanted = task["published"].get(split, found)
            clips = sum(found.values())
            subjects = task["subjects"].get(split, 0)
            rows.append(
                (
                    name,
                    split,
                    _pair(clips, task["published_clips"].get(split, clips)),
                    _pair(subjects, task["published_subjects"].get(split, subjects)),
                    verdict,
                    ", ".join(f"{c} {_pair(n, wanted[c])}" for c, n in found.items()),
                )
            )
            name = verdict = ""
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(
            (*(c.ljust(w) for c, w in zip(row[:5], widths, strict=True)), row[5])
        ).rstrip()
        for row in rows
    ]
    remarks = dict.fromkeys(
        remark
        for task in tasks.values()
        for remark in (
            *task["explained"],
            *(f"no class for {emotion!r}" for emotion in task["unknown"]),
        )
    )
    shown = list(remarks)[: None if everything else _SHOWN]
    lines += [f"  {remark}" for remark in shown]
    more = len(remarks) - len(shown)
    return [*lines, f"  and {more} more"] if more else lines


def _pair(found: int, published: int) -> str:
    return str(found) if found == published else f"{found}/{published}"


def _facts(release: Release) -> list[ClipFacts]:
    """All rows of the table, whether they have frames or not."""
    seen, facts = set(), []
    for row in release.rows:
        if row.clip not in seen:
            full = f"{release.dataset}/{row.clip}"
            facts.append((row.split, row.subject, full, row.emotion))
        seen.add(row.clip)
    return facts


def _explain(
    task: Task, release: Release, built: set[str]
) -> tuple[list[str], list[ClipFacts]]:
    """Reasons clip by clip, and the facts as they would be without them."""
    # The first reason is enough: what else is odd in a clip is among the findings.
    reasons: dict[str, str] = {}
    for finding in release.findings:
        if finding.stops and finding.clip not in built:
            # The place and the cell are told once, with the finding.
            reasons.setdefault(finding.clip, words(finding.kind, 1))
    clips, emotion, why = _OTHER_TABLE.get(
        (release.dataset, release.version), ((), "", "")
    )
    listed = {row.clip for row in release.rows}
    lines = [
        f"{clip}: {reason}"
        for clip, reason in reasons.items()
        if clip and clip not in listed  # a row that cannot be read: no emotion to count
    ]
    facts = []
    # A difference is accounted for if the counts are as published once the missing
    # clips are taken as built and the relabelled ones as labelled in the other table.
    for split, subject, full, label in _facts(release):
        clip = full.removeprefix(f"{release.dataset}/")
        relabelled = emotion if full in clips else label
        classes = {task.emotions.get(label), task.emotions.get(relabelled)} - {None}
        if classes and clip not in built and full not in task.excluded:
            lines.append(f"{clip} ({label}): {reasons.get(clip, 'not built')}")
        if relabelled != label and classes and full not in task.excluded:
            lines.append(f"{clip}: {why}")
        facts.append((split, subject, full, relabelled))
    if lacking := _LACKING.get(release.dataset):
        emotion, number, why = lacking
        # Only where all rows are lacking: a copy with some of them is another one.
        if facts and emotion not in {fact[3] for fact in facts}:
            lines.append(f"{number} clips of {emotion!r}: {why}")
            split, subject, *_ = facts[0]
            facts += [(split, subject, f"{why} {n}", emotion) for n in range(number)]
    return lines, facts
