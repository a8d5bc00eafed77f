"""Owns which pictures and captions are trained on and how each is cut; reads no file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lorasmith.config.section import OneValuePerFlag, Section

Interpolation = Literal["lanczos", "bicubic", "bilinear", "box", "hamming", "nearest"]


class DataConfig(Section):
    """From which pictures."""

    instance_images: Path | None = None
    """Folder with the instance images (jpg, png, webp, bmp) and, if any, their captions; or a zip of them."""

    dataset: str | None = None
    """Instead of a folder of instance images: a data set of the hub, such as `LinoyTsaban/3d_icon`, a local folder in
    a layout of `datasets`, or a parquet file."""

    dataset_config: str | None = None
    """Which config of the data set, where it has several."""

    dataset_split: str = "train"
    """Which split of the data set."""

    dataset_revision: str | None = None
    """Branch, tag or commit of a data set of the hub; None means its main branch as it is when the run starts."""

    image_column: str | None = None
    """Column of the data set with the pictures; None takes the only one that has any, or else `image`."""

    download_folder: Path | None = None
    """Where the hub's files of a data set are downloaded to; None means the hub library's own cache (HF_HOME)."""

    instance_prompt: str | None = None
    """Prompt for every picture that has no caption of its own, such as `a photo of TOK`."""

    caption_column: str | None = None
    """Column of the data set, `metadata.jsonl` or `metadata.csv` with the captions; None takes `text`, `prompt` or
    `caption`. Several, separated by commas, give each picture several captions."""

    caption_lines: Literal["joined", "several"] = "joined"
    """What the lines of a `.txt` or `.caption` file are: one caption, or several of which each epoch draws one."""

    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the times a picture is seen with an empty prompt instead of its caption."""

    shuffle_tags: bool = False
    """Put a caption's tags into another order each time it is seen; those of `keep_tags` stay in front."""

    keep_tags: Annotated[int, Field(ge=0)] = 0
    """How many of a caption's first tags are neither moved nor left out."""

    tag_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of a caption's tags that is left out, drawn anew each time; tags with a token abstraction stay."""

    tag_separator: str = ","
    """What stands between a caption's tags."""

    wildcards: bool = False
    """Read `{red|green}` in captions as one of the two, drawn anew each time, and `__name__` as a line of `name.txt` in
    the wildcard folder."""

    wildcard_folder: Path | None = None
    """Folder with the files of wildcards, one choice a line."""

    masks: Path | None = None
    """Folder with a mask for each picture, of the picture's name: white counts, black does not. None takes what stands
    beside the pictures as `NAME-masklabel.png`, or in a folder `masks` among them."""

    use_masks: bool = True
    """Take the masks that are found; false trains on whole pictures."""

    alpha_mask: bool = False
    """Take the pictures' own transparency as their masks."""

    mask_words: str | None = None
    """Draw a mask, for pictures that have none, of what these words name, such as `a dog` (CLIPSeg)."""

    mask_source: str = "CIDAS/clipseg-rd64-refined"
    """The CLIPSeg that draws masks from words: an id of the hub or a folder."""

    mask_temperature: Annotated[float, Field(gt=0)] = 1.0
    """How soft masks from words are; below 1 they are harder."""

    resolution: Annotated[int, Field(ge=16, le=4096)] | None = None
    """Side of the training square in pixels (with buckets: its area); None means the base's own."""

    buckets: bool = False
    """Train pictures near their own aspect ratio instead of cutting squares."""

    crop: Literal["center", "random", "mask"] = "center"
    """Where a picture is cut: in the middle, at random (anew each epoch) or around the middle of its mask."""

    flip: bool = False
    """Mirror each picture with even odds, drawn anew each epoch."""

    repeats: Annotated[int, Field(ge=1)] = 1
    """How often each picture is seen in an epoch."""

    background: str = "white"
    """Colour put behind transparent pictures: a name or `#rrggbb`."""

    interpolation: Interpolation = "lanczos"
    """How pictures are resized."""

    broken_pictures: Literal["refuse", "leave_out"] = "refuse"
    """What to do when a picture cannot be read: refuse to start, or go on without it."""

    leave_out: Annotated[tuple[str, ...], OneValuePerFlag()] = ()
    """Pictures not to train on: a report of `lorasmith check` (its .json), or names of pictures."""

    captions_without_token: Literal["refuse", "allow"] = "refuse"
    """What to do when a caption does not name a token abstraction."""

    pixel_limit: Annotated[int, Field(ge=1)] = 64_000_000
    """Pictures with more pixels than this are refused (decompression bombs)."""

    cache_latents: bool = True
    """Keep encoded pictures on disk and encode each only once (with random crops they are encoded at each step)."""

    cache_folder: Path | None = None
    """Where encoded pictures and a data set's pictures are kept, shared between runs; None means the user's cache
    folder."""


class PriorConfig(Section):
    """Prior preservation: keeps the base's idea of the wider class."""

    source: Literal["class_images", "adapter_off"] = "class_images"
    """What keeps it: class images, or the base itself with the adapter off, on the instance images under class
    captions; the latter needs no class images and a third more time for each step."""

    class_prompt: str = ""
    """Prompt for the class images, such as `a photo of a dog`."""

    class_word: str | None = None
    """With `adapter_off`: the word put in each token abstraction's place in the captions, such as `dog`; None takes
    `class_prompt` for every picture."""

    class_images: Path | None = None
    """Folder of class images; None means one inside the run folder. What is missing is generated by the base."""

    num_class_images: Annotated[int, Field(ge=1)] = 100
    """How many class images to use."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the class images' loss beside the instance images' loss."""

    sample_batch_size: Annotated[int, Field(ge=1)] = 4
    """How many class images are generated at once."""

    sample_steps: Annotated[int, Field(ge=1)] = 25
    """Sampling steps for each generated class image."""

    guidance: Annotated[float, Field(ge=0)] = 5.0
    """Guidance scale for generated class images."""

    @property
    def class_images_used(self) -> int:
        """How many class images are trained on; none with the adapter off."""
        return self.num_class_images if self.source == "class_images" else 0
