"""A Hugging Face folder as one GGUF file.

Runs in a child of its own as ``python -m appliance.export.engine.gguf_file FOLDER OUT --precision f16`` where the
caller must stay light.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, RopeScalingType
from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH
from gguf.quants import quant_shape_to_byte_shape, quantize
from gguf.tensor_mapping import TensorNameMap, get_tensor_name_map

from appliance import durable
from appliance.data.chat import load_template
from appliance.errors import CorruptFolder, InvalidBaseModel, JobFailed
from appliance.export.architecture import Architecture, read_architecture
from appliance.export.engine.weights import Weight, read_weights
from appliance.export.formats import Order
from appliance.export.vocabulary import read_vocabulary

# The writer tells of every file it begins; the job tells its phases itself.
logging.getLogger("gguf").setLevel(logging.WARNING)

Array = np.ndarray[Any, Any]
# What this file writes itself; every other precision is made from 32-bit floats by llama.cpp's quantiser.
WRITTEN = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "bf16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
_ARCHITECTURES = {"llama": MODEL_ARCH.LLAMA, "qwen2": MODEL_ARCH.QWEN2}
_SKIPPED = (".rotary_emb.inv_freq", ".attention.masked_bias")


@dataclass(frozen=True)
class _Tensor:
    """One tensor of the file to be."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    weight: Weight
    heads: int
    """Rows of this many heads change places; 0 leaves them."""

    def read(self) -> Array:
        values: Array = self.weight.read()
        return quantize(interleave(values, self.heads) if self.heads else values, self.kind)


def export(order: Order) -> dict[str, Path]:
    """Write a file for each format into ``gguf``. Raises ``InvalidBaseModel`` for a model that is not covered."""
    target = order.artifacts / "gguf"
    files = {format_.name: f"{order.name}-{format_.precision}.gguf" for format_ in order.formats}
    if not _is_made(target, files.values()):
        with durable.folder(target) as staged:
            for format_ in order.formats:
                order.phase(f"writing {format_.name}")
                convert(order.merged, staged / files[format_.name], format_.precision)
    return {format_name: target / file for format_name, file in files.items()}


def convert(folder: Path, out: Path, precision: str) -> None:
    """Write one file from a model folder. Raises ``InvalidBaseModel`` for a model or tokeniser not covered."""
    if precision in WRITTEN:
        write(folder, out, precision)
        return
    whole = out.with_name(f"{out.name}.f32")
    try:
        write(folder, whole, "f32")
        quantise(whole, out, precision)
    finally:
        whole.unlink(missing_ok=True)


