"""One training run, top to bottom, on every rank.

Enters: a checked recipe. Leaves: the folders and files of a finished run. The order matters: the resume is decided
before rows are prepared, the rows are prepared before the process group exists (so that no collective can time out
over them), and the SFTConfig exists before the model (so that ZeRO-3 partitions it while it loads).
"""

import contextlib
import gc
import logging
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lemma_train.errors import InputError, first_line
from lemma_train.template import Renderer
from lemma_train.training import checkpoints, launcher, other_ranks, prepare, starts
from lemma_train.training.checkpoints import Course
from lemma_train.training.evaluate_after import check_evaluations, evaluate_final
from lemma_train.training.heartbeat import Beats, Heartbeat
from lemma_train.training.lock import claim
from lemma_train.training.preemption import StopSignals, StopTogether
from lemma_train.training.recipe import Recipe
from lemma_train.training.resume import checkpoint_to_resume
from lemma_train.training.sharding import deepspeed_config, demand_nvme
from lemma_train.training.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import TrainerCallback

logger = logging.getLogger("lemma_train")

# What run.json tells of the prepared rows.
REPORTED = ("rows_in", "kept", "rejected", "train_rows", "held_out_rows", "supervised_tokens", "fingerprint")


def train(recipe: Recipe) -> None:
    """Train, or go on training, what the recipe says, and write the results to its output folder.

    Raises:
        InputError: a folder, the rows or the model is at fault, or the run in `output_dir` is another one.
        Stopped: a signal asked for it; the checkpoint is complete, and `stopped.json` names it.
    """
    started = time.monotonic()
    launcher.end_with_launcher()
    signals = StopSignals(recipe.output_dir)
    rank = int(os.environ.get("RANK", "0"))
    logging.basicConfig(format="%(message)s", level=logging.INFO if rank == 0 else logging.ERROR)
    renderer = Renderer(load_tokenizer(recipe), recipe["template"])
    data = prepare.fingerprint(recipe, renderer)
    course = checkpoints.course_of(recipe, os.environ, data, renderer.fingerprint)
    with claim(recipe.output_dir, wanted=rank == 0):
        if rank == 0:
            check_evaluations(recipe, renderer)
        if _is_finished(recipe, course):
            logger.info("%s/final is the finished model of this recipe; nothing is left to train.", recipe.output_dir)
            if rank == 0:
                starts.clear(recipe.output_dir)
        else:
            checkpoint, notes = checkpoint_to_resume(recipe, course)
            for note in notes:
                logger.info(note)
            signals.checkpoint = checkpoint
            step = checkpoints.step_of(checkpoint) if checkpoint else 0
            forced = recipe["resume"] not in ("auto", "never")
            with starts.counted(recipe.output_dir, step, forced) if rank == 0 else contextlib.nullcontext():
                prepared = _prepared_rows(recipe, renderer, data)
                with Heartbeat(recipe.output_dir, rank, recipe["hang_minutes"]) as heartbeat:
                    watchers = [StopTogether(signals), Beats(heartbeat)]
                    _train(recipe, renderer, prepared, course, checkpoint, started, watchers)
            _let_go()
        if rank == 0 and recipe["evaluate_after"]:
            signals.end_at_once("while the finished model was evaluated")
            evaluate_final(recipe)


def _let_go() -> None:
    """Free what the training held, on every rank: an evaluation needs the memory."""
    import torch

    from lemma_train.training.speed import give_back_freed_memory

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()
    give_back_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _is_finished(recipe: Recipe, course: Course) -> bool:
    from lemma_train.training.export import finished_course

    saved = finished_course(recipe.output_dir)
    if saved is None or recipe["resume"] not in ("auto", "never"):
        return False
    differences = checkpoints.read_course(saved, recipe.output_dir / "final").differences(course)
    if not differences and recipe["resume"] == "auto":
        return True
    reason = "; ".join(differences) or "resume: never was asked for"
    raise InputError(
        f"output_dir: {recipe.output_dir}/final is the finished model of another run ({reason}); choose another "
        "output_dir, or move it away."
    )


def _prepared_rows(recipe: Recipe, renderer: Renderer, data: str) -> prepare.Prepared:
    if os.environ.get("RANK", "0") != "0":
        return prepare.wait_for_prepared(recipe.output_dir / "prepared", data)
    failed = recipe.output_dir / prepare.FAILED_FILE
    failed.unlink(missing_ok=True)
    try:
        found = prepare.prepare(recipe, renderer, data)
    except InputError as error:
        failed.write_text(str(error), encoding="utf-8")
        raise
    logger.info(prepare.data_report.text(found.report))
    return found


