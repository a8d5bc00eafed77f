"""What the reference script computes where lorasmith computes something else: formulae after its description."""

# prodigyopt has no types, and transformers, diffusers and PIL are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import contextlib
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from prodigyopt import Prodigy
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

Pair = tuple[int, int]


def ids_without_ends(tokenizer: Any, prompt: str) -> Tensor:
    """C-1. A prompt's ids [1, 77] when no new tokens train: neither start nor end of text."""
    return tokenizer(
        [prompt], padding="max_length", max_length=77, truncation=True, add_special_tokens=False, return_tensors="pt"
    ).input_ids


def pooled_place(ids: Tensor) -> int:
    """C-1, C-8. Where a text encoder whose config says `eos_token_id: 2` pools ids [1, 77]: at the highest one."""
    return int(ids[0].argmax())


def prodigy(groups: Iterable[Any], **options: Any) -> Prodigy:
    """One Prodigy for all that trains, with the script's switches."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that its weight decay is decoupled
        return Prodigy(groups, lr=1.0, use_bias_correction=True, safeguard_warmup=True, **options)


def rows_beside_a_frozen_group(
    trains: nn.Parameter, frozen: nn.Parameter, *, loss: Callable[[], Tensor], pivot: int
) -> Iterator[Tensor]:
    """C-2. `frozen` after each step: from the pivot on the rate of its group is 0, and nothing else changes."""
    both = prodigy([{"params": [trains]}, {"params": [frozen]}], d0=1e-4)
    for step in count():
        both.param_groups[1]["lr"] = 1.0 if step < pivot else 0.0
        both.zero_grad()
        loss().backward()
        both.step()
        yield frozen.detach().clone()


def pairs_by_place(pictures: int, *, batch_size: int, epochs: int) -> list[Pair]:
    """C-3. (picture, prompt) of every example: latents cached in one shuffle's order, prompts read in each next one's.

    What is cached is a list by step, and the loader shuffles anew each time it is gone through.
    """
    generator = torch.Generator().manual_seed(0)
    places: Any = list(range(pictures))
    loader = DataLoader(places, batch_size=batch_size, shuffle=True, generator=generator)
    cached = [batch.tolist() for batch in loader]
    steps = [(step, batch.tolist()) for _ in range(epochs) for step, batch in enumerate(loader)]
    return [pair for step, prompts in steps for pair in zip(cached[step], prompts, strict=True)]


def roles_with_prior(batch_size: int) -> list[tuple[str, str]]:
    """C-4. What each picture of a batch is and what its prompt is for: [i, …, c, …] beside [i, c] repeated."""
    pictures = ["instance"] * batch_size + ["class"] * batch_size
    return list(zip(pictures, ["instance", "class"] * batch_size, strict=True))


def save_embeddings(rows: Mapping[str, Tensor], output_folder: Path) -> bool:
    """C-5, C-28. Write all rows to `{output_dir}/{output_dir}_emb.safetensors`; whether that could be done."""
    try:
        save_file(dict(rows), f"{output_folder}/{output_folder}_emb.safetensors")
    except (OSError, SafetensorError):
        return False
    return True


def epochs_with_embeddings(first: int, last: int, pivot: int) -> list[int]:
    """C-6. The epochs of a run from `first` on in which embeddings train: they stop only when one is the pivot's."""
    pivoted, trained = False, list[int]()
    for epoch in range(first, last):
        pivoted = pivoted or epoch == pivot
        trained += [] if pivoted else [epoch]
    return trained


def bf16_update(weights: Tensor, gradient: Tensor, *, rate: float) -> Tensor:
    """C-9. Weights that are kept in bf16, after one update of AdamW."""
    kept = nn.Parameter(weights.bfloat16())
    kept.grad = gradient.bfloat16()
    torch.optim.AdamW([kept], lr=rate, weight_decay=0.0).step()
    return kept.detach()


def distance_with_vocabulary(table: Tensor, rows: Tensor, *, loss: Callable[..., Tensor], steps: int) -> float:
    """C-10. Prodigy's d when the whole table trains and all but the new rows are put back after each step."""
    whole = nn.Parameter(torch.cat([table, rows]))
    optimizer = prodigy([whole])
    for _ in range(steps):
        optimizer.zero_grad()
        loss(partial(functional.embedding, weight=whole)).backward()
        optimizer.step()
        whole.data[: len(table)] = table
    return float(optimizer.param_groups[0]["d"])


