"""Owns reading back the config that a run folder holds."""

from lorasmith.config.train import TrainConfig
from lorasmith.run_folder import RunFolder


def read_config(folder: RunFolder) -> TrainConfig:
    """The config a run was started with; its folder is where it lies now, wherever it was then."""
    config = TrainConfig.model_validate_json(folder.config_file.read_text(encoding="utf-8"))
    name = config.output.name or config.output.folder.name
    output = config.output.model_copy(update={"folder": folder.path, "name": name})
    return config.model_copy(update={"output": output})
