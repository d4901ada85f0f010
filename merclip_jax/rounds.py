"""One stack of members from init or checkpoint to saved predictions: the loop."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from merclip_jax import sharding, train
from merclip_jax.checkpoint import RoundCheckpoint, save_weights
from merclip_jax.data.batches import member_batches, padded, stack_batches
from merclip_jax.data.store import ClipStore
from merclip_jax.errors import UserError
from merclip_jax.models.mer_clip import MerClip
from merclip_jax.protocols import Member
from merclip_jax.workdir import MemberResult, load_member, save_member
from merclip_jax.writers import ScalarWriter


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything a round needs beside its members; labels, au_sets: [n]."""

    model: MerClip
    tx: optax.GradientTransformation
    hyper: train.Hyper
    prompts: train.Prompts
    store: ClipStore
    labels: np.ndarray
    au_sets: np.ndarray
    batch_size: int
    balanced: bool
    scan_steps: int
    checkpoint_every: int
    selection: str
    keep_weights: bool
    workdir: Path


def run_rounds(plan: Plan, members: Sequence[Member], stack: int) -> None:
    """Train all members, `stack` at a time; those with saved predictions are kept.

    Rounds are fixed slices of `members`, so a run that was stopped goes on with the
    same stacks. The last round is filled up with repeats of its last member, so that
    one compiled program serves all.
    """
    programs = Programs(plan, members, stack)
    rounds = [members[i : i + stack] for i in range(0, len(members), stack)]
    total = len(rounds) * programs.calls * plan.scan_steps
    pause = 0.2 if sys.stderr.isatty() else 30.0  # seconds between updates of the bar
    with tqdm(
        total=total, unit="step", desc="training", smoothing=0.1, mininterval=pause
    ) as bar:
        for i, group in enumerate(rounds):
            if all(_path(plan, m).exists() for m in group):
                bar.update(programs.calls * plan.scan_steps)
                continue
            _run_round(plan, programs, f"round{i + 1}of{len(rounds)}", group, bar)


class Programs:
    """The compiled functions of a stack, and the sizes that all rounds share."""

    def __init__(self, plan: Plan, members: Sequence[Member], stack: int):
        self.plan, self.stack = plan, stack
        self.mesh = sharding.make_mesh(stack, plan.batch_size)
        member, everywhere = (
            sharding.by_member(self.mesh),
            sharding.replicated(self.mesh),
        )
        self.scanned = sharding.by_batch(self.mesh, scanned=True)
        self.single = sharding.by_batch(self.mesh, scanned=False)
        self.resident = plan.store.resident
        if self.resident is not None:
            self.resident = jax.device_put(self.resident, everywhere)
        self.gather = {
            where: jax.jit(lambda clips, index: clips[index], out_shardings=where)
            for where in (self.scanned, self.single)
        }
        shape = plan.store.clips.shape
        self.init = jax.jit(
            train.stack_init(plan.model, plan.tx, shape), out_shardings=member
        )
        step = train.stack_train(plan.model, plan.tx, plan.hyper)

        def steps(prompts, state, member, batches):
            return jax.lax.scan(
                lambda s, batch: step(prompts, s, member, batch), state, batches
            )

        self.train = jax.jit(
            steps,
            in_shardings=(everywhere, member, member, self.scanned),
            out_shardings=(member, everywhere),
            donate_argnums=1,
        )
        self.predict = jax.jit(
            train.stack_predict(plan.model),
            in_shardings=(member, self.single),
            out_shardings=everywhere,
        )
        lengths = [steps_per_epoch(m, plan.batch_size) for m in members]
        longest = max(lengths) * plan.hyper.epochs
        self.calls = -(-longest // plan.scan_steps)
        # Selection looks about once an epoch, at steps that all members share.
        self.look_every = max(1, round(max(lengths) / plan.scan_steps))
        self.test_batches = -(
            -max(len(m.fold.test) for m in members) // plan.batch_size
        )
        inner = max(len(m.fold.inner) for m in members)
        self.inner_batches = -(-inner // plan.batch_size)

    def place(self, index: np.ndarray, clips: np.ndarray | None, where) -> jax.Array:
        """Clips of an index array on their devices: gathered there, or sent."""
        if self.resident is not None:
            return self.gather[where](self.resident, jnp.asarray(index))
        return jax.device_put(
            self.plan.store.decode(index) if clips is None else clips, where
        )

    def memory(self) -> int:
        """Bytes that a training call needs, resident clips included."""
        m, plan = self.stack, self.plan
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), m))
        state = jax.eval_shape(self.init, keys)
        integers = jax.ShapeDtypeStruct((m,), jnp.int32)
        lead = (plan.scan_steps, m, plan.batch_size)
        batch = train.Batch(
            jax.ShapeDtypeStruct((*lead, *plan.store.clips.shape), jnp.uint8),
            *[jax.ShapeDtypeStruct(lead, jnp.int32)] * 2,
        )
        member = train.Member(keys, integers, integers)
        compiled = self.train.lower(plan.prompts, state, member, batch).compile()
        use = compiled.memory_analysis()
        return (
            use.temp_size_in_bytes
            + use.argument_size_in_bytes
            + use.output_size_in_bytes
            - use.alias_size_in_bytes
            + (0 if self.resident is None else self.resident.nbytes)
        )


