"""An image classifier on the digits data set, recorded with ModelDB, interrupted half way, and resumed.

    pip install '.[lightning,sklearn,server]'        (in the checkout)
    python examples/lightning_digits.py
    modeldb ui

The training is stopped after half of its epochs, as a cluster might do it, and goes on in a new ``Trainer`` from a
checkpoint of that moment. What comes out is one run: one curve without a gap, the best checkpoint by validation accuracy, and the test.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, random_split

import modeldb_core as modeldb
from modeldb_core.runtime.notices import command_line
from modeldb_lightning import ModelDBCallback, ModelDBLogger, download_checkpoint

EPOCHS = 8


class Digits(pl.LightningDataModule):
    """1,797 images of handwritten digits, 8 by 8 pixels."""

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage: str) -> None:
        """Split the images; the same way for every stage and every process."""
        images, labels = load_digits(return_X_y=True)
        pixels = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        data = TensorDataset(pixels, torch.tensor(labels))
        parts = random_split(data, [1297, 250, 250], torch.Generator().manual_seed(0))
        self.training, self.validation, self.testing = parts

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.training, self.hparams["batch_size"], shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.validation, self.hparams["batch_size"])

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.testing, self.hparams["batch_size"])


class Classifier(pl.LightningModule):
    """Two convolutions and a linear layer."""

    def __init__(self, channels: int = 16, learning_rate: float = 0.01) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, channels, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(channels, 2 * channels, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(2 * channels * 16, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def evaluate(self, batch: Any, stage: str) -> None:
        images, labels = batch
        scores = self(images)
        self.log(f"{stage}/loss", functional.cross_entropy(scores, labels))
        self.log(f"{stage}/accuracy", (scores.argmax(1) == labels).float().mean(), prog_bar=True)

    def validation_step(self, batch: Any, index: int) -> None:
        self.evaluate(batch, "validation")

    def test_step(self, batch: Any, index: int) -> None:
        self.evaluate(batch, "test")

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams["learning_rate"])
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.hparams["learning_rate"], total_steps=EPOCHS * 21
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def make_trainer(folder: Path, epochs: int) -> pl.Trainer:
    """Return a trainer that logs every step, and keeps the best checkpoint and the last one."""
    logger = ModelDBLogger(project="examples", experiment="digits", name="convolutions", tags=["lightning"])
    best = ModelCheckpoint(monitor="validation/accuracy", mode="max", filename="{epoch}", save_last=True)
    return pl.Trainer(
        max_epochs=epochs,
        logger=logger,
        callbacks=[best, ModelDBCallback(log_gradient_norms=True)],
        accelerator="cpu",
        log_every_n_steps=1,
        default_root_dir=folder,
        enable_progress_bar=False,
    )


def main() -> None:
    pl.seed_everything(1)
    with TemporaryDirectory() as folder:
        first = make_trainer(Path(folder), EPOCHS // 2)
        first.fit(Classifier(), datamodule=Digits())
        half_way = Path(folder) / "half_way.ckpt"  # last.ckpt is as old as the best one: of another epoch now and then
        first.save_checkpoint(half_way)
        print(f"stopped half way, with {half_way}")

        second = make_trainer(Path(folder), EPOCHS)
        model, data = Classifier(), Digits()
        second.fit(model, datamodule=data, ckpt_path=half_way)
        second.test(model, datamodule=data, verbose=False)

        modeldb.flush()
        run = modeldb.search_runs(project="examples", experiment="digits", limit=1)[0]
        best = download_checkpoint(run, Path(folder) / "best.ckpt")
        restored = Classifier.load_from_checkpoint(best, map_location="cpu")

    print(f"{run.name}: {run.series['train/loss'].count} steps in one curve")
    print(f"accuracy on the test images: {run.metrics['test/accuracy']:.3f}")
    print(f"the best checkpoint holds {sum(each.numel() for each in restored.parameters()):,} numbers")
    print(f"look at it with: {command_line('ui', '--url', run.client.store.url)}")


if __name__ == "__main__":
    main()
