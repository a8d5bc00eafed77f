"""Owns which of ai-toolkit's keys have no equal here, and what happens instead; all others are read elsewhere."""

from typing import Final

OF_FILES: Final = {"job meta name type log_dir": ""}

WITHOUT_EQUIVALENT: Final = {
    "process": {
        "device performance_log_every sqlite_db_path logging type": "",
        "adapter decorator guidance slider": "a LoRA alone",
    },
    "model": {
        "quantize quantize_te qtype qtype_te quantize_kwargs text_encoder_bits accuracy_recovery_adapter": (
            "the base at runtime.precision"
        ),
        "low_vram layer_offloading layer_offloading_transformer_percent layer_offloading_text_encoder_percent "
        "auto_memory split_model_over_gpus": "one device; runtime.gradient_checkpointing saves memory",
        "lora_path assistant_lora_path inference_lora_path unconditional_lora_path unet_path refiner_name_or_path": (
            "the base as it is"
        ),
        "dtype vae_dtype te_dtype vae_device te_device compile block_compile compile_mode compile_fullgraph "
        "compile_dynamic cache_size_limit model_kwargs model_paths in_context is_v2 is_v3 is_flux is_pixart "
        "is_pixart_sigma is_auraflow is_lumina2 is_ssd is_vega experimental_xl use_text_encoder_1 use_text_encoder_2 "
        "attn_masking extras_name_or_path te_name_or_path refiner_start_at latent_space_version unet_sample_size": "",
        "ignore_if_contains only_if_contains": "all blocks; adapter.blocks names those that are to be trained alone",
    },
    "network": {
        "transformer_only lokr_full_rank lokr_factor old_lokr_format split_multistage_loras": "",
        "pretrained_lora_path lorm all_layers layer_offloading": "a new LoRA on attention and feed-forward layers",
    },
    "save": {
        "save_format": "",
        "push_to_hub hf_repo_id hf_private": "lorasmith push, or the section [hub]",
    },
    "train": {
        "skip_first_sample force_first_sample disable_sampling xformers sdp attention_backend unload_text_encoder "
        "cache_text_embeddings timestep_type num_train_timesteps train_refiner reg_weight content_or_style_reg "
        "refiner_lr adapter_lr embedding_lr max_loss_debug": "",
        "min_denoising_steps max_denoising_steps": "all timesteps are trained",
        "blank_prompt_preservation blank_prompt_preservation_multiplier do_prior_divergence inverted_mask_prior "
        "inverted_mask_prior_multiplier": "prior.source = adapter_off teaches what the base does",
        "noise_multiplier target_noise_multiplier random_noise_multiplier random_noise_shift img_multiplier "
        "latent_multiplier noisy_latent_multiplier weight_jitter pred_scaler": "1: noise and latents as they are",
        "do_cfg do_random_cfg cfg_scale max_cfg_scale do_guidance_loss do_differential_guidance correct_pred_norm "
        "train_turbo show_turbo_outputs free_u linear_timesteps linear_timesteps2 prompt_saturation_chance "
        "learnable_snr_gos max_loss do_fft_loss": "not trained that way here",
        "start_step merge_network_on_save negative_prompt standardize_images prompt_dropout_prob": "",
    },
    "sample": {
        "sampler width height neg seed walk_seed network_multiplier guidance_rescale format sample_start_step "
        "num_frames fps ext do_cfg_norm": "",
    },
}

OF_DATA_SETS: Final = {
    "cache_latents cache_latents_to_disk cache_text_embeddings cache_tensors_to_disk num_workers prefetch_factor "
    "cache_latents_num_workers type batch_size bucket_tolerance is_reg num_frames shrink_video_to_frames fps do_i2v "
    "do_audio auto_frame_count fast_image_size replay_transforms debug full_size_control_images "
    "load_image_when_caching_latents flip_x random_crop buckets num_repeats caption_ext default_caption trigger_word "
    "shuffle_tokens keep_tokens mask_min_value loss_multiplier network_weight": "",
    "flip_y": "pictures are mirrored left to right alone",
    "control_path control_path_1 control_path_2 control_path_3 inpaint_path clip_image_path unconditional_path": (
        "pictures alone, without control pictures"
    ),
    "random_scale scale square_crop augments augmentations shuffle_augmentations standardize_images poi": (
        "pictures are learnt as they are"
    ),
    "invert_mask": "white counts in a mask, black does not",
    "use_short_captions random_triggers random_triggers_max replacements extra_values caption_type": (
        "captions as they are written"
    ),
    "diff_output_preservation diff_output_preservation_class prior_reg": "the section [prior] holds for all pictures",
    "caption_dropout_rate token_dropout_rate": "",
}