def written_out(prompt: str, abstractions: Mapping[str, str]) -> str:
    """C-11. One replacement after the other, inside of words as well."""
    for word, tokens in abstractions.items():
        prompt = prompt.replace(word, tokens)
    return prompt


def spread_after_pulls(ratio: float, pulls: int) -> float:
    """C-12. The rows' spread over the table's after so many pulls of a tenth (in logarithms) of the way to 1."""
    for _ in range(pulls):
        ratio *= (1 / ratio) ** 0.1
    return ratio


def pivot_step(fraction: float, *, steps: int, steps_per_epoch: int) -> int:
    """C-13. The first step without new tokens: whole epochs only, as many as the run's steps come to."""
    return int(fraction * math.ceil(steps / steps_per_epoch)) * steps_per_epoch


def crops(draw: Callable[[], Any], *, epochs: int) -> list[Any]:
    """C-14. Where a picture is cut in each epoch: drawn once for the run."""
    drawn = draw()
    return [drawn for _ in range(epochs)]


def min_snr_weight(snr: Tensor, *, gamma: float, velocity: bool) -> Tensor:
    """C-15. min(SNR, γ) ÷ SNR, plus one where velocity is predicted."""
    return torch.minimum(snr, torch.full_like(snr, gamma)) / snr + (1 if velocity else 0)


def noises(*, devices: int, batch_size: int, seed: int) -> list[float]:
    """C-17. The first number of each example's noise: every device seeds its generator alike."""
    return [
        first
        for _ in range(devices)
        for first in torch.randn(batch_size, 4, generator=torch.Generator().manual_seed(seed))[:, 0].tolist()
    ]


def prodigy_updates(rates: Sequence[float], *, steps: int) -> int:
    """C-20. How many updates come about when groups have these rates."""
    parameters = [nn.Parameter(torch.ones(2)) for _ in rates]
    optimizer = prodigy([{"params": [one], "lr": rate} for one, rate in zip(parameters, rates, strict=True)])
    for done in range(steps):
        for one in parameters:
            one.grad = torch.ones(2)
        try:
            optimizer.step()
        except RuntimeError:
            return done
    return steps


def error_of_reading(paths: Sequence[Path]) -> str:
    """C-23. What is said when pictures are opened one after the other and one of them cannot be; empty otherwise."""
    for path in paths:
        try:
            with Image.open(path) as picture:
                picture.load()
        except OSError as error:
            return str(error)
    return ""


def refuses_min_snr(*, edm_asked_for: bool, base_is_edm: bool) -> bool:
    """C-24. The guard looks at the flag, which is set by the base only afterwards."""
    del base_is_edm
    return edm_asked_for


def uploaded(paths: Iterable[str]) -> list[str]:
    """C-30. What of the output folder goes to the hub."""
    return [path for path in paths if not any(fnmatch(path, pattern) for pattern in ("step_*", "epoch_*"))]


def adapted_layers(blocks: str, processors: Iterable[str]) -> int:
    """C-29. How many linears get an adapter, four a processor: the first component cut off, the rest looked for."""
    wanted = [".".join(block.strip().split(".")[1:]) for block in blocks.split(",")]
    return sum(4 * any(block in name for block in wanted) for name in processors)


def said_or_else(said: float, otherwise: float) -> float:
    """C-31. A number that may be left out, tested for truth."""
    return said if said else otherwise


def switch(text: str) -> bool:
    """C-32. A flag declared with `type=bool`."""
    return bool(text)


def upright(pictures: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """C-34. EXIF is heeded unless there is one picture only."""
    for picture in pictures:
        turned = ImageOps.exif_transpose(picture) if len(pictures) > 1 else picture
        yield turned.convert("RGB")


def clipped_lengths(gradients: Sequence[Tensor], longest: float) -> list[float]:
    """C-36. Each part's gradient after all of them were cut to one length together."""
    parts = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for part, gradient in zip(parts, gradients, strict=True):
        part.grad = gradient.clone()
    nn.utils.clip_grad_norm_(parts, longest)
    return [part.grad.norm().item() for part in parts if part.grad is not None]


def layers_left_out(clip_skip: int, *, text_trains: bool) -> int:
    """C-7. How many of a text encoder's last layers are not read: the flag gets lost unless text is trained."""
    return 1 + (clip_skip if text_trains else 0)
