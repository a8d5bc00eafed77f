"""Both numbers of what is done differently while training: order, optimizers, weights, the pivot."""

# torch and diffusers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import script_formulae as script
import torch
from diffusers import DDPMScheduler
from measured import Bench, Difference, share
from torch import Tensor, nn

from lorasmith.config.optimizer import AdamWConfig, ProdigyConfig
from lorasmith.data.examples import Example, Role
from lorasmith.data.views import ViewSettings, view_of
from lorasmith.models.family import NoiseSchedule
from lorasmith.objectives.diffusion import DiffusionObjective, signal_to_noise
from lorasmith.optim.part import PartOptimizer
from lorasmith.sizes import Corner, Size, SizeConditioning
from lorasmith.tokens.embedding import NewTokenEmbedding
from lorasmith.training.loop import Training, take_step
from lorasmith.training.phases import PartName, PhaseSchedule
from lorasmith.training.plan import phase_schedule
from lorasmith.training.step import draw_chance

SDXL: Any = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PIVOT = 50


def frozen_rows_under_prodigy(bench: Bench) -> list[Difference]:
    """C-2. A part that stops after 50 steps beside one that goes on, each on its way to 3 from near 0."""
    del bench
    (trains, frozen), ours = _starts(), _our_rows()
    theirs = script.rows_beside_a_frozen_group(trains, frozen, loss=lambda: _way_left(trains, frozen), pivot=PIVOT)
    ways = [_ways_from_pivot(list(islice(rows, PIVOT + 50))) for rows in (theirs, ours)]
    what = "way of frozen embeddings, {} after the pivot under Prodigy (the way to go was 3)"
    return [
        Difference("C-2", what.format(when), ways[0][steps - 1], ways[1][steps - 1], digits)
        for steps, when, digits in ((1, "1 step", 2), (10, "10 steps", 1), (50, "50 steps", 0))
    ]


def _starts() -> tuple[nn.Parameter, nn.Parameter]:
    """In 64 bits, so that what grows by itself grows to the same number on every machine."""
    generator = torch.Generator().manual_seed(0)
    first, second = (nn.Parameter(torch.randn(8, generator=generator, dtype=torch.double)) for _ in range(2))
    return first, second


def _our_rows() -> Iterator[Tensor]:
    trains, frozen = _starts()
    parts = {
        name: PartOptimizer(name, {name: rows}, ProdigyConfig(d0=1e-4, beta2=0.999), rate=1.0, weight_decay=0.0)
        for name, rows in (("denoiser", trains), ("new_tokens_1", frozen))
    }
    schedule = PhaseSchedule(frozenset[PartName](("denoiser", "new_tokens_1")), PIVOT + 100, PIVOT, 0)
    for step in range(schedule.total_steps):
        training = schedule.phase_at(step).trains
        for name, part in parts.items():
            part.set_trainable(trainable=name in training)
            part.zero_gradient()
        _way_left(trains, frozen).backward()
        for name in training:
            parts[name].step(1.0)
        yield frozen.detach().clone()


def _way_left(*parts: nn.Parameter) -> Tensor:
    return torch.stack([(part - 3).square().sum() for part in parts]).sum()


def _ways_from_pivot(rows: list[Tensor]) -> list[float]:
    at_pivot = rows[PIVOT - 1]
    return [(now - at_pivot).abs().max().item() for now in rows[PIVOT:]]


def pairs_from_a_cache(bench: Bench) -> list[Difference]:
    """C-3. Eight pictures with a caption each, in batches of two, for 25 epochs."""
    training = bench.run(bench.config(count=8, schedule={"batch_size": 2}))
    micro_steps = range(25 * training.batches.order.micro_steps_per_epoch)
    training.batches.fill_cache(micro_steps, lambda _: None)
    own = {}
    for draw in (draw for step in micro_steps[:4] for draw in training.batches.order.draws_at(step)):
        own[draw.example.path.with_suffix(".txt").read_text().strip()] = training.batches.batch_of([draw]).latents.mean
    batches = [training.batches.batch_at(step) for step in micro_steps]
    ours = [
        torch.equal(batch.latents.mean[place], own[caption][0])
        for batch in batches
        for place, caption in enumerate(batch.captions)
    ]
    theirs = [picture == prompt for picture, prompt in script.pairs_by_place(8, batch_size=2, epochs=25)]
    what = "share of examples with their own caption: 8 cached pictures, batch 2, 25 epochs"
    return [Difference("C-3", what, share(theirs), share(ours), digits=2)]