def write(folder: Path, out: Path, precision: str) -> None:
    """Write ``out`` in one of the precisions that need no quantiser."""
    kind, file_type = WRITTEN[precision]
    architecture = read_architecture(folder)
    tensors = list(_tensors(read_weights(folder), architecture, kind))
    writer = GGUFWriter(out, architecture.family.name)
    try:
        writer.add_name(out.stem)
        writer.add_file_type(file_type)
        writer.add_quantization_version(2)
        _add_sizes(writer, architecture)
        _add_tokeniser(writer, folder, architecture.vocabulary)
        frequencies = rope_frequencies(architecture)
        if frequencies is not None:
            writer.add_tensor_info("rope_freqs.weight", frequencies.shape, frequencies.dtype, frequencies.nbytes)
        for tensor in tensors:
            _announce(writer, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if frequencies is not None:
            writer.write_tensor_data(frequencies)
        for tensor in tensors:
            writer.write_tensor_data(tensor.read())
    finally:
        writer.close()


def interleave(values: Array, heads: int) -> Array:
    """Reorder the rows of Q or K: Transformers rotates row i with row i + d/2, llama.cpp row 2i with row 2i + 1."""
    size = values.shape[0] // heads
    paired = values.reshape(heads, 2, size // 2, *values.shape[1:])
    return np.ascontiguousarray(paired.swapaxes(1, 2).reshape(values.shape))


def rope_frequencies(architecture: Architecture) -> Array | None:
    """What each rotary frequency is divided by under ``llama3`` scaling (Transformers, ``modeling_rope_utils``)."""
    scaling = architecture.rope_scaling
    if scaling.get("rope_type") != "llama3":
        return None
    size = architecture.head_size
    wavelength = 2 * np.pi * architecture.rope_base ** (np.arange(0, size, 2, dtype=np.float64) / size)
    turns = scaling["original_max_position_embeddings"] / wavelength
    low, high, factor = (scaling[key] for key in ("low_freq_factor", "high_freq_factor", "factor"))
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    result: Array = (1.0 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return result


def _tensors(weights: dict[str, Weight], architecture: Architecture, kind: GGMLQuantizationType) -> Iterator[_Tensor]:
    names = get_tensor_name_map(_ARCHITECTURES[architecture.family.name], architecture.blocks)
    if architecture.tied:
        weights = _tied(weights)
    for name, weight in weights.items():
        if name.endswith(_SKIPPED):
            continue
        heads = 0
        if architecture.family.interleaved and ".self_attn.q_proj." in name:
            heads = architecture.heads
        elif architecture.family.interleaved and ".self_attn.k_proj." in name:
            heads = architecture.kv_heads
        yield _Tensor(_renamed(name, names), _kind(weight, kind), weight.shape, weight, heads)


def _tied(weights: dict[str, Weight]) -> dict[str, Weight]:
    """Tied embeddings are one tensor, which a folder may keep under either name."""
    rest = {name: weight for name, weight in weights.items() if name != "lm_head.weight"}
    if "model.embed_tokens.weight" not in rest and "lm_head.weight" in weights:
        rest["model.embed_tokens.weight"] = weights["lm_head.weight"]
    return rest


def _renamed(name: str, names: TensorNameMap) -> str:
    renamed = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if renamed is None:
        raise InvalidBaseModel(f"The model has a tensor '{name}', which its family does not have in a GGUF file.")
    return str(renamed)


def _kind(weight: Weight, wanted: GGMLQuantizationType) -> GGMLQuantizationType:
    """Vectors stay in 32 bits, as llama.cpp expects; rows that fill no whole blocks stay in 16."""
    if len(weight.shape) == 1:
        return GGMLQuantizationType.F32
    block = GGML_QUANT_SIZES[wanted][0]
    return wanted if weight.shape[-1] % block == 0 else GGMLQuantizationType.F16


def _announce(writer: GGUFWriter, tensor: _Tensor) -> None:
    stored = tensor.shape
    dtype = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}.get(tensor.kind, np.uint8)
    if dtype is np.uint8:
        stored = quant_shape_to_byte_shape(tensor.shape, tensor.kind)
    size = int(np.prod(stored, dtype=np.int64)) * np.dtype(dtype).itemsize
    writer.add_tensor_info(tensor.name, stored, np.dtype(dtype), size, raw_dtype=tensor.kind)


def _add_sizes(writer: GGUFWriter, architecture: Architecture) -> None:
    writer.add_vocab_size(architecture.vocabulary)
    writer.add_context_length(architecture.context)
    writer.add_embedding_length(architecture.embedding)
    writer.add_block_count(architecture.blocks)
    writer.add_feed_forward_length(architecture.feed_forward)
    writer.add_head_count(architecture.heads)
    writer.add_head_count_kv(architecture.kv_heads)
    writer.add_key_length(architecture.head_size)
    writer.add_value_length(architecture.head_size)
    writer.add_rope_dimension_count(architecture.head_size)
    writer.add_rope_freq_base(architecture.rope_base)
    writer.add_layer_norm_rms_eps(architecture.norm_epsilon)
    if architecture.rope_scaling.get("rope_type") == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(architecture.rope_scaling["factor"])


def _add_tokeniser(writer: GGUFWriter, folder: Path, size: int) -> None:
    vocabulary = read_vocabulary(folder, size)
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_token_scores(vocabulary.scores)
    writer.add_add_bos_token(vocabulary.adds_bos)
    writer.add_add_space_prefix(vocabulary.adds_space)
    for add, number in (
        (writer.add_bos_token_id, vocabulary.bos),
        (writer.add_eos_token_id, vocabulary.eos),
        (writer.add_pad_token_id, vocabulary.pad),
        (writer.add_unk_token_id, vocabulary.unknown),
        (writer.add_eot_token_id, next(iter(vocabulary.more_ends), None)),
        (writer.add_eom_token_id, next(iter(vocabulary.more_ends[1:]), None)),
    ):
        if number is not None:
            add(number)
    writer.add_chat_template(load_template(folder).text)


def _is_made(target: Path, files: Iterable[str]) -> bool:
    """Whether an earlier attempt committed all of them; what is there and is not that is removed."""
    if not target.exists():
        return False
    try:
        manifest = durable.verify_folder(target)
    except CorruptFolder:
        manifest = {"files": {}}
    if set(files) <= set(manifest["files"]):
        return True
    durable.remove(target)
    return False


def quantise(source: Path, out: Path, precision: str) -> None:
    """Have llama.cpp quantise in a process of its own: it aborts where it cannot go on."""
    command = [sys.executable, "-m", "appliance.export.engine.quantise", str(source), str(out), precision]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise JobFailed(
            f"llama.cpp could not quantise to {precision} (exit status {done.returncode}): {' / '.join(lines[-3:])}",
            hint="Export gguf:q8_0 or gguf:f16, which need no quantiser.",
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Write one file, for callers that must not load numpy."""
    parser = argparse.ArgumentParser(prog="python -m appliance.export.engine.gguf_file")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--precision", default="f32")
    options = parser.parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    convert(options.folder, options.out, options.precision)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
