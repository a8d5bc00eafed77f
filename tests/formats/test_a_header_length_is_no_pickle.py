"""A safetensors file whose header's length begins with a pickle's first byte is read like any other."""

from pathlib import Path

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]  # only partly typed

from lorasmith.export.read import open_weights

_PICKLE_PROTOCOL = 0x80


def test_a_header_of_128_bytes_is_not_taken_for_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "concept_emb.safetensors"
    for padding in range(256):
        save_file({"clip_l": torch.zeros(1, 4), "clip_g": torch.zeros(1, 4)}, path, metadata={"note": "x" * padding})
        if path.read_bytes()[0] == _PICKLE_PROTOCOL:
            break
    assert path.read_bytes()[0] == _PICKLE_PROTOCOL
    assert set(open_weights(path).tensors) == {"clip_l", "clip_g"}