def prompts_beside_class_images(bench: Bench) -> list[Difference]:
    """C-4. One batch of four pictures of each kind."""
    prior = {"class_prompt": "a photo of a dog", "num_class_images": 4}
    training = bench.run(bench.config(prior=prior, schedule={"batch_size": 4}))
    batch = training.batches.batch_at(0)
    ours = [
        (caption == "a photo of a dog") == (role is Role.CLASS)
        for caption, role in zip(batch.captions, batch.roles, strict=True)
    ]
    theirs = [picture == prompt for picture, prompt in script.roles_with_prior(4)]
    what = "share of examples with the right prompt at batch 4 with prior preservation"
    return [Difference("C-4", what, share(theirs), share(ours), digits=2)]


def epochs_after_a_resume(bench: Bench) -> list[Difference]:
    """C-6. A run of ten epochs with its pivot at the fifth, gone on with at the seventh."""
    del bench
    schedule = PhaseSchedule(frozenset[PartName](("denoiser", "new_tokens_1")), 10, 5, 0)
    ours = [step for step in range(7, 10) if "new_tokens_1" in schedule.phase_at(step).trains]
    theirs = script.epochs_with_embeddings(7, 10, 5)
    what = "epochs that train embeddings again when a run of 10, its pivot at 5, goes on at 7"
    return [Difference("C-6", what, len(theirs), len(ours))]


def updates_lost_in_bf16(bench: Bench) -> list[Difference]:
    """C-9. The down-weights of a fresh adapter of rank 4 under `--mixed_precision bf16`, after one update."""
    training = bench.run(bench.config(runtime={"precision": "bf16"}, adapter={"rank": 4, "targets": "attention"}))
    weights = {name: nn.Parameter(p.detach()) for name, p in training.parts["denoiser"].parameters.items() if p.any()}
    start = torch.cat([parameter.flatten() for parameter in weights.values()]).detach().clone()
    gradient = torch.randn(start.shape, generator=torch.Generator().manual_seed(0))
    found: list[Difference] = []
    for rate, named in ((1e-4, "0.0001 (AdamW's)"), (1e-6, "0.000001 (Prodigy's first)")):
        part = PartOptimizer("denoiser", dict(weights), AdamWConfig(), rate=rate, weight_decay=0.0)
        part.buffer.data.copy_(start)
        part.gradient.copy_(gradient)
        part.step(1.0)
        theirs = script.bf16_update(start, gradient, rate=rate) == start.bfloat16()
        what = f"share of the LoRA's down-weights that an update of {named} leaves as they were under bf16"
        ours = (part.buffer == start).float().mean().item()
        found.append(Difference("C-9", what, theirs.float().mean().item(), ours, digits=2))
    return found


def distance_beside_a_vocabulary(bench: Bench) -> list[Difference]:
    """C-10. Two new rows beside 50 words, of which each of six prompts holds four."""
    del bench
    generator = torch.Generator().manual_seed(0)
    table, rows = torch.randn(50, 8, generator=generator), torch.randn(2, 8, generator=generator)
    words = torch.randint(0, 50, (6, 4), generator=generator)
    prompts = torch.cat([words, torch.tensor([[50, 51]]).expand(6, -1)], dim=1)
    wanted = torch.randn(6, 8, generator=generator)

    def loss(look_up: Callable[[Tensor], Tensor]) -> Tensor:
        return (look_up(prompts).mean(1) - wanted).square().mean()

    embedding = NewTokenEmbedding(nn.Embedding.from_pretrained(table), rows, first_id=50)
    config = ProdigyConfig(beta2=0.999)
    part = PartOptimizer("new_tokens_1", {"rows": embedding.rows}, config, rate=1.0, weight_decay=0.0)
    for _ in range(200):
        part.zero_gradient()
        loss(embedding).backward()
        part.step(1.0)
    theirs = script.distance_with_vocabulary(table.double(), rows.double(), loss=loss, steps=200)
    what = "Prodigy's step size d after 200 steps for two new rows beside 50 words"
    return [Difference("C-10", what, theirs, part.distance or 0.0, digits=2)]


