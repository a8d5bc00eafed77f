"""When the disk fills up during an export, what was written before is whole, and the error says what was needed."""

import errno
import os
from pathlib import Path

import pytest
import torch

from lorasmith.errors import ResourceError
from lorasmith.export import (
    AdapterWeights,
    ConceptRows,
    ExportInfo,
    ModuleAdapter,
    NewTokenRows,
    PartAdapter,
    verify_exports,
    write_exports,
)
from lorasmith.sizes import Size

INFO = ExportInfo(name="dog", base="embedded", prediction_type="epsilon", resolution=Size(64, 64), steps=1)
ROWS = NewTokenRows((ConceptRows("TOK", ("<s0>",), torch.ones(1, 8), torch.ones(1, 8)),))


def _weights(value: float) -> AdapterWeights:
    module = ModuleAdapter(torch.ones(2, 64), torch.full((64, 2), value))
    return AdapterWeights({"denoiser": PartAdapter({"mid_block.attentions.0.proj_in": module}, 2, 1.0)})


@pytest.mark.parametrize("whole_files", [0, 1, 2])
def test_a_full_disk_leaves_every_file_old_or_new_but_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_files: int
) -> None:
    write_exports(tmp_path, _weights(1.0), rows=ROWS, info=INFO)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    flush, flushed = os.fsync, [0]

    def flush_until_full(descriptor: int) -> None:
        flushed[0] += 1
        if flushed[0] > 2 * whole_files:  # each file is flushed, then its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    names = ("pytorch_lora_weights.safetensors", "dog.safetensors", "dog_emb.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush_until_full)
        with pytest.raises(
            ResourceError, match=rf"{names[whole_files]} needs [\d,]+ bytes, and [\d,]+ are free"
        ) as full:
            write_exports(tmp_path, _weights(2.0), rows=ROWS, info=INFO)
    assert f"{len(old[names[whole_files]]):,} bytes" in str(full.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(old), "nothing half-written is left behind"
    loras = [name for name in names if "emb" not in name]
    for number, name in enumerate(loras):
        verify_exports([tmp_path / name], _weights(2.0 if number < whole_files else 1.0), NewTokenRows())
    assert (tmp_path / "README.md").read_bytes() == old["README.md"]
