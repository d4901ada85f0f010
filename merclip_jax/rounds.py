"""One stack of members from init or checkpoint to saved predictions: the loop."""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from tqdm import tqdm

from merclip_jax import sharding, train
from merclip_jax.checkpoint import RoundCheckpoint
from merclip_jax.data.batches import member_batches, padded, stack_batches
from merclip_jax.programs import Plan, Programs, steps_per_epoch
from merclip_jax.protocols import Member
from merclip_jax.story import Story
from merclip_jax.weights import bundle
from merclip_jax.weights.families.mer_clip import modules_of
from merclip_jax.weights.provenance import of_training
from merclip_jax.workdir import MemberResult, load_member, save_member
from merclip_jax.writers import ScalarWriter


def run_rounds(plan: Plan, members: Sequence[Member], stack: int) -> None:
    """Train all members, `stack` at a time; those with saved predictions are kept.

    Rounds are fixed slices of `members`, so a run that was stopped goes on with the
    same stacks. The last round is filled up with repeats of its last member, so that
    one compiled program serves all.
    """
    for member in members:  # a damaged file is better known before hours of training
        if _path(plan, member).exists():
            load_member(_path(plan, member), _tested(plan, member))
    programs = Programs(plan, members, stack)
    rounds = [members[i : i + stack] for i in range(0, len(members), stack)]
    total = len(rounds) * programs.calls * plan.scan_steps
    pause = 0.2 if sys.stderr.isatty() else 30.0  # seconds between updates of the bar
    with tqdm(
        total=total, unit="step", desc="training", smoothing=0.1, mininterval=pause
    ) as bar:
        for i, group in enumerate(rounds):
            name = f"round{i + 1}of{len(rounds)}"
            if all(_path(plan, m).exists() for m in group):
                shutil.rmtree(plan.workdir / "rounds" / name, ignore_errors=True)
                bar.update(programs.calls * plan.scan_steps)
                continue
            _run_round(plan, programs, name, group, bar)


def _run_round(
    plan: Plan, programs: Programs, name: str, group: Sequence[Member], bar: tqdm
) -> None:
    stacked = [group[min(i, len(group) - 1)] for i in range(programs.stack)]
    per_epoch = [steps_per_epoch(m, plan.batch_size) for m in stacked]
    keys = jnp.stack([jax.random.key(m.data_seed) for m in stacked])
    member = train.Member(
        key=keys,
        steps_per_epoch=jnp.asarray(per_epoch, jnp.int32),
        steps=jnp.asarray(per_epoch, jnp.int32) * plan.hyper.epochs,
    )
    member = jax.device_put(member, sharding.by_member(programs.mesh))
    state = programs.init(keys)
    story = Story(plan, stacked, per_epoch)
    checkpoint = RoundCheckpoint(plan.workdir / "rounds" / name)
    restored = checkpoint.restore({"state": state, "story": story.arrays})
    call = 0
    if restored:
        call, tree = restored
        state, story.arrays = tree["state"], tree["story"]
        tqdm.write(f"{name}: going on from step {call * plan.scan_steps}")
    bar.update(call * plan.scan_steps)

    writer = ScalarWriter(plan.workdir, name, resume_at=story.epochs_done())
    batches = stack_batches(
        [
            member_batches(
                m.fold.train,
                plan.labels,
                plan.store.clips.draw,
                seed=m.data_seed,
                batch_size=plan.batch_size,
                balanced=plan.balanced,
            )
            for m in stacked
        ],
        start=call * plan.scan_steps,
        stop=programs.calls * plan.scan_steps,
        scan_steps=plan.scan_steps,
    )
    started, epoch = time.monotonic(), story.epochs_done()
    try:
        for index, frames in plan.store.ahead(batches):
            batch = train.Batch(
                programs.place(frames, programs.scanned),
                *jax.device_put(
                    (plan.labels[index], plan.au_sets[index]), programs.scanned
                ),
            )
            state, scalars = programs.train(plan.prompts, state, member, batch)
            story.add(call * plan.scan_steps, scalars, index)
            call += 1
            bar.update(plan.scan_steps)
            last = call == programs.calls
            if plan.selection != "last" and (last or call % programs.look_every == 0):
                story.look(*_looked_at(plan, programs, state, stacked))
            saving = last or call % plan.checkpoint_every == 0
            if saving:
                story.settle()
            # Before the checkpoint: an epoch it counts as done is not logged again.
            while epoch < story.epochs_done():
                line = story.epoch(epoch)
                writer.write(epoch, line)
                tqdm.write(_log_line(name, epoch, plan.hyper.epochs, line, started))
                epoch += 1
            if saving:
                checkpoint.save(call, {"state": state, "story": story.arrays})
        _finish(plan, programs, state, group, stacked, story)
        checkpoint.delete()
    finally:
        writer.close()
        checkpoint.close()


