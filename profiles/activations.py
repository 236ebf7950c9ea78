"""The bytes that one training step holds beside weights, gradients and optimizer: a closed form by instants.

The stack is ours: transformers' modules, peft's LoRA without the fp32 copy of its inputs, fused (sdpa) causal
attention without a mask, autocast for bf16, cross-entropy in fp32 over the learnt positions, gradient checkpointing
a layer at a time. What each operation keeps for its backward pass is read from the modelling code and from torch's
``derivatives.yaml``; the coefficients count tensors, none is fitted. `docs/planning.md` has the measurements.

Letters: H hidden, M inner width of the MLP, Q and K widths of all query and key heads, V vocabulary, T tokens of a
micro-batch, S its length, w bytes of a computed value (4 or 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from profiles.families import Family, family_named
from profiles.model import ModelProfile


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The part of a plan that memory depends on."""

    adapter: str
    precision: str
    micro_batch: int
    sequence_length: int
    checkpointing: bool
    rank: int = 0
    dropout: float = 0.0
    on_cpu: bool = True

    @property
    def tokens(self) -> int:
        """The most that one micro-batch has."""
        return self.micro_batch * self.sequence_length

    @property
    def full(self) -> bool:
        return self.adapter == "full"

    @property
    def width(self) -> int:
        """Bytes of a value that a matrix multiplication gives."""
        return 4 if self.precision == "fp32" else 2

    @property
    def residual(self) -> int:
        """Bytes of a value between layers; trained weights are fp32, so that only products are in bf16."""
        return 4 if self.full else self.width

    @property
    def mixed(self) -> bool:
        """Whether fp32 weights are cast for every product."""
        return self.full and self.width == 2


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The transient bytes of a step at its worst instant."""

    activations: int
    """Kept from the forward pass for the backward pass."""
    casts: int
    """Weights in the precision of the arithmetic, beside the ones that are trained."""
    logits: int
    """What the loss holds at its worst: scores, their fp32 copy or logarithms, and two gradients."""
    backward: int
    """What a layer's backward pass, and its recomputation, hold at their worst."""

    embedding: int = 0
    """What the gradient of the embedding takes at the very end, when nothing else is left."""

    @property
    def bytes(self) -> int:
        """The loss, a layer's backward pass and the end are never in memory together."""
        return max(self.activations + self.casts + max(self.logits, self.backward), self.embedding)


def peak(model: ModelProfile, shape: Shape) -> Peak:
    """Bytes of activations of one micro-batch, at the two instants that can be the worst."""
    family, tokens = family_named(model.family), shape.tokens
    layer = tokens * _layer_bytes(model, family, shape)
    linear = model.parameters - model.embedding_parameters
    # The last norm keeps its input; a trained head keeps its own input and the norm's product too.
    last = tokens * model.hidden * (8 + 2 * shape.width if shape.full else 4)
    casts = 2 * (linear + model.vocab * model.hidden) if shape.mixed else 0
    if not shape.full and shape.width == 2:
        casts = 2 * model.lora_width * shape.rank
    # The gradient of a trained embedding that is also the head waits for its other half until the end; then there
    # are both halves and their sum, which under mixed precision is made in place (measured).
    table = 4 * model.vocab * model.hidden if shape.full else 0
    backward = _backward_bytes(model, family, shape) + (table if model.tied_embeddings else 0)
    embedding = table * ((2 if shape.mixed else 3) if model.tied_embeddings else 1)
    logits = last + _logit_bytes(model, family, shape)
    if shape.checkpointing:
        kept = tokens * model.hidden * shape.residual * model.layers
        # One layer at a time is computed again, with its own casts; what it starts from is kept already.
        backward += layer + casts // model.layers - (4 * tokens * model.hidden if shape.residual == 4 else 0)
        casts = 0
    else:
        # Below the first trained matrix nothing is kept, so not the input of the first norm either.
        kept = layer * model.layers - (0 if shape.full else 4 * tokens * model.hidden)
    return Peak(
        activations=kept,
        casts=casts,
        logits=logits,
        backward=backward,
        embedding=embedding,
    )


