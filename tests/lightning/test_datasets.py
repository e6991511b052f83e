"""A digest of torch's data sets is one of what they give, or there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from modeldb_lightning.datasets import describe

DATA = TensorDataset(torch.arange(10.0))


class Noisy(TensorDataset):
    def __getitem__(self, index: int) -> Any:
        return tuple(part + 1 for part in super().__getitem__(index))


class Chosen(Subset[Any]):
    def __getitem__(self, index: Any) -> Any:
        return -super().__getitem__(index)[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class Marked(torch.Tensor):
    pass


def marked() -> torch.Tensor:
    made = torch.ones(3).as_subclass(Marked)
    made.format = "xyxy"  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("data", [Noisy(torch.arange(4.0)), Chosen(DATA, [1, 2]), Subset(Noisy(torch.ones(3)), [1])])
def test_a_data_set_of_the_programs_own_class_has_no_digest_and_a_note(data: Any) -> None:
    found = describe(data)
    assert found is not None
    assert "digest" not in found
    assert "no digest" in str(found)


def test_tensors_that_hold_more_have_no_digest() -> None:
    found = describe(TensorDataset(marked()))
    assert found is not None
    assert "digest" not in found


@pytest.mark.parametrize("indices", [torch.arange(3), np.arange(3), range(3), (0, 1, 2)])
def test_a_subset_has_one_digest_however_its_indices_are_kept(indices: Any) -> None:
    expected = describe(Subset(DATA, [0, 1, 2]))
    found = describe(Subset(DATA, indices))
    assert expected is not None
    assert found is not None
    assert len(expected["digest"]) == 64
    assert found["digest"] == expected["digest"]
    other = describe(Subset(DATA, [0, 1, 3]))
    assert other is not None
    assert other["digest"] != expected["digest"]
