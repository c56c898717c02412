#!/usr/bin/env python3
"""Small random models of the architectures and variants that the shared goldens leave out, with numbers from Hugging Face transformers.

usage: make.py OUTDIR   with the packages and the environment of the shared goldens' make_models.py, which must be on PYTHONPATH.
Writes NAME.gguf, and NAME.json with NAME.logits.bin or NAME.embeddings.json, in the format of those goldens."""
import json, logging, os, shutil, sys, tempfile, types
sys.modules.setdefault("lcpp", types.ModuleType("lcpp"))  # llama.cpp itself is not needed
import numpy as np, torch
import make_models as mm

logging.disable(logging.WARNING)
out, SEED = sys.argv[1], 42
SMALL = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2)
ROPE = dict(rope_type="default", rope_theta=10000.0)

def bpe(pre, specials=("<|endoftext|>",)):
    return mm._tok_bpe(list(specials), specials[0], specials[0], pre)

SPECS = {
 # attention and MLP side by side, layer norms of queries and keys
 "stablelm-parallel": mm.spec("StableLm", bpe("gpt-2"), use_qkv_bias=False, qk_layernorm=True, use_parallel_residual=True, tie_word_embeddings=False, partial_rotary_factor=0.25, rope_parameters=dict(ROPE, partial_rotary_factor=0.25), **SMALL),
 # windows on three layers of four; yarn on the others alone
 "olmo3": mm.spec("Olmo3", bpe("dbrx"), sliding_window=16, tie_word_embeddings=False, rope_parameters=dict(rope_type="yarn", rope_theta=500000.0, factor=4.0, original_max_position_embeddings=128, beta_fast=32.0, beta_slow=1.0), **{**SMALL, "num_hidden_layers": 4}),
 # an expert for every token beside the chosen ones
 "granitemoe-shared": mm.spec("GraniteMoeShared", bpe("refact"), shared_intermediate_size=40, num_local_experts=4, num_experts_per_tok=2, tie_word_embeddings=True, embedding_multiplier=12.0, logits_scaling=6.0, residual_multiplier=0.22, attention_multiplier=0.0625, std=0.5, emb=0.08, final=16.0, rope_parameters=ROPE, **SMALL),
 # prompts on both sides of the trained length
 "phi3-long": mm.spec("Phi3", mm._tok_spm("phi3"), tie_word_embeddings=False, sliding_window=None, max_position_embeddings=2048, original_max_position_embeddings=64, pad_token_id=0, rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0, 1.1, 1.3, 1.6], long_factor=[1.0, 2.0, 4.0, 8.0], original_max_position_embeddings=64, factor=32.0), **SMALL),
 # biases everywhere
 "llama-bias": mm.spec("Llama", mm._tok_spm("llama"), attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_parameters=ROPE, **SMALL),
}

# the rest of the architectures, smaller than their specs
for name in ("gemma", "gemma2", "gpt-oss", "granite", "llama-yarn", "olmoe", "qwen2moe", "qwen3moe", "smollm3", "stablelm", "starcoder2"):
    s = mm.SPECS[name]
    SPECS[name + "-small"] = {**s, "kw": {**s["kw"], **SMALL, "num_hidden_layers": 4 if name == "smollm3" else 2}}

def stack_norms():
    """the converter loses stablelm's norms of heads: it returns a generator from a generator"""
    import conversion.stablelm as st
    orig = st.StableLMModel.modify_tensors
    def modify(self, data, name, bid):
        for key, store, n in (("q_layernorm", "_q_norms", "num_attention_heads"), ("k_layernorm", "_k_norms", "num_key_value_heads")):
            if key + ".norms" in name:
                if getattr(self, store) is None: setattr(self, store, [{} for _ in range(self.block_count)])
                d = getattr(self, store)[bid]
                d[name] = data
                if len(d) >= self.hparams[n]: yield from self._stack_qk_norm(bid, self.hparams[n], d, key)
                return
        yield from orig(self, data, name, bid)
    st.StableLMModel.modify_tensors = modify

def decoder(name):
    d = tempfile.mkdtemp()
    m = mm.build(name, SEED, d)
    mm.convert(d, f"{out}/{name}.gguf", getattr(mm.SPECS[name]["tok"], "pre", None))
    shutil.rmtree(d)
    rows, blob, off = [], [], 0
    for toks in mm.prompts(SEED, mm.V):
        h = mm.hf_logits(m, toks)
        rows.append(dict(tokens=toks, n_logits=int(h.size), logits_hf=off))
        blob.append(h.astype("<f4").tobytes()); off += h.size * 4
    open(f"{out}/{name}.logits.bin", "wb").write(b"".join(blob))
    json.dump(dict(context=0, prompts=rows), open(f"{out}/{name}.json", "w"))

def nomic():
    import gguf
    from transformers.models.nomic_bert import NomicBertConfig, NomicBertModel
    cfg = NomicBertConfig(vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=128, rope_parameters=dict(rope_type="default", rope_theta=1000.0))
    cfg._attn_implementation = "eager"
    m = NomicBertModel(cfg, add_pooling_layer=False).float().eval()
    g = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for n, p in sorted(m.named_parameters()):
            r = torch.randn(p.shape, generator=g)
            p.copy_(1 + 0.2 * r if n.lower().endswith("layernorm.weight") else 0.2 * r)
    sd = {k: v.detach().numpy() for k, v in m.named_parameters()}
    w = gguf.GGUFWriter(f"{out}/nomic-bert.gguf", "nomic-bert")
    w.add_block_count(2); w.add_embedding_length(32); w.add_head_count(4); w.add_feed_forward_length(48); w.add_context_length(128)
    w.add_layer_norm_eps(1e-12); w.add_rope_freq_base(1000.0); w.add_causal_attention(False); w.add_pooling_type(gguf.PoolingType.MEAN)
    put = lambda n, a: w.add_tensor(n, np.ascontiguousarray(a.astype(np.float32)))
    def both(n, k): put(n + ".weight", sd[k + ".weight"]); put(n + ".bias", sd[k + ".bias"])
    put("token_embd.weight", sd["embeddings.word_embeddings.weight"]); put("token_types.weight", sd["embeddings.token_type_embeddings.weight"])
    both("token_embd_norm", "embeddings.LayerNorm")
    for i in range(2):
        b, l = f"blk.{i}.", f"layers.{i}."
        put(b + "attn_qkv.weight", np.concatenate([sd[l + f"self_attn.{x}_proj.weight"] for x in "qkv"]))
        put(b + "attn_output.weight", sd[l + "self_attn.o_proj.weight"])
        both(b + "attn_output_norm", l + "post_attention_layernorm"); both(b + "layer_output_norm", l + "post_mlp_layernorm")
        for x in ("gate", "up", "down"): put(b + f"ffn_{x}.weight", sd[l + f"mlp.{x}_proj.weight"])
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    rows = []
    for n in (1, 5, 40):
        ids = [3 + (7 * i) % 290 for i in range(n)]
        with torch.no_grad(): h = m(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        rows.append(dict(text=f"{n} tokens", tokens=ids, **{k: [round(float(x), 7) for x in v] for k, v in (("mean", h.mean(0)), ("cls", h[0]), ("last", h[-1]))}))
    json.dump(dict(texts=rows), open(f"{out}/nomic-bert.embeddings.json", "w"))

os.makedirs(out, exist_ok=True)
mm.SPECS.update(SPECS)
for path in (os.environ["LCPP_SRC"], os.environ["LCPP_SRC"] + "/gguf-py"): sys.path.insert(0, path)
stack_norms()
for name in SPECS: decoder(name)
nomic()
