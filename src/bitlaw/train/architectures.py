"""The transformers config of each architecture, from a model's plan. Sizes follow the families they stand for.

Each function takes the model's plan, the vocabulary (tokens), the window (tokens) and the id of the end of text, and
returns a config that `AutoModelForCausalLM.from_config` builds. No dropout, so training draws no random numbers. Heads are
tied to the embedding where the family ties them: GPT-2, OPT, BLOOM, MPT.
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


def gpt2(model: ModelPlan, *, vocabulary: int, window_tokens: int, end_of_text: int) -> PretrainedConfig:
    """GPT-2: learned positions, norms before attention and MLP, GELU (tanh), MLP 4x the width, tied head, biases.

    Non-embedding parameters: layers (12 width^2 + 13 width) + 2 width. Positions: window_tokens width.
    """
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=window_tokens,
        n_embd=model.width,
        n_layer=model.layers,
        n_head=model.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )


def opt(model: ModelPlan, *, vocabulary: int, window_tokens: int, end_of_text: int) -> PretrainedConfig:
    """OPT: learned positions (from 2 on, as in fairseq), norms before, ReLU, MLP 4x the width, tied head, biases.

    Non-embedding parameters: layers (12 width^2 + 13 width) + 2 width. Positions: (window_tokens + 2) width. No padding
    token: its embedding would never be trained.
    """
    from transformers import OPTConfig

    return OPTConfig(
        vocab_size=vocabulary,
        max_position_embeddings=window_tokens,
        hidden_size=model.width,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        ffn_dim=4 * model.width,
        dropout=0.0,
        attention_dropout=0.0,
        layerdrop=0.0,
        pad_token_id=None,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )


def bloom(model: ModelPlan, *, vocabulary: int, window_tokens: int, end_of_text: int) -> PretrainedConfig:
    """BLOOM: ALiBi (arXiv 2108.12409), a norm behind the embedding, GELU (tanh), MLP 4x the width, tied head, biases.

    Non-embedding parameters: layers (12 width^2 + 13 width) + 4 width. No positions, so no longest window.
    """
    from transformers import BloomConfig

    return BloomConfig(
        vocab_size=vocabulary,
        hidden_size=model.width,
        n_layer=model.layers,
        n_head=model.heads,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )


def mpt(model: ModelPlan, *, vocabulary: int, window_tokens: int, end_of_text: int) -> PretrainedConfig:
    """MPT: ALiBi, norms and linear layers without biases, GELU, MLP 4x the width, tied head.

    Non-embedding parameters: layers (12 width^2 + 2 width) + width.
    """
    from transformers import MptConfig

    return MptConfig(
        vocab_size=vocabulary,
        d_model=model.width,
        n_layers=model.layers,
        n_heads=model.heads,
        max_seq_len=window_tokens,
        learned_pos_emb=False,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        tie_word_embeddings=True,
    )
