"""Labelled sentences of film reviews, from the source package of vaderSentiment 0.5 (MIT).

10,605 sentences of reviews with the mean valence, −4…4, that twenty people gave each: Hutto & Gilbert, "VADER: A
Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014. The sentences are critics'
own, so they are fetched where they are needed and not kept here.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from callboard_nlp.data.labelled import Rows

_REQUIREMENT = (
    "vaderSentiment==0.5 --hash=sha256:5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a"
)
_ARCHIVE = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
_SENTENCES = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
_CLEAR = 1.0
"""Valence from which a sentence counts as positive, and below whose negative as negative; between is neither."""


def film_reviews() -> Rows:
    """9,173 sentences labelled ``positive`` or ``negative``, in the order of their file.

    Raises RuntimeError with what pip said if the package cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="callboard-reviews-") as folder:
        lines = _lines(_fetched(Path(folder)))
    rows = Rows([], [])
    for line in lines:
        _, valence, text = line.split("\t")
        if abs(float(valence)) >= _CLEAR:
            rows.texts.append(text.strip().replace("''", '"'))
            rows.labels.append("positive" if float(valence) > 0 else "negative")
    return rows


def _fetched(folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(_REQUIREMENT)
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [shutil.which("pip") or "pip"]
    command = [*pip, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes"]
    done = subprocess.run(
        [*command, "--dest", str(folder), "-r", str(wanted)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise RuntimeError(
            f"vaderSentiment 0.5, whose review sentences it is made of, could not be fetched: {said[-1]}"
        )
    return next(folder.glob("*.zip"))


def _lines(package: Path) -> list[str]:
    with (
        zipfile.ZipFile(package) as files,
        files.open(_ARCHIVE) as packed,
        tarfile.open(fileobj=packed) as archive,
    ):
        member = archive.extractfile(_SENTENCES)
        assert member is not None
        return member.read().decode("latin-1").splitlines()
