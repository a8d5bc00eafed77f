"""Owns which of OneTrainer's keys have no equal here, and what happens instead; all others are read elsewhere."""

from typing import Final

ARGUMENTS: Final = frozenset(
    [
        "beta1",
        "beta2",
        "beta3",
        "eps",
        "eps2",
        "weight_decay",
        "decouple",
        "use_bias_correction",
        "safeguard_warmup",
        "d0",
        "d_coef",
        "growth_rate",
        "clip_threshold",
        "decay_rate",
        "relative_step",
        "scale_parameter",
        "warmup_init",
        "d_limiter",
        "use_stableadamw",
    ]
)
"""Arguments of optimizers that may have an equal."""

WITHOUT_EQUIVALENT: Final = {
    "ema": "no moving average of the weights",
    "ema_decay ema_update_step_interval non_ema_sampling __version": "",
    "output_model_format include_train_config save_filename_prefix prevent_overwrites": "",
    "generalized_offset_noise": "objective.noise_offset is the same at all timesteps",
    "huber_delta vb_loss_strength loss_scaler": "",
    "noising_weight noising_bias timestep_shift dynamic_timestep_shifting": "",
    "custom_learning_rate_scheduler scheduler_params": "schedule.lr_schedule has the usual six",
    "save_every": "checkpoint.every; each checkpoint can be exported",
    "validation": "validation.held_out and validation.every",
    "continue_last_backup": "lorasmith train --resume goes on with a run of its own",
    "rolling_backup rolling_backup_count backup_before_save samples_to_tensorboard tensorboard tensorboard_expose "
    "tensorboard_always_on tensorboard_port sample_skip_first sample_image_format sample_video_format "
    "sample_audio_format latent_caching clear_cache_before_training cache_dir only_cache enable_autocast_cache": "",
    "validate_after validate_after_unit save_every_unit save_skip_first learning_rate_min_factor "
    "gradient_checkpointing "
    "compile attention_mechanism force_circular_padding dataloader_threads": "",
    "multi_gpu": "one device",
    "device_indexes gradient_reduce_precision fused_gradient_reduce async_gradient_reduce "
    "async_gradient_reduce_buffer async_offloading layer_offload_fraction": "",
    "train_device temp_device workspace_dir huggingface_cache_dir offline_mode debug_mode debug_dir "
    "fallback_train_dtype "
    "weight_dtype frames": "",
    "lora_model_name": "a run starts from new adapters",
    "lora_weight_dtype embedding_weight_dtype": "",
    "bundle_additional_embeddings": "",
    "lora_decompose_norm_epsilon custom_conditioning_image": "",
    "oft_block_size oft_block_share oft_scaled lokr_dim lokr_decompose_both lokr_decompose_factor lokr_use_tucker "
    "lokr_weight_decompose lokr_dora_on_output lokr_full_matrix lokr_vec_trick": "",
    "prior transformer unconditional_transformer text_encoder_3 text_encoder_4 effnet_encoder decoder "
    "decoder_text_encoder decoder_vqgan quantization embedding text_encoder_3_layer_skip text_encoder_4_layer_skip "
    "text_encoder_sequence_length text_encoder_2_sequence_length": "",
    "cloud secrets": "",
}

OF_PARTS: Final = {
    "stop_training_after stop_training_after_unit": "",
    "dropout_probability": "captions are always read by both text encoders",
    "model_name weight_dtype include attention_mask guidance_scale offload_fraction activation_offloading "
    "gradient_checkpointing train_embedding train learning_rate": "",
}

OF_EMBEDDINGS: Final = {
    "is_output_embedding": "new tokens are looked up before the text encoder, which every program can read",
    "model_name": "new tokens start from words (tokens.init)",
    "uuid": "",
}

OF_OPTIMIZERS: Final = {
    "use_schedulefree split_groups split_groups_mean factored factored_fp32 prodigy_steps use_speed use_cautious "
    "use_grams use_adopt use_orthograd schedulefree_c weight_decay_by_lr slice_p amsgrad stochastic_rounding "
    "fused_back_pass foreach fused maximize capturable differentiable optim_bits min_8bit_size percentile_clipping "
    "block_wise is_paged fsdp_in_use adam_w_mode alpha momentum dampening nesterov lr_decay": "",
}

OF_CONCEPTS: Final = {
    "__version name seed concept_stats": "",
    "image_variations text_variations": "",
}

OF_PICTURES: Final = {
    "enable_fixed_flip enable_random_rotate enable_fixed_rotate enable_random_brightness "
    "enable_fixed_brightness enable_random_contrast enable_fixed_contrast "
    "enable_random_saturation enable_fixed_saturation "
    "enable_random_hue enable_fixed_hue": "pictures are learnt as they are, or mirrored (data.flip)",
    "random_rotate_max_angle random_brightness_max_strength random_contrast_max_strength "
    "random_saturation_max_strength random_hue_max_strength": "",
    "enable_random_circular_mask_shrink enable_random_mask_rotate_crop": "masks are taken as they are",
}

OF_TEXTS: Final = {
    "caps_randomize_enable": ("captions as they are written"),
    "tag_dropout_special_tags": "tags with a token abstraction are never left out",
    "tag_dropout_mode tag_dropout_special_tags_mode tag_dropout_special_tags_regex caps_randomize_mode "
    "caps_randomize_probability caps_randomize_lowercase tag_delimiter prompt_path keep_tags_count "
    "tag_dropout_probability": "",
}
