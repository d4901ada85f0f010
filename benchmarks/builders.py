"""How fast a dataset is built, beside plain OpenCV: decode and warp, nothing else.

    python -m benchmarks.builders --clips=860

Clips of 22 frames at 1280x720, made up and laid out like CASME II's selected tree. Each
case runs in a process of its own, the cases take turns over the rounds, and medians are
compared, with as many threads for plain OpenCV. The pictures are links to a pool.
"""

import argparse
import csv
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openpyxl

from data_builders import build
from data_builders.synthetic.face import draw_face
from merclip_jax.faces import align as faces

FRAMES, SUBJECTS, POOL = 22, 20, 20  # frames of a clip; subjects; clips in the pool
HEIGHT, WIDTH, FACE, TOP, LEFT = 720, 1280, 420, 150, 430
CASES = ("plain", "none", "csv", "dlib")
COLUMNS = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame")
EMOTIONS = ("disgust", "happiness", "others", "surprise")


def main() -> None:
    """Make the clips, run every case, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=860)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.case:
        run_case(flags.case[0], Path(flags.case[1]), flags.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sizes = [flags.clips // 4, flags.clips // 2, flags.clips]
        for size in sizes:
            make_clips(root / str(size), size, root / "pool")
        print(f"{flags.workers} threads; {FRAMES} frames a clip, {WIDTH}x{HEIGHT}")
        print("case      clips  seconds  frames/s  of plain   CPU s  of plain  peak GB")
        for size in sizes:
            runs = [
                [measured(case, root / str(size), flags.workers) for case in CASES]
                for _ in range(flags.rounds)
            ]
            medians = np.median(runs, axis=0)
            for case, (seconds, cpu, peak) in zip(CASES, medians, strict=True):
                first = medians[0]
                rate = size * FRAMES / seconds
                print(
                    f"{case:9} {size:5d}  {seconds:7.1f}  {rate:8.0f}"
                    f"  {first[0] / seconds:8.0%}  {cpu:6.1f}  {first[1] / cpu:8.0%}"
                    f"  {peak:7.2f}",
                    flush=True,
                )


def measured(case: str, folder: Path, workers: int) -> tuple[float, ...]:
    """(seconds, CPU seconds, peak GB) of a case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.builders", "--case", case, str(folder)]
    command.append(f"--workers={workers}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split("measured ")[1].split()))


def run_case(case: str, folder: Path, workers: int) -> None:
    """Run one case, print "measured SECONDS CPU GB"; imports are not counted."""
    begun, cpu = time.perf_counter(), time.process_time()
    if case == "plain":
        plain(folder, workers)
    else:
        data = folder / f"built_{case}"
        flags = ["--dataset=casme2/selected", f"--manual_dir={folder}"]
        flags += [f"--data_dir={data}", f"--faces={case}", f"--workers={workers}"]
        flags += [f"--landmarks={folder / 'landmarks.csv'}"] if case == "csv" else []
        if build.main(flags):
            sys.exit(1)
        shutil.rmtree(data)
    seconds = time.perf_counter() - begun
    cpu = time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"measured {seconds:.3f} {cpu:.3f} {peak:.3f}")


def plain(folder: Path, workers: int) -> None:
    """Decode and warp every frame: the least that aligning a dataset takes."""
    matrix = faces.align_matrix(landmarks(0), size=224)

    def warp(clip: Path) -> list[np.ndarray]:
        return [
            cv2.warpAffine(cv2.imread(str(path)), matrix, (224, 224))
            for path in sorted(clip.glob("*.jpg"))
        ]

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(warp, (folder / "CASME2_RAW_selected").glob("*/*")):
            pass


def landmarks(clip: int) -> np.ndarray:
    """Five points of a clip's face, [5, 2]."""
    points = [(0.33, 0.33), (0.69, 0.33), (0.5, 0.53), (0.34, 0.74), (0.66, 0.74)]
    return np.asarray(points) * FACE + (LEFT + clip % 5, TOP)


def make_clips(root: Path, clips: int, pool: Path) -> None:
    """A table, a tree of links into the pool, and a CSV of landmarks."""
    root.mkdir(parents=True)
    if not pool.exists():
        make_pool(pool)
    workbook = openpyxl.Workbook()
    workbook.active.append([*COLUMNS, "Action Units", "Estimated Emotion"])
    with open(root / "landmarks.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *(f"{a}_{i}" for a in "xy" for i in range(5))])
        for clip in range(clips):
            subject, name = f"{clip % SUBJECTS + 1:02d}", f"EP{clip:03d}"
            row = [subject, name, 1, 1 + FRAMES // 2, FRAMES, 12]
            workbook.active.append([*row, EMOTIONS[clip % len(EMOTIONS)]])
            folder = root / "CASME2_RAW_selected" / f"sub{subject}" / name
            folder.mkdir(parents=True)
            for number in range(1, FRAMES + 1):
                frame = clip % POOL * FRAMES + number - 1
                os.link(pool / f"{frame}.jpg", folder / f"img{number}.jpg")
            points = landmarks(clip)
            path = f"sub{subject}/{name}/img1.jpg"
            table.writerow([path, *points[:, 0], *points[:, 1]])
    workbook.save(root / "CASME2-coding-20190701.xlsx")


def make_pool(pool: Path) -> None:
    """Pictures of procedural faces before a wall, with sensor noise."""
    pool.mkdir()
    rng = np.random.default_rng(0)
    for clip in range(POOL):
        wall = rng.integers(0, 255, (45, 80, 3), dtype=np.uint8)
        scene = cv2.resize(wall, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        face = draw_face(rng, size=FACE, variety=1.0, glasses=0.2, beard=0.2)
        scene[TOP : TOP + FACE, LEFT : LEFT + FACE] = face.texture[..., ::-1]
        for frame in range(FRAMES):
            noisy = scene + rng.normal(0, 3, scene.shape).astype(np.float32)
            picture = np.clip(noisy, 0, 255).astype(np.uint8)
            path = str(pool / f"{clip * FRAMES + frame}.jpg")
            cv2.imwrite(path, picture, (cv2.IMWRITE_JPEG_QUALITY, 92))


if __name__ == "__main__":
    main()