def _looked_at(plan, programs, state, stacked) -> tuple[np.ndarray, list[np.ndarray]]:
    """Accuracy on the selecting clips, and test logits, of every member."""
    tests = [m.fold.test for m in stacked]
    logits, _ = predict(plan, programs, state, tests, programs.test_batches)
    if plan.selection == "oracle":
        chosen, answers = tests, logits
    else:
        chosen = [m.fold.inner for m in stacked]
        answers, _ = predict(plan, programs, state, chosen, programs.inner_batches)
    right = [
        np.mean(answer.argmax(-1) == plan.labels[index])
        for answer, index in zip(answers, chosen, strict=True)
    ]
    return np.asarray(right), logits


def predict(plan, programs, state, indices: Sequence[np.ndarray], batches: int):
    """Logits and embeddings of each member's clips: lists of [n, k] and [n, e].

    Batches are padded by repetition and the padding cut off again: every clip is
    predicted once.
    """
    length = batches * plan.batch_size
    filled = np.stack([padded(index, length)[0] for index in indices])
    logits, video = [], []
    for i in range(0, length, plan.batch_size):
        index = filled[:, i : i + plan.batch_size]
        clips = programs.place(plan.store.frames(index), programs.single)
        a, b = jax.device_get(programs.predict(state, clips))
        logits.append(a)
        video.append(b)
    logits, video = np.concatenate(logits, 1), np.concatenate(video, 1)
    sizes = [len(index) for index in indices]
    return (
        [row[:n] for row, n in zip(logits, sizes, strict=True)],
        [row[:n] for row, n in zip(video, sizes, strict=True)],
    )


def _finish(plan, programs, state, group, stacked, story) -> None:
    tests = [m.fold.test for m in stacked]
    logits, video = predict(plan, programs, state, tests, programs.test_batches)
    for m, member in enumerate(group):
        n = len(member.fold.test)
        best = story.arrays["best_logits"][m, :n]
        result = MemberResult(
            clip=_tested(plan, member),
            logits=logits[m],
            video=video[m],
            best_logits=logits[m] if plan.selection == "last" else best,
            history=story.history(m),
        )
        if plan.keep_weights:
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            one = jax.tree.map(lambda x, m=m: np.asarray(x[m]), variables)
            arrays = flatten_dict(one, sep="/")
            side = plan.store.clips.shape[1]
            bundle.write(
                plan.workdir / "weights" / member.name,
                {"video": arrays},
                modules=modules_of(plan.model, image_size=side),
                system=None,
                lineage=of_training(member.name, arrays, earlier=plan.lineage),
                tokenizer=None,
                replace=True,  # a round that was stopped here writes it again
            )
        path = _path(plan, member)
        if path.exists():
            load_member(path, result.clip)
        else:
            save_member(path, result)


def load_results(plan: Plan, members: Sequence[Member]) -> list[MemberResult]:
    """The saved results of all members."""
    return [load_member(_path(plan, m), _tested(plan, m)) for m in members]


def _tested(plan: Plan, member: Member) -> np.ndarray:
    return plan.store.clips.clip[member.fold.test]


def _path(plan: Plan, member: Member) -> Path:
    return plan.workdir / "members" / f"{member.name}.npz"


def _log_line(name, epoch, epochs, line, started) -> str:
    return (
        f"{name} epoch {epoch + 1:>3}/{epochs}  loss {line['loss']:.3f}  "
        f"align {line['loss/contrastive']:.3f} x{line['weight/contrastive']:.2f}  "
        f"emotion {line['loss/classification']:.3f} "
        f"x{line['weight/classification']:.2f}  acc {line['accuracy']:.2f}  "
        f"lr {line['lr']:.1e}  {time.monotonic() - started:.0f} s"
    )
