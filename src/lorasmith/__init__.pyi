from lorasmith.config.train import TrainConfig as TrainConfig
from lorasmith.errors import LorasmithError as LorasmithError
from lorasmith.formats.inspection import inspect as inspect
from lorasmith.runs.convert import ConvertRequest as ConvertRequest
from lorasmith.runs.convert import convert as convert
from lorasmith.runs.generate import generate as generate
from lorasmith.runs.generate_request import GenerateRequest as GenerateRequest
from lorasmith.runs.merge import merge as merge
from lorasmith.runs.merge_request import MergeRequest as MergeRequest
from lorasmith.runs.merge_sources import WeightedSource as WeightedSource
from lorasmith.runs.train import resume as resume
from lorasmith.runs.train import train as train

__version__: str
