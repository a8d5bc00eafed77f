"""Every number that the page of differences shows: the script's by its formula, and lorasmith's by calling it."""

import numbers_in_files as files
import numbers_in_prompts as prompts
import numbers_in_training as training
from measured import Bench, Difference, Measure

MEASURES: tuple[Measure, ...] = (
    prompts.tokens_without_new_tokens,
    training.frozen_rows_under_prodigy,
    training.pairs_from_a_cache,
    training.prompts_beside_class_images,
    files.embeddings_of_a_nested_run,
    training.epochs_after_a_resume,
    prompts.layers_left_out,
    prompts.pooling_with_new_tokens,
    training.updates_lost_in_bf16,
    training.distance_beside_a_vocabulary,
    prompts.new_tokens_of_the_second_concept,
    training.spread_under_accumulation,
    training.pivot_of_short_runs,
    training.crops_of_a_picture,
    training.min_snr_of_the_last_timestep,
    training.time_ids_in_bf16,
    training.noises_of_a_step,
    prompts.new_tokens_in_the_final_pictures,
    training.updates_at_the_scripts_text_rate,
    files.broken_pictures_named,
    files.refusals_of_min_snr_with_edm,
    files.magnitudes_with_a_name_that_is_read,
    files.text_layers_with_a_name_that_is_read,
    files.vectors_of_a_file_name,
    files.layers_of_a_block,
    files.what_is_uploaded,
    files.zeros_that_are_said,
    files.switches_that_are_off,
    training.weight_of_the_prior,
    files.the_only_picture,
    files.a_transparent_background,
    training.clipping_beside_another_part,
    prompts.tokens_of_a_long_caption,
)

HEADER = ("| row | measured | the script | lorasmith |", "|---|---|---|---|")


def line(difference: Difference) -> str:
    """The difference as a line of the page's table."""
    script, ours = difference.shown
    return f"| {difference.row} | {difference.what} | {script} | {ours} |"


def lines(bench: Bench, measure: Measure) -> list[str]:
    """What a measure adds to the table."""
    return [line(difference) for difference in measure(bench)]
