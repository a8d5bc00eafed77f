"""Owns which of sd-scripts' flags have no equal here, and what happens instead; all others are read elsewhere."""

from typing import Final

WITHOUT_EQUIVALENT: Final = {
    "xformers sdpa mem_eff_attn": "",
    "cache_latents cache_latents_to_disk vae_batch_size skip_cache_check": "",
    "cache_text_encoder_outputs cache_text_encoder_outputs_to_disk text_encoder_batch_size": (
        "prompts are encoded once by themselves wherever nothing changes them"
    ),
    "no_half_vae lowram highvram disable_mmap_load_safetensors": "",
    "full_fp16 full_bf16 fp8_base fp8_base_unet fp16_master_weights_and_gradients": (
        "adapters are fp32 and the base is at runtime.precision"
    ),
    "max_data_loader_n_workers persistent_data_loader_workers": "",
    "lr_scheduler_type lr_scheduler_args lr_decay_steps lr_scheduler_timescale lr_scheduler_min_lr_ratio": (
        "schedule.lr_schedule has the usual six"
    ),
    "multires_noise_iterations multires_noise_discount perlin_noise": "no pyramid noise; "
    "objective.noise_offset is there",
    "adaptive_noise_scale noise_offset_random_strength": "objective.noise_offset is the same for all pictures",
    "ip_noise_gamma ip_noise_gamma_random_strength": "no input perturbation",
    "debiased_estimation_loss scale_v_pred_loss_like_noise_pred v_pred_like_loss": (
        "no such weighting; objective.snr_gamma is there"
    ),
    "huber_schedule huber_c huber_scale": "the squared error (l2)",
    "weighting_scheme logit_mean logit_std mode_scale": "for other families of bases",
    "min_timestep max_timestep": "all timesteps are trained",
    "scale_weight_norms": "no such limit; runtime.max_grad_norm clips gradients",
    "network_weights dim_from_weights base_weights base_weights_multiplier": "a run starts from new adapters",
    "weighted_captions": "brackets in captions are read as text",
    "resume initial_epoch initial_step skip_until_initial_step": "lorasmith resumes its own runs, "
    "exactly: train --resume",
    "save_state save_state_on_train_end save_state_to_huggingface save_last_n_steps_state save_last_n_epochs_state": (
        "every checkpoint resumes"
    ),
    "save_last_n_steps save_last_n_epochs save_n_epoch_ratio": "checkpoint.keep says how many are kept",
    "save_model_as no_metadata training_comment": "exports are .safetensors, with metadata and without paths",
    "metadata_title metadata_author metadata_description metadata_license metadata_tags metadata_merged_from "
    "metadata_usage_hint metadata_thumbnail metadata_trigger_phrase metadata_preprocessor "
    "metadata_is_negative_embedding": "the model card and the header are written from the run",
    "sample_at_first sample_sampler": "validation pictures are drawn at validation.every",
    "log_with logging_dir log_prefix log_tracker_name log_tracker_config log_config wandb_run_name": (
        "tracking.report_to names trackers"
    ),
    "wandb_api_key huggingface_token": "log in with the tool's own command; no secret belongs into a config",
    "huggingface_repo_id huggingface_repo_type huggingface_path_in_repo huggingface_repo_visibility async_upload "
    "resume_from_huggingface": "lorasmith push, or the section [hub]",
    "deepspeed zero_stage zero3_init_flag zero3_save_16bit_model offload_optimizer_device offload_param_device "
    "offload_optimizer_nvme_path offload_param_nvme_path ddp_timeout ddp_gradient_as_bucket_view ddp_static_graph "
    "torch_compile dynamo_backend cpu_offload_checkpointing blocks_to_swap fused_backward_pass": (
        "one device, without these"
    ),
    "optimizer_schedulefree_wrapper schedulefree_wrapper_args": "optimizer.name = schedule_free_prodigy is there",
    "validate_every_n_steps validate_every_n_epochs max_validation_steps": "validation.held_out and validation.every",
    "in_json dataset_class train_dir": "no such data set: folders, and data sets of the hub",
    "v2 ckpt use_safetensors tokenizer_cache_dir debug_dataset output_config": "",
    "num_cpu_threads_per_process": "",
}

_READ: Final = (
    "pretrained_model_name_or_path vae v_parameterization zero_terminal_snr clip_skip max_token_length output_dir "
    "output_name network_dim network_alpha network_dropout network_module network_args network_train_unet_only "
    "network_train_text_encoder_only text_encoder_lr unet_lr learning_rate optimizer_type optimizer_args use_8bit_adam "
    "use_lion_optimizer max_grad_norm lr_scheduler lr_scheduler_num_cycles lr_scheduler_power lr_warmup_steps "
    "min_snr_gamma noise_offset loss_type masked_loss mixed_precision save_precision gradient_checkpointing seed "
    "gradient_accumulation_steps max_train_steps max_train_epochs train_batch_size train_data_dir reg_data_dir "
    "resolution enable_bucket save_every_n_steps save_every_n_epochs sample_every_n_steps sample_every_n_epochs "
    "sample_prompts dataset_config config_file caption_extension prior_loss_weight"
)

KNOWN: Final = frozenset(" ".join(WITHOUT_EQUIVALENT).split()) | frozenset(_READ.split())
"""By these a command line or a file is known to be sd-scripts'."""
