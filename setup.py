"""What setup.cfg cannot say: the description of the distribution is the README without what a wheel does not hold."""

import re
from pathlib import Path

from setuptools import setup

_PICTURE = re.compile(r"!\[[^\]]*\]\((?!https?://)[^)]*\)\n*")
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?://)[^)]*\)")


def description() -> str:
    """Return the README; of links and pictures that lead to files of the repository only the words are left."""
    readme = Path(__file__).with_name("README.md").read_text("utf-8")
    return _LINK.sub(r"\1", _PICTURE.sub("", readme))


setup(long_description=description(), long_description_content_type="text/markdown")