def members_that_fit(plan: Plan, members: Sequence[Member], most: int) -> int:
    """How many members train at once: by the device's memory, `most` on CPU.

    Compiles the program of one member and of two; their memory gives the cost of one
    more.
    """
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if not limit or len(members) == 1:
        return most * jax.device_count()
    used = [Programs(plan, members, n).memory() for n in (1, 2)]
    each = max(used[1] - used[0], 1)
    fit = 1 + int((0.8 * limit - used[0]) // each)
    return max(1, fit) * jax.device_count()


def steps_per_epoch(member: Member, batch_size: int) -> int:
    """ceil(training clips / batch), the iterations per epoch of MER_CLIP section 6."""
    return -(-len(member.fold.train) // batch_size)


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
        for index, clips in plan.store.ahead(batches):
            batch = train.Batch(
                programs.place(index, clips, programs.scanned),
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


class Story:
    """What a stack tells of its training; saved with every checkpoint.

    sums: [m, epochs, scalars], divided by `steps_per_epoch` once an epoch is full;
    best_score [m] and best_logits [m, n, k] belong to the selection.
    """

    def __init__(self, plan: Plan, stacked: Sequence[Member], per_epoch: list[int]):
        self.plan, self.stacked, self.per_epoch = plan, stacked, np.asarray(per_epoch)
        self.waiting = None
        m, classes = len(stacked), plan.model.classes
        tested = max(len(member.fold.test) for member in stacked)
        self.arrays = {
            "steps": np.zeros((), np.int32),
            "sums": np.zeros((m, plan.hyper.epochs, len(train.SCALARS)), np.float64),
            "best_score": np.full((m,), -1.0),
            "best_logits": np.zeros((m, tested, classes), np.float32),
        }

    def add(self, start: int, scalars: dict, index: np.ndarray) -> None:
        """Take the scalars [k, m] of steps start..start+k-1 on clips `index` [k, m, b].

        They are read when the next ones come, so that the device never waits.
        """
        self.settle()
        self.waiting = start, scalars, index

    def settle(self) -> None:
        """Read what `add` was given last.

        Raises UserError, with step, member and clips, for a loss that is not finite.
        """
        if self.waiting is None:
            return
        (start, scalars, index), self.waiting = self.waiting, None
        table = np.stack([np.asarray(scalars[n]) for n in train.SCALARS], -1)
        for k, row in enumerate(table):
            epochs = (start + k) // self.per_epoch
            running = epochs < self.plan.hyper.epochs
            bad = np.flatnonzero(running & ~np.isfinite(row[:, 0]))
            if bad.size:
                m = int(bad[0])
                clips = self.plan.store.clips.clip[index[k, m]].tolist()
                raise UserError(
                    f"the loss of member {self.stacked[m].name} is {row[m, 0]} at step "
                    f"{start + k}, on clips {clips}; try a lower peak_lr or look at "
                    "these clips; the last checkpoint is from before this step"
                )
            self.arrays["sums"][np.flatnonzero(running), epochs[running]] += row[
                running
            ]
        self.arrays["steps"] = np.asarray(start + len(table), np.int32)

    def epochs_done(self) -> int:
        """Epochs that every member of the stack has finished."""
        done = int(self.arrays["steps"]) // self.per_epoch.max()
        return int(min(done, self.plan.hyper.epochs))

    def history(self, m: int) -> dict[str, np.ndarray]:
        """Mean scalars [epochs] of member m."""
        means = self.arrays["sums"][m] / self.per_epoch[m]
        return {name: means[:, i] for i, name in enumerate(train.SCALARS)}

    def epoch(self, epoch: int) -> dict[str, float]:
        """Mean scalars of an epoch over the stack's distinct members."""
        distinct = {member.name: m for m, member in enumerate(self.stacked)}
        rows = [self.history(m) for m in distinct.values()]
        return {n: float(np.mean([r[n][epoch] for r in rows])) for n in train.SCALARS}

    def look(self, scores: np.ndarray, logits: list[np.ndarray]) -> None:
        """Keep a member's test logits where its selection score [m] is a new best."""
        for m, better in enumerate(scores > self.arrays["best_score"]):
            if better:
                self.arrays["best_score"][m] = scores[m]
                self.arrays["best_logits"][m, : len(logits[m])] = logits[m]


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
        clips = programs.place(index, None, programs.single)
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
            clip=plan.store.clips.clip[member.fold.test],
            logits=logits[m],
            video=video[m],
            best_logits=logits[m] if plan.selection == "last" else best,
            history=story.history(m),
        )
        if plan.keep_weights:
            variables = {"params": state.params, "batch_stats": state.batch_stats}
            one = jax.tree.map(lambda x, m=m: np.asarray(x[m]), variables)
            save_weights(plan.workdir / "weights" / member.name, one)
        path = _path(plan, member)
        if path.exists():
            load_member(path, result.clip)
        else:
            save_member(path, result)


def load_results(plan: Plan, members: Sequence[Member]) -> list[MemberResult]:
    """The saved results of all members."""
    clips = plan.store.clips.clip
    return [load_member(_path(plan, m), clips[m.fold.test]) for m in members]


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
