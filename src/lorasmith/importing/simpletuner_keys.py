"""Owns which of SimpleTuner's keys have no equal here, and what happens instead; all others are read elsewhere."""

from typing import Final

OF_ENVIRONMENT: Final = {
    "DATALOADER_CONFIG": "data_backend_config",
    "TRAINING_SEED": "seed",
    "MINIMUM_RESOLUTION": "minimum_image_size",
    "MAX_NUM_STEPS": "max_train_steps",
    "NUM_EPOCHS": "num_train_epochs",
    "CHECKPOINTING_STEPS": "checkpoint_step_interval",
    "CHECKPOINTING_LIMIT": "checkpoints_total_limit",
    "MODEL_NAME": "pretrained_model_name_or_path",
    "USE_GRADIENT_CHECKPOINTING": "gradient_checkpointing",
    "VALIDATION_STEPS": "validation_step_interval",
    "RESUME_CHECKPOINT": "resume_from_checkpoint",
    "HUB_MODEL_NAME": "hub_model_id",
    "PUSH_CHECKPOINTS": "push_checkpoints_to_hub",
}
"""Names in a config.env that are others on the command line; the rest is the same in small letters."""

WITHOUT_EQUIVALENT: Final = {
    "use_ema": "no moving average of the weights",
    "rescale_betas_zero_snr": "zero terminal SNR is read from the base's scheduler or markers",
    "base_model_precision quantize_activations quantization_config": "the base at runtime.precision",
    "input_perturbation input_perturbation_steps": "no perturbation",
    "use_soft_min_snr soft_min_snr_sigma_data snr_weight": "objective.snr_gamma",
    "masked_loss_probability": "masks, where there are any, always count",
    "text_encoder_lr": "rates.text_encoder_1 and 2, with adapter.text_encoders",
    "lr_scale lr_scale_sqrt": "the rates as they stand: multiply them yourself",
    "init_lora init_lora_step init_lora_ema assistant_lora_path": "a run starts from new adapters",
    "peft_lora_mode lora_init_type lora_initialisation_style": "a LoRA that starts at nothing",
    "layer_freeze_strategy freeze_encoder_before freeze_encoder_after": "all blocks; adapter.blocks chooses",
    "aspect_bucket_alignment": "buckets in steps of 32 pixels",
    "minimum_image_size maximum_image_size target_downsample_size minimum_aspect_ratio maximum_aspect_ratio": (
        "all pictures that can be read"
    ),
    "delete_unwanted_images delete_problematic_images delete_nsfw_images": "no picture is ever deleted",
    "push_to_hub push_checkpoints_to_hub hub_model_id publishing_config": "lorasmith push, or the section [hub]",
    "report_to tracker_project_name tracker_run_name": "the section [tracking]",
    "resume_from_checkpoint": "lorasmith resumes its own runs, exactly: train --resume",
    "num_validation_images": "validation.count",
    "validation_prompt_library user_prompt_library": "validation.prompts",
    "disable_tf32 allow_tf32": "runtime.allow_tf32",
    "controlnet control refiner_training": "not trained here",
    "data_aesthetic_score conditioning_multidataset_sampling model_flavour configs_dir logging_dir vae_dtype "
    "attention_mechanism vae_batch_size write_batch_size read_batch_size image_processing_batch_size "
    "text_encoder_batch_size max_workers cache_dir cache_dir_text cache_dir_vae compress_disk_cache "
    "preserve_data_backend_cache override_dataset_config aspect_bucket_rounding skip_file_discovery "
    "vae_cache_scan_behaviour lora_format disable_benchmark num_eval_images i_know_what_i_am_doing hash_filenames "
    "metadata_update_interval base_model_default_dtype offload_during_startup keep_vae_loaded ema_decay ema_device "
    "local_rank trust_remote_code webhook_config enable_multiprocessing set_grads_to_none framerate "
    "seed_for_each_device strict_epoch_limit max_grounding_entities disable_multiline_split merge_environment_config "
    "delete_model_after_load delete_invalid_checkpoints ignore_missing_files dataloader_prefetch "
    "dataloader_prefetch_qlen torch_num_threads print_filenames print_sampler_statistics "
    "disable_bucket_pruning debug_dataset_loader debug_aspect_buckets parquet_caption_column "
    "parquet_filename_column tokenizer_max_length data_backend_sampling allow_dataset_oversubscription "
    "training_scheduler_timestep_spacing inference_scheduler_timestep_spacing "
    "enable_xformers_memory_efficient_attention "
    "lycoris_config checkpoint_epoch_interval checkpointing_rolling_steps checkpoints_rolling_total_limit "
    "checkpointing_use_tempdir only_instance_prompt prepend_instance_prompt vae_enable_tiling vae_enable_slicing": "",
    "disable_segmented_timestep_sampling timestep_bias_strategy": "timesteps are drawn evenly",
}

PREFIXES: Final = (
    "validation_", "eval_", "evaluation_", "flow_", "crepa_", "urepa_", "irepa_", "scheduled_sampling_", "fsdp_",
    "deepspeed", "dynamo_", "ramtorch", "group_offload", "musubi_", "tracker_", "model_card_", "aws_", "t5_",
    "accelerate_", "num_processes", "num_machines", "main_process", "machine_rank", "same_network", "ema_",
    "timestep_bias_", "huber_", "sdnq_", "twinflow_", "layersync_", "nextlat_", "xm_", "disk_low_", "audio_",
    "gradient_checkpointing_", "gradient_precision", "optimizer_offload", "optimizer_cpu_offload", "optimizer_release",
    "fuse_optimizer", "quantize_via", "diff2flow", "internal_guidance", "singlora", "slider_", "nsfw_", "enable_nsfw",
    "sageattention", "post_", "context_parallel",
)  # fmt: skip
"""What begins like this changes nothing of what an SDXL LoRA learns."""

OF_BACKENDS: Final = {
    "minimum_image_size maximum_image_size target_downsample_size minimum_aspect_ratio maximum_aspect_ratio": (
        "all pictures that can be read"
    ),
    "conditioning_data conditioning source_dataset_id": "data.masks names a folder of masks",
    "caption_filter_list": "captions as they are written",
    "caption_shuffle": "data.shuffle_tags draws an order anew each time",
    "start_epoch end_epoch": "all pictures from the beginning",
    "id type dataset_type cache_dir_vae cache_dir text_embeds default vae_cache_clear_each_epoch skip_file_discovery "
    "preserve_data_backend_cache ignore_epochs metadata_backend disabled hash_filenames probability dataset_type "
    "metadata_update_interval instance_data_dir crop crop_aspect crop_style only_instance_prompt instance_prompt "
    "prepend_instance_prompt vae_cache_disable train_batch_size disable_multiline_split caption_strategy repeats "
    "resolution resolution_type parquet aspect_bucket_rounding is_regularisation_data": "",
    "crop_aspect_buckets max_upscale_threshold": "buckets in steps of 32 pixels",
}

OF_OTHERS: Final = {
    "id type dataset_type cache_dir default write_batch_size text_embeds disabled aws_bucket_name aws_region_name "
    "aws_endpoint_url aws_access_key_id aws_secret_access_key aws_data_prefix preserve_data_backend_cache "
    "skip_file_discovery": "",
}
