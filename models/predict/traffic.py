"""The bytes that the elementwise operations of a pass read and write through autograd, from the config alone. Imports no torch.

    n tokens of a pass, s 4 bytes in float32 and else 2; H, F, V, T, L, N, K, D, g as in cost.py; S = (N + 2 K) D.
    Everything except matrix products and fused attention counts, with all that it reads and writes. The loss does not count: it
    is measured by its logits (calibrate/seconds.py). A test counts the same bytes from torch's calls
    (tests/models/test_traffic.py).

For each token in a layer, forward and backward:

norm of width w      8 w + 12 w for a LayerNorm. An RMSNorm on a CPU is many operations, each with its own gradient:
                     FORWARD_RMS and BACKWARD_RMS floats a feature. Always in float32
residual stream      two sums, and two more where its gradient branches: 48 H; less if branches are in half precision
activation           forward and backward s F (2 + 3) for gelu, (4 + 10) for relu2, (5 + 21) for swiglu
gradient of S        is joined from three parts: 2 s S
rotary               queries and keys: s (9 + 10) a feature
qk_norm              the norms of queries and keys; in half precision also casts to float32 and back
copies               if queries, keys and values are no longer views of one array
attention_dropout    N T scores, each of which is scaled, masked, normalised, dropped: s (9 + 12), and a mask
biases               their gradients are sums over the whole outputs of the maps
half precision       outputs of norms are cast to it, and their gradients back

Around the layers: embeddings, the last norm, and casts of the logits. For each weight: its gradient is accumulated; in half
precision the weight is cast to it, and the gradient back. With activation checkpointing the forward pass of blocks runs once
more.
"""

from models.predict.activations import ActivationTerms
from models.predict.cost import gates, lengths, maps, matrices

FORWARD_RMS, BACKWARD_RMS = 9, 22  # floats read or written for each feature of an RMSNorm
MASK = 20  # floats for an element of a mask, whose random bits take longer than its traffic


def autograd_bytes(parts: ActivationTerms) -> int:
    """Bytes of one forward and backward pass through autograd: all layers and both ends."""
    c = parts.config
    forward, backward = layer_traffic(parts)
    again = forward if parts.layout.activation_checkpointing else 0
    layers = parts.tokens * c.layers * (forward + backward + again)
    return round(layers + parts.tokens * _end_bytes(parts)) + _weight_bytes(parts)


def attention_traffic(parts: ActivationTerms) -> tuple[float, float]:
    """(forward, backward) bytes for a token, between the map to queries, keys and values and the output map."""
    c, s = parts.config, parts.size
    shared, width, total = c.keys != c.heads, (c.heads + c.keys) * c.head, maps(c)["qkv"][0]
    forward, backward = 0.0, 2.0 * s * total
    if c.positions == "rotary":
        forward, backward = forward + 9 * s * width, backward + 10 * s * width
    if c.qk_norm:
        there, back = norm_traffic(parts, width)
        cast = 12 * width if s < 4 else 0
        forward, backward = forward + there + cast, backward + back + cast
    if c.positions == "rotary" or c.qk_norm or shared:
        backward += 2 * s * total
    if shared:
        forward, backward = forward + 4 * s * c.hidden, backward + s * (2 * c.hidden + 2 * c.keys * c.head)
    if c.attention_dropout:
        scores = c.heads * c.context
        forward += scores * (s * 9 + MASK) + 6 * s * c.hidden
        backward += scores * s * 12 + 8 * s * c.hidden
    return forward, backward


def layer_traffic(parts: ActivationTerms) -> tuple[float, float]:
    """(forward, backward) bytes for a token in a layer."""
    c, s = parts.config, parts.size
    hidden, half = c.hidden, s < 4
    norm = norm_traffic(parts, hidden)
    attention = attention_traffic(parts)
    activation = {"relu2": (4, 10), "swiglu": (5, 21)}.get(c.activation, (2, 3))
    forward = 2 * norm[0] + attention[0] + activation[0] * s * c.inner + 2 * (8 + s) * hidden
    backward = 2 * norm[1] + attention[1] + activation[1] * s * c.inner + 24 * hidden
    if half:  # outputs of both norms, and gradients of both branches
        forward, backward = forward + 12 * hidden, backward + 24 * hidden
    if c.bias:
        backward += s * (maps(c)["qkv"][0] + gates(c) * c.inner + 2 * hidden)
    if c.dropout:
        forward, backward = forward + 2 * s * (MASK + 3) * hidden, backward + 6 * s * hidden
    if c.layer_dropout:
        forward, backward = forward + 4 * s * hidden, backward + 4 * s * hidden
    return forward, backward


def norm_traffic(parts: ActivationTerms, width: int) -> tuple[float, float]:
    """(forward, backward) bytes for a token of a norm over so many features."""
    if parts.config.norm == "rms" and parts.device == "cpu":
        return 4.0 * FORWARD_RMS * width, 4.0 * BACKWARD_RMS * width
    return 8.0 * width, 12.0 * width


def _end_bytes(parts: ActivationTerms) -> float:
    """Bytes for a token: embeddings, the last norm, and casts of the output map's input and of the logits."""
    c = parts.config
    embedded = 12 + (12 if c.positions == "learned" else 0)
    dropped = 4 * (MASK + 6) if c.embedded_dropout else 0
    cast = 12 * (c.hidden + c.words) if parts.size < 4 else 0
    return (embedded + dropped) * c.hidden + sum(norm_traffic(parts, c.hidden)) + cast


def _weight_bytes(parts: ActivationTerms) -> int:
    """Bytes of a pass for the weights, whatever its tokens: gradients are accumulated (twice for a tied table), and casts."""
    c = parts.config
    table = c.words * c.hidden
    casts = 12 * (c.layers * matrices(c) + table) if parts.size < 4 else 0
    return 12 * sum(lengths(c)) + (16 if c.tie else 4) * table + casts