def spread_under_accumulation(bench: Bench) -> list[Difference]:
    """C-12. Rows that start at twice the table's spread, four passes an update, the pivot after the first."""
    schedule = {"steps": 3, "gradient_accumulation": 4, "batch_size": 1, "pivot_step": 1}
    still = {"new_tokens_1": 1e-12, "new_tokens_2": 1e-12}
    training = bench.run(bench.config(schedule=schedule, rates=still, optimizer={"name": "adamw"}))
    tokens = training.new_tokens["new_tokens_1"]
    training.parts["new_tokens_1"].rescale(2.0 * tokens.embedding.spread / tokens.rows.std().item())
    found: list[Difference] = []
    for updates, when in ((1, "after the one update before the pivot, of four passes"), (3, "two updates later")):
        _train(training, updates)
        ours = tokens.rows.std().item() / tokens.embedding.spread
        theirs = script.spread_after_pulls(2.0, 4 * updates)
        what = f"spread of embeddings that start at twice the table's, {when}"
        found.append(Difference("C-12", what, theirs, ours, digits=2))
    return found


def _train(training: Training, until: int) -> None:
    while training.step < until:
        training.enter_phase()
        take_step(training)


def pivot_of_short_runs(bench: Bench) -> list[Difference]:
    """C-13. One epoch of twelve steps; and ten pictures beside 100 class images, which make the epoch 100 steps."""
    one_epoch = phase_schedule(bench.config(schedule={"epochs": 1, "steps": None}), 12).pivot_step
    prior = {"class_prompt": "a photo of a dog", "num_class_images": 100}
    with_class_images = phase_schedule(bench.config(prior=prior), 150).pivot_step
    return [
        Difference(
            "C-13",
            "pivot step of a run of one epoch of 12 steps",
            script.pivot_step(0.5, steps=12, steps_per_epoch=12),
            one_epoch,
        ),
        Difference(
            "C-13",
            "pivot step of 150 steps on 10 pictures beside 100 class images",
            script.pivot_step(0.5, steps=150, steps_per_epoch=100),
            with_class_images,
        ),
    ]


def crops_of_a_picture(bench: Bench) -> list[Difference]:
    """C-14. A picture of 64 × 1,064 px that is cut to 64 × 64."""
    del bench
    example = Example("a.png", Path("a.png"), "a TOK", Role.INSTANCE, Size(64, 1064), "")
    settings = ViewSettings(crop="random", flip=False, seed=0)

    def cut(epoch: int) -> Corner:
        return view_of(example, Size(64, 64), settings=settings, epoch=epoch, copy=0).crop_top_left

    theirs = script.crops(lambda: cut(0), epochs=12)
    what = "different crops of one picture in 12 epochs"
    return [Difference("C-14", what, len(set(theirs)), len({cut(epoch) for epoch in range(12)}))]


def min_snr_of_the_last_timestep(bench: Bench) -> list[Difference]:
    """C-15. γ = 5, velocity predicted, SDXL's noise as it is and rescaled to zero terminal SNR."""
    del bench
    found: list[Difference] = []
    for rescaled, named in ((False, ""), (True, ", at zero terminal SNR")):
        alphas = DDPMScheduler(**SDXL, rescale_betas_zero_snr=rescaled).alphas_cumprod
        ours = DiffusionObjective(NoiseSchedule(alphas, "v_prediction"), snr_gamma=5.0).weights(torch.tensor([999]))
        theirs = script.min_snr_weight(signal_to_noise(alphas[999:]), gamma=5.0, velocity=True)
        what = f"min-SNR weight of the last timestep where velocity is predicted{named}"
        found.append(Difference("C-15", what, theirs.item(), ours.item(), digits=3))
    return found


