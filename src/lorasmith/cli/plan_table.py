"""Owns how a plan is printed by `--dry-run`; resolves nothing."""

from collections.abc import Iterator

from lorasmith.cli.run_view import clock_text
from lorasmith.cli.talk import give
from lorasmith.data.wording import shown
from lorasmith.training.plan import PlannedAdapter, RunPlan

_LABEL_WIDTH = 12


def show_plan(plan: RunPlan) -> None:
    """Print a plan on stdout."""
    for line in plan_lines(plan):
        give(line)


def plan_lines(plan: RunPlan) -> Iterator[str]:
    """A plan, one thing on each line."""
    for label, text in _rows(plan):
        yield f"{label:<{_LABEL_WIDTH}} {text}"


def _rows(plan: RunPlan) -> Iterator[tuple[str, str]]:
    yield "base", f"{plan.base} at {plan.resolution} px, on {plan.device} in {plan.precision}"
    yield "pictures", _pictures(plan)
    yield "steps", _steps(plan)
    for phase in plan.phases:
        rates = ", ".join(f"{part} {rate:g}" for part, rate in phase.rates.items())
        yield "phase", f"steps {phase.first}–{phase.end} {phase.name}: {rates or 'nothing trains'}"
    if plan.pivot_step is not None:
        yield "pivot", f"after step {plan.pivot_step} of {plan.steps}"
    if plan.clip_skip:
        yield "text", f"clip skip {plan.clip_skip}: read {plan.clip_skip} before the penultimate layer"
    if plan.captions_told:
        yield "captions", plan.captions_told
    if plan.masks_told:
        yield "masks", shown(plan.masks_told, limit=300)
    if plan.long_prompts_told:
        yield "prompts", plan.long_prompts_told
    for adapter in plan.adapters:
        yield "adapter", _adapter(adapter)
    yield "optimizer", plan.optimizer
    for cache in plan.caches:
        yield "cache", cache
    yield "checkpoints", f"after steps {_several(plan.checkpoint_steps)}"
    if plan.candidate_steps:
        yield "candidates", f"the best of steps {', '.join(map(str, plan.candidate_steps))} is exported"
    yield "validation", f"after steps {_several(plan.validation_steps)}"
    yield "expected", f"about {plan.memory_bytes / 2**30:.1f} GiB and {clock_text(plan.seconds)} (a guide)"


def _pictures(plan: RunPlan) -> str:
    held_out = f", {plan.held_out_images} held out" if plan.held_out_images else ""
    missing = f" ({plan.class_images_missing} to be drawn)" if plan.class_images_missing else ""
    class_images = f", {plan.class_images} class images{missing}" if plan.class_images else ""
    sizes = ", ".join(f"{count} at {size}" for size, count in plan.buckets)
    return f"{plan.instance_images}{held_out}{class_images}; {sizes}"


def _steps(plan: RunPlan) -> str:
    batch = f"batch {plan.batch_size}"
    if plan.gradient_accumulation > 1:
        batch += f" × {plan.gradient_accumulation} accumulated"
    pictures = f"{plan.instance_images} pictures × {plan.repeats} repeats ÷ {batch} = {plan.steps_per_epoch} steps"
    return f"{plan.steps} ({plan.epochs:.3g} epochs; {pictures} an epoch)"


def _adapter(adapter: PlannedAdapter) -> str:
    kind = "DoRA" if adapter.kind == "dora" else "LoRA"
    ranks = f"rank {', '.join(map(str, adapter.ranks))}"
    megabytes = adapter.parameters * 4 / 1e6
    size = f"{adapter.parameters:,} numbers ({megabytes:.1f} MB)"
    return f"{adapter.part}: {kind} {ranks}, {adapter.layers} layers, {size}"


def _several(steps: tuple[int, ...]) -> str:
    if not steps:
        return "none"
    return ", ".join(map(str, steps)) if len(steps) < 8 else f"{steps[0]}, {steps[1]}, …, {steps[-1]}"
