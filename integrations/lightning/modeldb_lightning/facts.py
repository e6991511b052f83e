"""What is worth knowing of a training besides its metrics: the trainer, the model, optimizers, seeds and devices."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modeldb_lightning.hyperparameters import type_name, typed
from modeldb_lightning.options import GUARD, submit

if TYPE_CHECKING:
    from modeldb_core.tracking import RunHandle

SUMMARY = "model_summary.json"

_TRAINER = (
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "log_every_n_steps",
    "check_val_every_n_epoch",
    "val_check_interval",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "fast_dev_run",
    "overfit_batches",
    "num_sanity_val_steps",
    "reload_dataloaders_every_n_epochs",
    "num_nodes",
    "num_devices",
    "world_size",
    "precision",
    "default_root_dir",
)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model consists of.

    Attributes:
        totals: its class and numbers of parameters.
        layers: of each module its name, class and numbers of parameters, the whole first.
    """

    totals: dict[str, Any]
    layers: list[dict[str, Any]]

    def log(self, run: RunHandle) -> None:
        """Record it: the numbers as an attribute, the layers as an artifact, beside the training."""
        run.set_attributes({"model": self.totals})

        def write() -> None:
            with GUARD.step("store a file", run.note):
                run.log_artifact(self.layers, SUMMARY, type="summary")

        submit(write, run.run_id)


def model_facts(model: Any) -> ModelFacts:  # noqa: ANN401 - a LightningModule
    """Describe a model. Nothing of it is called or moved; parameters that are not made yet count as none."""
    sizes = {id(parameter): _count(parameter) for parameter in model.parameters()}
    layers: list[dict[str, Any]] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        layers.append(
            {
                "name": name,
                "class": type_name(type(module)),
                "parameters": sum(sizes.get(id(parameter), 0) for parameter in own),
                "trainable": sum(sizes.get(id(parameter), 0) for parameter in own if parameter.requires_grad),
            }
        )
    trainable = sum(_count(parameter) for parameter in model.parameters() if parameter.requires_grad)
    total = sum(sizes.values())
    size = sum(_count(parameter) * parameter.element_size() for parameter in model.parameters())
    totals = {
        "class": type_name(type(model)),
        "modules": len(layers),
        "parameters": total,
        "trainable_parameters": trainable,
        "frozen_parameters": total - trainable,
        "size_bytes": size,
    }
    return ModelFacts(totals, layers)


def _count(parameter: Any) -> int:  # noqa: ANN401
    torch: Any = sys.modules["torch"]
    lazy = getattr(torch.nn.parameter, "UninitializedTensorMixin", ())
    return 0 if isinstance(parameter, lazy) else int(parameter.numel())


def trainer_facts(trainer: Any) -> dict[str, Any]:  # noqa: ANN401 - a Trainer
    """Return the settings of a trainer, the devices it works on, and what makes its results repeatable."""
    torch: Any = sys.modules["torch"]
    package = type(trainer).__module__.partition(".trainer")[0]
    settings = {name: typed(getattr(trainer, name)) for name in _TRAINER if hasattr(trainer, name)}
    settings["strategy"] = type_name(type(trainer.strategy))
    settings["accelerator"] = type_name(type(trainer.accelerator))
    settings["callbacks"] = [type_name(type(callback)) for callback in trainer.callbacks]
    settings["loggers"] = [type_name(type(logger)) for logger in trainer.loggers]
    versions = {package: getattr(sys.modules.get(package), "__version__", ""), "torch": str(torch.__version__)}
    seed = os.environ.get("PL_GLOBAL_SEED", "")
    repeatable = {
        "torch_initial_seed": torch.initial_seed(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "seed_workers": os.environ.get("PL_SEED_WORKERS") == "1",
    }
    if seed.lstrip("-").isdigit():
        repeatable["seed"] = int(seed)
    facts: dict[str, Any] = {
        "trainer": settings,
        "versions": versions,
        "reproducibility": repeatable,
        "device": _device(trainer.strategy.root_device, torch),
    }
    if trainer.datamodule is not None:
        facts["datamodule"] = type_name(type(trainer.datamodule))
    return facts


def _device(device: Any, torch: Any) -> dict[str, Any]:  # noqa: ANN401
    found: dict[str, Any] = {"type": device.type, "torch_threads": torch.get_num_threads()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"name": properties.name, "memory_bytes": int(properties.total_memory), "cuda": torch.version.cuda}
    return found


def optimizer_facts(trainer: Any) -> dict[str, Any]:  # noqa: ANN401 - a Trainer
    """Return the optimizers with the settings of their parameter groups, and the schedulers of learning rates."""
    optimizers = []
    for optimizer in trainer.optimizers:
        groups = [
            {**{key: typed(value) for key, value in group.items() if key != "params"}, "tensors": len(group["params"])}
            for group in optimizer.param_groups
        ]
        optimizers.append({"class": type_name(type(optimizer)), "groups": groups})
    schedulers = []
    for config in trainer.lr_scheduler_configs:
        state = config.scheduler.state_dict() if hasattr(config.scheduler, "state_dict") else {}
        plain = {key: typed(value) for key, value in state.items() if not key.startswith("_")}
        schedulers.append(
            {
                "class": type_name(type(config.scheduler)),
                "interval": config.interval,
                "frequency": config.frequency,
                "monitor": config.monitor,
                "name": config.name,
                "state": plain,
            }
        )
    return {"optimizers": optimizers, "lr_schedulers": schedulers}


def learning_rate_names(trainer: Any) -> list[tuple[str, Any]]:  # noqa: ANN401 - a Trainer
    """Return (name, parameter group) of all learning rates, named as Lightning's ``LearningRateMonitor`` names them."""
    found: list[tuple[str, Any]] = []
    seen: dict[str, int] = {}
    scheduled = {id(config.scheduler.optimizer): config for config in trainer.lr_scheduler_configs}
    for wrapped in trainer.optimizers:
        optimizer = getattr(wrapped, "optimizer", wrapped)
        config = scheduled.get(id(optimizer))
        name = getattr(config, "name", None) or f"lr-{type(optimizer).__name__}"
        count = seen[name] = seen.get(name, 0) + 1
        if count > 1:
            name = f"{name}-{count - 1}"
        groups = optimizer.param_groups
        for number, group in enumerate(groups, 1):
            part = group.get("name") or (f"pg{number}" if len(groups) > 1 else "")
            found.append((f"{name}/{part}" if part else name, group))
    return found