def time_ids_in_bf16(bench: Bench) -> list[Difference]:
    """C-16. A picture of 3,023 × 1,333 px, cut 777 px below its top."""
    sizes = SizeConditioning(Size(3023, 1333), Corner(777, 1), Size(1024, 1024))
    true = torch.tensor([sizes.time_ids()], dtype=torch.double)
    theirs, ours = true.to(torch.bfloat16), bench.family(torch.bfloat16).time_ids([sizes])
    off = [(said.double() - true).abs().max().item() for said in (theirs, ours)]
    what = "pixels by which the base is told a wrong size under bf16, of 3,023 × 1,333 cut at 777"
    return [Difference("C-16", what, off[0], off[1])]


def noises_of_a_step(bench: Bench) -> list[Difference]:
    """C-17. Two devices of two examples each there; two passes of two examples here."""
    training = bench.run(bench.config(schedule={"gradient_accumulation": 2}))
    ours: list[float] = []
    for micro_step in range(2):
        batch = training.batches.batch_at(micro_step)
        draws = draw_chance(batch, training.objective, seed=0, micro_step=micro_step, device=torch.device("cpu"))
        ours += draws.noise.flatten(1)[:, 0].tolist()
    theirs = script.noises(devices=2, batch_size=2, seed=0)
    what = "different noises among four examples of one step: two devices there, two passes here"
    return [Difference("C-17", what, len(set(theirs)), len(set(ours)))]


def updates_at_the_scripts_text_rate(bench: Bench) -> list[Difference]:
    """C-20. Prodigy at rate 1 beside new tokens at 5e-6, the script's default."""
    training = bench.run(bench.config(rates={"new_tokens_1": 5e-6, "new_tokens_2": 5e-6}))
    _train(training, 2)
    what = "updates of two under Prodigy with new tokens and the script's default text rate"
    return [Difference("C-20", what, script.prodigy_updates((1.0, 5e-6, 5e-6), steps=2), training.step)]


def weight_of_the_prior(bench: Bench) -> list[Difference]:
    """C-33. The same error of a class image and of an instance image at timestep 10, prior weight 1, γ = 5."""
    prior = {"class_prompt": "a photo of a dog", "num_class_images": 2, "weight": 1.0}
    training = bench.run(bench.config(prior=prior, objective={"snr_gamma": 5.0}))
    roles = training.batches.batch_at(0).roles
    weights = dict(zip(roles, training.objective.weights(torch.full((4,), 10)).tolist(), strict=True))
    scheduler = DDPMScheduler(**SDXL)
    instance = script.min_snr_weight(signal_to_noise(scheduler.alphas_cumprod[10]), gamma=5.0, velocity=False)
    what = "what an error counts in a class image beside the same in an instance image, γ = 5, timestep 10"
    ours = weights[Role.CLASS] / weights[Role.INSTANCE]
    return [Difference("C-33", what, 1.0 / instance.item(), ours, digits=1)]


def clipping_beside_another_part(bench: Bench) -> list[Difference]:
    """C-36. Gradients of lengths 3 and 4 under `--max_grad_norm 1`."""
    del bench
    denoiser, text = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    part = PartOptimizer("denoiser", {"a": nn.Parameter(torch.zeros(2))}, AdamWConfig(), rate=1.0, weight_decay=0.0)
    part.gradient.copy_(denoiser)
    part.clip_gradient(1.0)
    theirs = script.clipped_lengths([denoiser, text], 1.0)[0]
    what = "length of the denoiser's gradient of 3 beside the text's of 4, cut to 1"
    return [Difference("C-36", what, theirs, part.gradient.norm().item(), digits=2)]
