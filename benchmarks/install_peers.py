"""``python -m benchmarks.install_peers FOLDER``: install other trackers into an environment of their own.

They bring a hundred packages that would change what ModelDB is measured with. ``python -m benchmarks --peers --peers-python
FOLDER/bin/python`` measures them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = ("mlflow", "wandb", "trackio", "tensorboard", "dvclive")


def main() -> None:
    """Make the environment."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.install_peers", description="Install other trackers.")
    parser.add_argument("folder", type=Path, help="of the environment, which is made")
    folder = parser.parse_args().folder.absolute()
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    sys.stdout.write(f"python -m benchmarks --peers --peers-python {python}\n")


if __name__ == "__main__":
    main()
