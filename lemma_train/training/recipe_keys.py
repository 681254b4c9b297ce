"""What this project changes about the keys of SFTConfig: which are refused, which names are old, which defaults differ.

Tables only; `recipe` reads them.
"""

# Keys of SFTConfig that would have no effect or a harmful one, because this project renders and masks the rows.
REFUSED_KEYS = {
    "dataset_text_field": "rows are read by their format; see docs/data.md",
    "dataset_kwargs": "rows are prepared by lemma_train",
    "truncation_mode": "rows are never cut; see the key overlong",
    "shuffle_dataset": "the sampler shuffles every epoch with data_seed",
    "assistant_only_loss": "the prompt is always masked and the completion always supervised",
    "completion_only_loss": "the prompt is always masked and the completion always supervised",
    "pad_token": "the padding token is chosen so that it never equals EOS",
    "resume_from_checkpoint": "use the key resume",
    "remove_unused_columns": "it is always on",
    "hub_token": "secrets come from the environment: set HF_TOKEN",
    "auto_find_batch_size": "it would change the global batch without telling; set per_device_train_batch_size",
    "enable_jit_checkpoint": "SIGUSR1 and SIGTERM always make a checkpoint, see docs/training.md",
    "local_rank": "the launcher sets it",
    "do_train": "sft.py always trains",
    "do_predict": "sft.py does not predict",
    "do_eval": "set eval_strategy and eval_files or eval_fraction",
    "save_on_each_node": "output_dir must lie on a disk that every node sees",
    "push_to_hub": "it would upload the training rows with the model; upload output_dir/final with `hf upload`",
    "hub_model_id": "upload output_dir/final with `hf upload`",
    "hub_strategy": "upload output_dir/final with `hf upload`",
    "hub_private_repo": "upload output_dir/final with `hf upload`",
    "hub_always_push": "upload output_dir/final with `hf upload`",
    "hub_revision": "upload output_dir/final with `hf upload`",
    "dataset_num_proc": "the tokenizer uses every core by itself; RAYON_NUM_THREADS limits it",
    "parallelism_config": "processes would share rows (context, sequence, tensor parallelism); here each has its own",
}

# Names of older releases and other frameworks whose nearest spelling would mislead.
FORMER_NAMES = {
    "lora_rank": "lora_r",
    "lora_target": "lora_target_modules",
    "cutoff_len": "max_length",
    "max_seq_length": "max_length",
    "warmup_ratio": "warmup_steps (below 1 it is a share of all steps)",
    "group_by_length": "train_sampling_strategy (batch_rebalance pads less and leaves each step its rows)",
    "evaluation_strategy": "eval_strategy",
    "torch_dtype": "dtype",
    "flash_attn": "attn_implementation",
    "finetuning_type": "use_peft",
    "dataset": "train_files",
    "dataset_name": "train_files",
    "overwrite_output_dir": "resume",
    "val_size": "eval_fraction",
    "max_samples": "limit, inside an entry of train_files",
    "neat_packing": "packing",
}

# Keys that are settled before the SFTConfig is made: TRL would apply them a second time, or warn that it does not.
SETTLED_KEYS = frozenset({"chat_template_path", "eos_token", "model_init_kwargs"})

# Keys that name a place on this disk: a leading ~ is the home folder.
PATH_KEYS = ("model_name_or_path", "output_dir", "resume", "deepspeed", "chat_template_path")

# What decides, beside the files, which rows are prepared and how long they are.
ROW_KEYS = ("max_length", "overlong", "drop_duplicates", "wrapped_rows", "error_span_weight", "eval_fraction")

# Defaults that differ from SFTConfig's: the library's own can hide a fault, or cost time for nothing.
DEFAULTS = {
    "max_length": 4096,  # LEMMA trains with 4096; TRL's 1024 would drop long trajectories
    "logging_nan_inf_filter": False,  # a NaN loss must be seen, not averaged away
    "prediction_loss_only": True,  # held-out loss needs no logits
    "train_sampling_strategy": "batch_rebalance",  # rows of like length share a micro-batch; steps keep their rows
}
