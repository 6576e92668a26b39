"""Tiny random models of every decoder family, made in memory: width 32, two blocks or as many as the family's pattern needs.

`FAMILIES` maps a name to (what it covers, how it is made). docs/models.md shows this list; a test compares them.
"""

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

VOCABULARY = 96
WIDTH = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL = dict(**WIDTH, intermediate_size=64, max_position_embeddings=64)
GROUPED = dict(**SMALL, num_key_value_heads=2)
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}


@dataclass(frozen=True)
class Family:
    """`models`: what users know it by. `layout`: what of its structure is special. `config`: class name without Config."""

    models: str
    layout: str
    config: str
    settings: dict[str, Any]
    model: str = ""

    def make(self, **changes: Any) -> nn.Module:
        torch.manual_seed(0)
        config = getattr(transformers, f"{self.config}Config")(**{**self.settings, **changes})
        model = getattr(transformers, self.model or f"{self.config}ForCausalLM")(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() >= 2:
                    parameter.mul_(12.0)
        return model.eval()


FAMILIES = {
    "gpt1": Family(
        "GPT", "weights kept [in, out], norms behind, blocks that return lists", "OpenAIGPT",
        {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}, "OpenAIGPTLMHeadModel",
    ),
    "gpt2": Family(
        "GPT-2, DistilGPT-2", "weights kept [in, out] (Conv1D), learned positions, tied head", "GPT2",
        dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, **TOKENS), "GPT2LMHeadModel",
    ),
    "gpt_neo": Family(
        "GPT-Neo", "global and local attention in turn", "GPTNeo",
        dict(vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=64,
             attention_types=[[["global", "local"], 1]], window_size=8, intermediate_size=64, **TOKENS),
    ),
    "gpt_neox": Family("GPT-NeoX, Pythia", "parallel residual", "GPTNeoX", dict(**SMALL)),
    "gpt_neox_serial": Family("GPT-NeoX without parallel residual", "serial residual", "GPTNeoX", dict(**SMALL, use_parallel_residual=False)),
    "gptj": Family(
        "GPT-J", "parallel residual with one shared norm", "GPTJ",
        dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=8, **TOKENS),
    ),
    "codegen": Family(
        "CodeGen", "parallel residual, fused query key value", "CodeGen",
        dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, n_ctx=64, rotary_dim=8, **TOKENS),
    ),
    "opt": Family(
        "OPT", "learned positions, norm first, norm behind the blocks", "OPT",
        dict(**WIDTH, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32, **TOKENS),
    ),
    "opt_350m": Family(
        "OPT-350M", "norm behind each layer, projections into and out of the blocks", "OPT",
        dict(**WIDTH, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=16, do_layer_norm_before=False, **TOKENS),
    ),
    "bloom": Family(
        "BLOOM", "alibi, norm behind the embedding", "Bloom",
        dict(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, **TOKENS),
    ),
    "mpt": Family(
        "MPT", "alibi, no biases", "Mpt",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": 64},
    ),
    "falcon": Family(
        "Falcon-7B", "multi-query attention, parallel with one shared norm", "Falcon",
        dict(**WIDTH, multi_query=True, parallel_attn=True, new_decoder_architecture=False, **TOKENS),
    ),
    "falcon_40b": Family(
        "Falcon-40B and 180B", "grouped queries, parallel with two norms", "Falcon",
        dict(**WIDTH, num_kv_heads=2, new_decoder_architecture=True, **TOKENS),
    ),
    "falcon_rw": Family(
        "Falcon-RW", "alibi, serial residual", "Falcon",
        dict(**WIDTH, multi_query=False, parallel_attn=False, alibi=True, bias=True, **TOKENS),
    ),
    "llama": Family("Llama 1, 2", "gated feed-forward, rotary angles for all blocks", "Llama", dict(**SMALL)),
    "llama3": Family(
        "Llama 3, 3.1, 3.2; SmolLM, TinyLlama", "grouped queries, scaled rotary angles, tied head", "Llama",
        dict(**GROUPED, tie_word_embeddings=True,
             rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                                  "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    ),
    "smollm3": Family("SmolLM3", "rotary angles left out of some blocks", "SmolLM3", dict(**GROUPED, no_rope_layers=[1, 0], **TOKENS)),
    "mistral": Family("Mistral 7B", "sliding window in every block", "Mistral", dict(**GROUPED, sliding_window=8)),
    "qwen2": Family("Qwen2, Qwen2.5", "biases on query, key and value", "Qwen2", dict(**GROUPED)),
    "qwen2_sliding": Family(
        "Qwen2 with sliding windows", "full and sliding attention, a mask for each", "Qwen2",
        dict(**GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    ),
    "qwen3": Family("Qwen3", "norms on query and key", "Qwen3", dict(**GROUPED, head_dim=8)),
    "gemma": Family("Gemma", "scaled embedding, tied head", "Gemma", dict(**GROUPED, head_dim=8)),
    "gemma2": Family(
        "Gemma 2", "sliding and full attention in turn, four norms a block, soft caps on scores and logits", "Gemma2",
        dict(**GROUPED, head_dim=8, sliding_window=8, final_logit_softcapping=3.0, attn_logit_softcapping=5.0),
    ),
    "gemma3": Family(
        "Gemma 3, text only", "masks and rotary angles for each kind of attention", "Gemma3Text",
        dict(**GROUPED, head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"]), "Gemma3ForCausalLM",
    ),
    "gemma3_vision": Family(
        "Gemma 3 with its vision tower", "text tower inside a multimodal model; only it is quantized", "Gemma3",
        {"text_config": dict(**GROUPED, head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"]),
             "vision_config": {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 2,
                                "image_size": 16, "patch_size": 8},
             "mm_tokens_per_image": 1, "image_token_index": 3, "boi_token_index": 4, "eoi_token_index": 5},
        "Gemma3ForConditionalGeneration",
    ),
    "phi": Family("Phi-1, 1.5, 2", "parallel residual with one shared norm, bias in the head", "Phi", dict(**SMALL)),
    "phi3": Family("Phi-3, Phi-3.5, Phi-4", "fused query key value and fused gate up", "Phi3", dict(**GROUPED, **TOKENS)),
    "olmo": Family("OLMo", "norms without weights, clipped query key value", "Olmo", dict(**GROUPED, clip_qkv=8.0)),
    "olmo2": Family("OLMo-2", "norms behind attention and feed-forward", "Olmo2", dict(**GROUPED)),
    "olmo3": Family(
        "OLMo-3", "sliding and full attention, norms behind", "Olmo3",
        dict(**GROUPED, sliding_window=8, layer_types=["sliding_attention", "full_attention"]),
    ),
    "stablelm": Family("StableLM", "partly rotated heads", "StableLm", dict(**GROUPED)),
    "stablelm_parallel": Family(
        "StableLM 2 12B", "parallel residual, norms on query and key", "StableLm",
        dict(**GROUPED, use_parallel_residual=True, qk_layernorm=True),
    ),
    "cohere": Family("Command R", "parallel residual, scaled logits", "Cohere", dict(**GROUPED, **TOKENS)),
    "granite": Family("Granite", "multipliers on embedding, residual and logits", "Granite", dict(**GROUPED, residual_multiplier=0.5, logits_scaling=2.0)),
    "mixtral": Family("Mixtral 8x7B, 8x22B", "experts stacked in one parameter", "Mixtral", dict(**GROUPED, num_local_experts=4, num_experts_per_tok=2)),
    "qwen2_moe": Family(
        "Qwen1.5-MoE, Qwen2-57B-A14B", "experts beside a shared expert with a gate of its own", "Qwen2Moe",
        dict(**GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=32),
    ),
    "qwen3_moe": Family(
        "Qwen3-30B-A3B, 235B-A22B", "experts, norms on query and key", "Qwen3Moe",
        dict(**GROUPED, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
    ),
    "olmoe": Family("OLMoE", "experts, norms on query and key", "Olmoe", dict(**GROUPED, num_experts=4, num_experts_per_tok=2)),
    "gpt_oss": Family(
        "gpt-oss 20B, 120B", "experts kept [in, out] with biases, sinks in attention", "GptOss",
        dict(**GROUPED, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=8,
             layer_types=["sliding_attention", "full_attention"], **TOKENS),
    ),
    "granite_moe": Family(
        "Granite MoE", "experts, multipliers on residual and logits", "GraniteMoe",
        dict(**GROUPED, num_local_experts=4, num_experts_per_tok=2),
    ),
    "starcoder2": Family("StarCoder2", "biases everywhere, plain feed-forward", "Starcoder2", dict(**GROUPED, **TOKENS)),
}  # fmt: skip
