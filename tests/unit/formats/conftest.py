"""A small LoRA on real SDXL's widths."""

import pytest
from made_loras import Lora, a_lora


@pytest.fixture
def lora() -> Lora:
    return a_lora()