def _train(
    recipe: Recipe,
    renderer: Renderer,
    prepared: prepare.Prepared,
    course: Course,
    checkpoint: Path | None,
    started: float,
    watchers: "list[TrainerCallback]",
) -> None:
    demand_nvme(recipe, os.environ)
    if deepspeed_config(recipe, os.environ) is not None:
        launcher.stand_alone_process_group()
    args = recipe.sft_config()
    if args.n_gpu > 1:
        raise InputError(
            f"{recipe.path}: one process sees {args.n_gpu} GPUs; start one process for each with accelerate_configs/"
            "multi_gpu.yaml, or show it a single one with CUDA_VISIBLE_DEVICES=0."
        )
    if args.world_size != course.processes:
        raise InputError(
            f"{recipe.path}: the launcher started {course.processes} processes but they did not find each other (each "
            "would train alone); on CPUs set use_cpu: true."
        )

    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from transformers import set_seed

    from lemma_train.training.card import model_card
    from lemma_train.training.export import run_record, save_final
    from lemma_train.training.model import adapters_in_fp32, load_model
    from lemma_train.training.progress import MetricsFile
    from lemma_train.training.speed import GiveBack, compile_layers, forget_old_shapes, keep_freed_memory
    from lemma_train.training.trainer import LemmaTrainer

    if args.device.type == "cpu":
        forget_old_shapes()
        if recipe["keep_freed_memory"] and keep_freed_memory():
            watchers = [*watchers, GiveBack()]
    set_seed(args.seed)  # a new padding token gets a random embedding while the model loads
    model = load_model(recipe, renderer.tokenizer)
    train_rows, eval_rows = prepared.load()
    try:
        trainer = LemmaTrainer(
            model=model,
            args=args,
            course=course,
            renderer=renderer,
            train_dataset=train_rows,
            eval_dataset=eval_rows,
            peft_config=_adapter(recipe),
            partial_last_step=recipe["partial_last_step"],
            supervised_head=recipe["supervised_head"],
            token_metrics=recipe["token_metrics"],
        )
    except (ValueError, ImportError) as error:
        raise InputError(f"{recipe.path}: the trainer refuses the recipe: {first_line(error)}") from error
    if recipe["use_peft"] and not course.zero_stage:
        adapters_in_fp32(model)
    former = other_ranks.former_course(checkpoint, course)
    if checkpoint is not None and former is not None:
        other_ranks.go_on(trainer, recipe, checkpoint, former, course)
    compiled = 0
    if recipe["compile_layers"]:
        compiled = compile_layers(model, args.device, warns=trainer.is_world_process_zero())
    for callback in (MetricsFile(recipe.output_dir), *watchers):
        trainer.add_callback(callback)
    try:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except ImportError as error:
        raise InputError(f"{recipe.path}: the recipe needs a package: {first_line(error)}") from error
    except (SafetensorError, UnpicklingError, UnicodeDecodeError) as error:
        if checkpoint is None or trainer.state.global_step > checkpoints.step_of(checkpoint):
            raise
        raise InputError(
            f"{checkpoint} is damaged ({first_line(error)}); move it away to resume from an earlier one."
        ) from error
    if not trainer.state.global_step:
        raise InputError(f"{recipe.path}: not one step was trained; check max_steps, num_train_epochs and the rows.")
    figures = {
        "steps": trainer.state.global_step,
        "train_loss": _mean_loss(trainer.state.log_history),
        "processes": args.world_size,
        "global_batch": args.world_size * args.per_device_train_batch_size * args.gradient_accumulation_steps,
        "seconds": result.metrics["train_runtime"],
        "compiled_layers": compiled,
    }
    record = run_record(
        recipe.resolved(),
        course=asdict(course),
        figures=figures,
        data={key: prepared.report[key] for key in REPORTED},
        template={**renderer.description(), "fingerprint": renderer.fingerprint},
        resumed_from=str(checkpoint) if checkpoint else None,
        wall_seconds=round(time.monotonic() - started, 1),
    )
    final = recipe.output_dir / "final"
    save_final(trainer, final, record, model_card(recipe, renderer, prepared.report, figures))
    if trainer.is_world_process_zero():
        checkpoints.write_json_durably(recipe.output_dir / "run.json", record)
        logger.info("The model is in %s, the loss plot in %s/loss.png.", final, recipe.output_dir)
    trainer.accelerator.end_training()


def _adapter(recipe: Recipe) -> "PeftConfig | None":
    from trl import get_peft_config

    config = get_peft_config(recipe.model_config())
    if config is not None:
        config.revision = recipe["model_revision"]  # so that `lemma merge` takes the weights it was trained on
    return config


def _mean_loss(history: list[dict[str, Any]]) -> float | None:
    """Mean of the logged losses over the whole run, also over the part before a resume."""
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return sum(losses) / len(losses) if losses else None
