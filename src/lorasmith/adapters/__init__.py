"""LoRA and DoRA on the parts of a base, through peft."""
