"""The transformers config of each architecture, from a model's plan. Sizes follow the families they stand for.

Each function takes the model's plan, the vocabulary (tokens), the window (tokens) and the id of the end of text, and
returns a config that `AutoModelForCausalLM.from_config` builds. No dropout, so training draws no random numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitlaw.errors import InputError
from bitlaw.train.plan import ModelPlan

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def gpt_neox(model: ModelPlan, *, vocabulary: int, window_tokens: int, end_of_text: int) -> PretrainedConfig:
    """GPT-NeoX as Pythia has it: parallel residual, untied head, rotary on a quarter of each head, MLP 4x the width.

    Non-embedding parameters: layers (12 width^2 + 13 width) + 2 width.
    """
    from transformers import GPTNeoXConfig

    if model.width // model.heads % 8:
        raise InputError(
            f"Model {model.name!r}: heads of {model.width // model.heads} cannot turn a quarter of themselves in pairs. "
            "GPT-NeoX needs width / heads to be a multiple of 8."
        )
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=model.width,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=4 * model.width,
        max_position_embeddings=window_tokens,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )


def llama(model: ModelPlan, *, vocabulary: int, window_tokens: int, end_of_text: int) -> PretrainedConfig:
    """Llama: RMSNorm, SwiGLU of 8/3 the width rounded up to 16, rotary on whole heads, untied head, no biases.

    Non-embedding parameters: layers (4 width^2 + 3 width mlp + 2 width) + width.
    """
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=model.width,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.heads,
        intermediate_size=-(-8 * model.width // 3 // 16) * 16,
        max_position_embeddings=window_tokens,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        tie_word_embeddings=False,
    )
