"""Whether a release can be built: the one answer of build and doctor."""

from data_builders.readers.findings import DatasetError, refuse
from data_builders.readers.release import Release


def expect_sound(release: Release, *, skip_bad: bool = False) -> None:
    """Stops where a release cannot be built.

    Args:
        release: What was found; the doctor and the end of a build know its pictures.
        skip_bad: Whether what is wrong is left out.

    Raises:
        DatasetError: If something stops the build, or no clip is left.
    """
    if not release.clips:
        refuse(release.dataset, release.findings)
        raise DatasetError(hint(release))
    if not skip_bad:
        refuse(release.dataset, release.findings, hint=hint(release))


def hint(release: Release) -> str:
    """Says what can be done where something stops a build."""
    if not release.clips:
        return f"no clip of {release.table} can be built"
    left = f"{len(release.clips)} clip{'' if len(release.clips) == 1 else 's'}"
    return f"build with --skip_bad leaves out what is wrong and builds {left}"
