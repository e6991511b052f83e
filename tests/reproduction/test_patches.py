"""What a recorded patch would change is shown whole, or it is not applied."""

from __future__ import annotations

import pytest

from modeldb_core.errors import ReproductionError
from modeldb_core.reproduction.patches import check_patch, split_patch

_HEAD = "diff --git a/README b/README\nindex 1..2 100644\n--- a/README\n+++ b/README\n"
_HUNK = "@@ -1,2 +1,2 @@\n-a\n+b\n same\n"


@pytest.mark.parametrize(
    "patch",
    [
        _HEAD + _HUNK,
        _HEAD + _HUNK + "@@ -9 +9 @@ def f():\n---- not a header\n++++ nor this\n\\ No newline at end of file\n",
        "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n",
        "diff --git a/x b/x\nnew file mode 100644\nindex 0..1\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n",
        "diff --git a/x b/x\nold mode 100644\nnew mode 100755\n",
        "diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n",
        "",
    ],
)
def test_what_git_writes_is_taken(patch: str) -> None:
    check_patch(patch)


@pytest.mark.parametrize(
    "more",
    [
        "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-x\n+import os\n",
        "Index: train.py\n--- train.py\n+++ train.py\n@@ -1 +1 @@\n-x\n+y\n",
        "GIT binary patch\nliteral 1\nIcmZPo000310RR91\n",
        _HEAD + _HUNK,
        "@@ -5 +5,3 @@\n-x\n+y\n",
    ],
)
def test_a_patch_of_more_than_what_is_shown_is_refused(more: str) -> None:
    with pytest.raises(ReproductionError, match="README"):
        check_patch(_HEAD + _HUNK + more)
    assert set(split_patch(_HEAD + _HUNK + more)) == {"README"}


def test_a_header_of_two_files_is_refused() -> None:
    with pytest.raises(ReproductionError, match="not what git writes"):
        check_patch(_HEAD + "--- a/train.py\n+++ b/train.py\n" + _HUNK)
