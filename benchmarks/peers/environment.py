"""A virtual environment for each peer, from PyPI on first use, beside and never inside the project's own."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

_HOME = Path.home() / ".cache" / "tenantry" / "peers"
_MINUTES = 10


class UnavailableError(Exception):
    """Why a peer cannot take part, in one sentence."""


def environment(peer: str) -> Path:
    """The Python of a peer, with the packages of `<peer>.txt` and this environment's scikit-learn.

    Models are handed over as pickles, which only the same scikit-learn opens as it should. Raises
    UnavailableError where pip does not get it ready in ten minutes.
    """
    requirements = Path(__file__).with_name(f"{peer}.txt")
    same = [f"{name}=={version(name)}" for name in ("numpy", "scikit-learn")]
    wanted = "\n".join([requirements.read_text(), *same])
    folder = _HOME / peer
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {peer} into {folder}", file=sys.stderr, flush=True)
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements), *same]
    try:
        subprocess.run(pip, check=True, capture_output=True, text=True, timeout=_MINUTES * 60)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        raise UnavailableError(f"pip could not install it: {lines[-1] if lines else error}") from error
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"pip did not install it in {_MINUTES} minutes") from error
    stamp.write_text(wanted)
    return python
