"""Owns which optimizers need a package that is not always there; imports none of them."""

from importlib.util import find_spec

from lorasmith.config.optimizer import AdafactorConfig, AdamWConfig, OptimizerConfig, ProdigyConfig
from lorasmith.errors import ConfigError


def refuse_missing_package(config: OptimizerConfig) -> None:
    """Raise ConfigError when the chosen optimizer's package is not installed; before anything heavy is done."""
    match config:
        case AdamWConfig(eight_bit=True):
            _need("bitsandbytes", "optimizer.eight_bit", extra="gpu", otherwise="leave optimizer.eight_bit out")
        case AdamWConfig() | ProdigyConfig() | AdafactorConfig():
            pass
        case _:
            _need("prodigyplus", "optimizer.name", extra="schedule-free", otherwise='use optimizer.name = "prodigy"')


def _need(module: str, option: str, *, extra: str, otherwise: str) -> None:
    if find_spec(module) is None:
        raise ConfigError(
            f"{option} needs a package that is not installed ({module})",
            where=option,
            remedy=f"`pip install 'lorasmith[{extra}]'`, or {otherwise}.",
        )
