"""Run in vLLM's environment by test_vllm_in_process.py: `lemma evaluate` as from the command line, and before its
engine ends a few questions more to the same one, since an engine takes most of a minute to start.

    .venv-vllm/bin/python tests/vllm_questions.py OUT.json RECIPE

OUT.json gets what came of each question: the fields of its reply, or the exception's name and text.
"""

import dataclasses
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lemma_train import cli
from lemma_train.errors import InputError
from lemma_train.llm import vllm_in_process
from lemma_train.llm.protocol import Rejected, Request, Unanswered

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"enum": ["wrong", "correct"]}, "step": {"type": "integer"}},
    "required": ["verdict", "step"],
    "additionalProperties": False,
}
_ASKED = ({"role": "user", "content": "Is 2 + 2 = 5 right? In which step is the mistake?"},)
_LONG = "Tom buys apples and counts them. " * 40
_COUNT = Request("sampling", prompt="1, 2, 3, 4, 5, 6,", temperature=0.0, max_tokens=12)
_DRAW = Request("sampling", prompt="Two and two are", temperature=0.9, max_tokens=12, seed=5)
QUESTIONS = {
    "schema": Request("analysis", messages=_ASKED, schema=SCHEMA, temperature=0.0, max_tokens=60),
    "broken_schema": Request("analysis", messages=_ASKED, schema={"type": "nonsense"}, max_tokens=8),
    "text": _COUNT,
    "stopped": dataclasses.replace(_COUNT, stop=(" 9",)),
    "draw": _DRAW,
    "same_draw": _DRAW,
    "other_draw": dataclasses.replace(_DRAW, seed=6),
    "long": dataclasses.replace(_COUNT, prompt=_LONG),
    "long_again": dataclasses.replace(_COUNT, prompt=_LONG),
    "nearly_full": dataclasses.replace(_COUNT, prompt_ids=(100,) * 1020),
    "too_long": dataclasses.replace(_COUNT, prompt_ids=(100,) * 1024),
    "other_tokenizer": dataclasses.replace(_COUNT, prompt_ids=(100, 128_000)),
}


class Questioned(vllm_in_process.VllmModel):
    """vLLM in process, asked once more before it ends."""

    async def close(self) -> None:
        told = {}
        for name, request in QUESTIONS.items():
            try:
                told[name] = dataclasses.asdict(await self.generate(request))
            except (InputError, Rejected, Unanswered) as error:
                told[name] = {
                    "raised": type(error).__name__,
                    "reason": getattr(error, "reason", ""),
                    "text": str(error),
                }
        await super().close()
        try:
            await self.generate(_COUNT)
        except Unanswered as error:
            told["closed"] = {"raised": "Unanswered", "text": str(error)}
        Path(sys.argv[1]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    vllm_in_process.VllmModel = Questioned  # type: ignore[misc]
    cli.main(["evaluate", *sys.argv[2:]])
