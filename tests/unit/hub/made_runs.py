"""A finished run as its folder looks, with much beside the export that nobody else should see."""

from pathlib import Path

from lorasmith.atomic import write_json
from lorasmith.config.train import TrainConfig
from lorasmith.export_manifest import ConceptFile, ExportManifest, sha256_of, write_manifest
from lorasmith.run_folder import RunFolder

CARD = "---\nlicense: other\nwidget:\n- text: a dog\n  output:\n    url: image_0.png\n---\n\n# dog\n"
SHARED = {
    "pytorch_lora_weights.safetensors": b"diffusers " * 3000,
    "dog.safetensors": b"kohya " * 5000,
    "dog_emb.safetensors": b"rows " * 100,
    "image_0.png": b"\x89PNG a picture" * 20,
    "README.md": CARD.encode(),
}
DECOYS = (
    "report.html",
    "metrics.jsonl",
    "environment.json",
    "plan.json",
    "checkpoints/step-000010/weights.safetensors",
    "samples/step-000010-00.png",
    "class_images/0.png",
    "generated/a/sheet.png",
    "export/optimizer.safetensors",
    "export/latents.safetensors",
    "export/.env",
    "export/image_9.png",
    "export/notes.md",
    "export/config.resolved.json",
    "export/checkpoints/weights.safetensors",
    "export/.image_0.png.123.part",
)


def finished_run(path: Path, **hub: object) -> RunFolder:
    """A run called dog, with decoys of every kind inside and outside its export folder."""
    folder = RunFolder(path)
    config = TrainConfig.model_validate({"output": {"folder": path, "name": "dog"}, "hub": hub})
    write_json(folder.config_file, config.model_dump(mode="json"))
    for name, content in SHARED.items():
        (folder.export / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.export / name).write_bytes(content)
    for name in DECOYS:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("nobody else should see this")
    manifest = ExportManifest(
        base="embedded",
        abstractions={"TOK": ConceptFile(tokens=("<s0>",), file="dog_emb.safetensors")},
        files={name: sha256_of(folder.export / name) for name in SHARED},
    )
    write_manifest(folder.export, manifest)
    return folder


def shared_bytes(folder: RunFolder) -> dict[str, bytes]:
    """What the hub should hold."""
    return {name: (folder.export / name).read_bytes() for name in (*SHARED, "lorasmith.json")}
