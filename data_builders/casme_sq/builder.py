"""CAS(ME)^2: 57 micro-expressions among 357 expressions of 22 subjects, 30 fps.

Qu et al., 2018. README.md beside this file: access, layout, oddities.
"""

from pathlib import Path

import tensorflow_datasets as tfds

from data_builders.base import ClipBuilder, configs_of
from data_builders.casme_sq import coding, folders
from data_builders.readers.declaration import Tree
from data_builders.readers.frame_numbers import AUTO
from data_builders.readers.gather import gather
from data_builders.readers.macro import MacroExpressions
from data_builders.readers.reader import check_counts, expect_table, expect_tree
from data_builders.readers.release import Release

TREES = {
    "cropped": Tree(
        folder="cropped",
        inside="s15/",
        description="cropped/: the owners' face crops",
        cropped=True,
    ),
    "selected": Tree(
        folder="selectedpic",
        inside="s15/",
        description="selectedpic/: camera frames of the expressions",
    ),
    "raw": Tree(
        folder="rawpic",
        inside="s15/",
        description="rawpic/: camera frames of whole recordings",
        whole=True,
    ),
}


class CasmeSq(ClipBuilder):
    """CAS(ME)^2; configs: cropped (default), selected, raw."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configs_of(TREES)
    TABLE, TREES = coding.TABLE, TREES
    DESCRIPTION = "The micro-expressions of CAS(ME)^2, with AUs and emotions"
    HOMEPAGE = "http://casme.psych.ac.cn/casme/e3"
    LICENSE = "signed licence agreement; academic use; no redistribution"
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
CAS(ME)^2 may not be redistributed: each institution applies to its owners.
1. Apply: http://casme.psych.ac.cn/casme/e3 (a licence agreement signed by a member of
   staff of your institution; academic use only).
2. Put the files into one folder, unpacked, for example ~/data/CASME_sq:
     ~/data/CASME_sq/CAS(ME)^2code_final(Updated).xlsx               (or .csv)
     ~/data/CASME_sq/cropped/s15/15_0101disgustingteeth/img1.jpg ... casme_sq/cropped
     ~/data/CASME_sq/selectedpic/s15/15_0101disgustingteeth/...      casme_sq/selected
     ~/data/CASME_sq/rawpic/s15/15_0101disgustingteeth/...           casme_sq/raw
   One of the three trees is enough; rawvideo/ is not needed.
3. Type:
     python -m data_builders.build --dataset=casme_sq --manual_dir=~/data/CASME_sq
"""

    @classmethod
    def macro_expressions(cls, manual_dir: Path) -> MacroExpressions:
        """Those of the same table; see `ClipBuilder.macro_expressions`."""
        return coding.read(*expect_table(cls.TABLE, manual_dir)).macro_expressions

    @classmethod
    def read(cls, manual_dir: Path, config: str, frame_numbers: str = AUTO) -> Release:
        path, edition = expect_table(cls.TABLE, manual_dir)
        listed = coding.read(path, edition)
        tree = cls.TREES[config]
        top = expect_tree(cls.name, tree, config, manual_dir)
        taken, shared, odd = folders.clip_folders(top, listed)
        counts = check_counts(listed.rows, edition.emotions, path.name)
        kept = ", clips in their recording's folder" if shared else ""
        return gather(
            cls.name,
            listed.rows,
            taken,
            root=manual_dir,
            layout=f"{top.relative_to(manual_dir)}/ ({config}){kept}",
            table=path.name,
            version=(
                f"{len(listed.rows)} micro-expressions; {listed.macro} "
                "macro-expressions passed over"
            ),
            findings=[*listed.findings, *odd, *counts],
            # The other frames of a recording's folder belong to other expressions.
            whole=tree.whole or shared,
            frame_numbers=frame_numbers,
        )