def _backward_bytes(model: ModelProfile, family: Family, shape: Shape) -> int:
    """What comes beside the kept values where a layer's backward pass begins, in its MLP, or in eager attention.

    Gradients of the product and of its two factors, of which the product's own place is free by then; or of the
    product and one matrix; and the gradient of the residual on both sides.
    """
    tokens, inner = shape.tokens, shape.width * model.intermediate
    matrix = (6 if shape.mixed else 4) * model.intermediate * model.hidden if shape.full else 0
    factors = 2 if family.mlp == "gated" else 3
    mlp = max(factors * tokens * inner, tokens * inner + matrix)
    table = 0
    if _table_bytes(family, shape):  # its gradients; by then the MLP's own values are gone
        each = shape.width + 4 if family.attention == "eager" else 8
        table = tokens * (each * model.heads * shape.sequence_length - 4 * inner)
    return max(mlp, table) + 2 * tokens * shape.residual * model.hidden


def _layer_bytes(model: ModelProfile, family: Family, shape: Shape) -> int:
    """Bytes that a layer keeps for one token."""
    width = shape.width
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    matrices = 4 if family.fused else 7
    # Gated: gate, activated gate, up, product. GPT-2's gelu is five operations in Python.
    total = width * (4 if family.mlp == "gated" else 5) * model.intermediate
    total += _norm_bytes(model, family, shape, queries + keys)
    total += _attention_bytes(model, family, shape)
    if not shape.full:
        total += matrices * shape.rank * width
        if shape.dropout:  # its mask and its result, for every matrix that is wrapped
            inputs = (2 if family.fused else 5) * model.hidden + queries + model.intermediate
            total += 2 * width * inputs
    return total


def _norm_bytes(model: ModelProfile, family: Family, shape: Shape, heads: int) -> int:
    """Inputs of the norms in fp32, what is multiplied by a trained weight, and the inputs of the matrices."""
    hidden, width = model.hidden, shape.width
    # Under mixed precision every matrix casts its input anew; otherwise they share the norm's output.
    inputs = (2 if family.fused else 5) * width * hidden if shape.mixed else 2 * width * hidden
    if family.norm == "layer":  # one operation, which keeps its input only
        return inputs + 2 * shape.residual * hidden
    each = 4 + (4 if shape.full else 0)
    return inputs + family.norms * each * hidden + (each * heads if family.qk_norm else 0)


def _attention_bytes(model: ModelProfile, family: Family, shape: Shape) -> int:
    """Query, key, value and result; the logarithm of each head's sum, or the whole table of scores."""
    width = shape.width
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    table = model.heads * shape.sequence_length * _table_bytes(family, shape)
    if family.attention == "eager":  # keys and values are repeated for every head
        return width * 4 * queries + table
    # Phi's rotation leaves the one product of query, key and value whole, and one more of queries (measured).
    split = width * (2 * queries + keys) if family.fused and not family.learned_positions else 0
    scaled = 4 * (queries + keys) if table else 0
    return width * 2 * (queries + keys) + 4 * model.heads + split + table + scaled


def _table_bytes(family: Family, shape: Shape) -> int:
    """Bytes kept for each score of the attention where the table of all scores is made; 0 where it is fused.

    Eager: the capped scores, their softmax in fp32, and it again in bf16. With dropout torch has no fused attention
    on a CPU: the softmax, the mask and their product, all in fp32.
    """
    if family.attention == "eager":
        return shape.width + 4 + (shape.width if shape.width < 4 else 0)
    return 12 if family.dropout and shape.on_cpu else 0


def _logit_bytes(model: ModelProfile, family: Family, shape: Shape) -> int:
    """Logarithms kept, the gradient of the chosen ones, and the result: three fp32 tables of T × V; beside them the
    cast of the output matrix where it is not kept, and what a cap on the logits keeps."""
    cast = 2 * model.vocab * model.hidden if shape.mixed and shape.checkpointing else 0
    scores = (12 + (shape.width if family.capped else 0)) * shape.tokens * model.vocab
    # After that only one of the tables is left, and beside it the gradient of the head's matrix.
    head = 4 * model.vocab * model.hidden if shape.full else 0
    return max(scores, shape.width * shape.tokens * model.vocab + head) + cast
