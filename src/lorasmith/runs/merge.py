"""Owns `lorasmith merge`: several adapters in, one out by each method asked for, written and read back.

Nothing is written before everything is merged, and each folder is whole or not there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lorasmith.events import Emit, ignore
from lorasmith.merging.report import refuse_foreign
from lorasmith.merging.words import Renamed
from lorasmith.runs.merge_bench import Bench, MadeMerge
from lorasmith.runs.merge_report import write_merge_report
from lorasmith.runs.merge_request import METHODS, MergeMethod, MergeRequest, check_request
from lorasmith.runs.merge_sources import OpenedParent, open_parents

__all__ = ["METHODS", "MadeMerge", "MergeMethod", "MergeRequest", "MergeResult", "merge"]


@dataclass(frozen=True)
class MergeResult:
    """What was merged by each method, which words stand for what, and the base it was put into, if any."""

    merges: tuple[MadeMerge, ...]
    parents: tuple[OpenedParent, ...]
    renamed: tuple[Renamed, ...]
    base: Path | None = None
    report: Path | None = None


def merge(
    request: MergeRequest, emit: Emit = ignore, *, should_stop: Callable[[], bool] = lambda: False
) -> MergeResult:
    """Merge adapters and write the result as an export: diffusers, kohya, embeddings, model card.

    ConfigError for wrong options, DataError for files that cannot be merged or do not fit the base, StoppedError when
    stopped while mergers train. Nothing is written then.
    """
    check_request(request)
    if request.report is not None:
        refuse_foreign(request.report)
    opened, shared = open_parents(request.sources, base=request.base)
    bench = Bench.open(request, opened, shared, emit)
    made = [bench.merged(method, emit, should_stop) for method in request.methods]
    written = tuple(bench.written(one, emit) for one in made)
    base = bench.written_base(made[0], emit) if request.into_base is not None else None
    report = write_merge_report(bench, written, request.report, emit) if request.report is not None else None
    return MergeResult(written, opened, bench.renamed, base, report)
