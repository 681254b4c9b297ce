"""What the tests share: real tokenizers and models, the shared data, and the rule that nothing is skipped in silence.

Everything here is real: SmolLM2's weights and tokenizer, Llama-3's tokenizer, transformers' Llama. No test talks to a
model hub. With LEMMA_NO_SKIP=1 a skipped test is a failed one, and a process that outlives the tests fails the suite.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from left_behind import pytest_sessionfinish, pytest_terminal_summary, pytest_testnodedown  # noqa: F401  hooks of pytest

# Set before any test module imports a Hugging Face library: these read them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="lemma-tests-hf-")

ROOT = Path(__file__).resolve().parent.parent

# The 256 special tokens of Llama 3 in order; the first is 128000. Meta's table, without importing its package.
_NAMED = (
    *("begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1"),
    *("finetune_right_pad_id", "step_id", "start_header_id", "end_header_id", "eom_id", "eot_id"),
    *("python_tag", "image"),
)
LLAMA3_SPECIAL_TOKENS = [f"<|{name}|>" for name in _NAMED] + [
    f"<|reserved_special_token_{i}|>" for i in range(2, 258 - len(_NAMED))
]
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# The files that take longest begin first: the workers then end at about the same time (--no-loadscope-reorder).
_LONGEST = (
    *("test_slurm", "test_sft", "test_preemption", "test_vllm", "test_loop_kills", "test_starts", "test_other_ranks"),
    *("test_vllm_in_process", "test_ablate", "test_first_steps", "test_collect_kills", "test_evaluate"),
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: _LONGEST.index(item.path.stem) if item.path.stem in _LONGEST else len(_LONGEST))


def pytest_unconfigure():
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


def _fail_if_skipped(report):
    if os.environ.get("LEMMA_NO_SKIP") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"LEMMA_NO_SKIP=1, but this was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _fail_if_skipped((yield))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with gsm8k_train.jsonl, math_train.jsonl and benchmarks/."""
    folder = Path(os.environ.get("LEMMA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the shared data is not at {folder}; name its folder with LEMMA_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder, made on the first use."""
    folder = ROOT / "models" / "smollm2-135m"
    if not (folder / "config.json").is_file():
        made = subprocess.run(
            [sys.executable, ROOT / "scripts" / "get_smollm2.py", folder], capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2_folder):
    """SmolLM2's tokenizer as published: 49,152 tokens, pad and EOS both <|im_end|> (2), no BOS before a text."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2_folder)


@pytest.fixture(scope="session")
def llama3_bpe_file() -> Path:
    package = importlib.util.find_spec("llama_models")
    if package is None or package.origin is None:
        pytest.skip("Llama-3's tokenizer is not installed: pip install --no-deps llama-models==0.3.0")
    return Path(package.origin).parent / "llama3" / "tokenizer.model"


@pytest.fixture(scope="session")
def llama3_tokenizer(llama3_bpe_file):
    """LLaMA-3-8B's tokenizer: 128,256 tokens, BOS 128000 before every text, EOS 128001, no pad token."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    converted = TikTokenConverter(
        vocab_file=str(llama3_bpe_file), pattern=LLAMA3_PATTERN, extra_special_tokens=LLAMA3_SPECIAL_TOKENS
    ).converted()
    bos = LLAMA3_SPECIAL_TOKENS[0]
    converted.post_processor = TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, 128000)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=converted, bos_token=bos, eos_token="<|end_of_text|>", clean_up_tokenization_spaces=False
    )
    assert len(tokenizer) == 128256 and tokenizer.bos_token_id == 128000 and tokenizer.eos_token_id == 128001
    return tokenizer


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory, smollm2_tokenizer) -> Path:
    """A random Llama of two layers with SmolLM2's tokenizer, the same weights every time. Do not write into it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny_llama")
    config = LlamaConfig(
        vocab_size=len(smollm2_tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=smollm2_tokenizer.bos_token_id,
        eos_token_id=smollm2_tokenizer.eos_token_id,
        pad_token_id=smollm2_tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(20250317)
        LlamaForCausalLM(config).save_pretrained(folder)
    smollm2_tokenizer.save_pretrained(folder)
    return folder
