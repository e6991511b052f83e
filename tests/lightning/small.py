"""A small model for either package of Lightning, its data, and a trainer that prints nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

BATCHES = 3


def loader(batches: int = BATCHES) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(4 * batches, 4, generator=generator))
    return DataLoader(data, batch_size=4)


def model_class(pl: Any) -> Any:
    class Small(pl.LightningModule):
        def __init__(self, width: int = 4, lr: float = 0.01, **others: Any) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch[0]).pow(2).mean()
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            self.log("val_loss", self.layer(batch[0]).pow(2).mean())

        def test_step(self, batch: Any, index: int) -> None:
            self.log("test_loss", self.layer(batch[0]).pow(2).mean())

        def predict_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    return Small


def make_model(pl: Any, **hyperparameters: Any) -> Any:
    torch.manual_seed(0)
    return model_class(pl)(**hyperparameters)


def make_trainer(pl: Any, folder: Any, **given: Any) -> Any:
    defaults = {
        "max_epochs": 2,
        "logger": False,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "default_root_dir": str(folder),
    }
    return pl.Trainer(**{**defaults, **given})
