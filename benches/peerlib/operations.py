"""Which operations are compared."""

from .attention import Attention, Decode
from .lookup import Embed, GatherRows, Sample
from .matmul import Matmul
from .norms import AddRmsNorm, RmsNorm, SiluAndMul
from .rope import RopeAppendKv

WORKS = {
    "embed": Embed, "gather_rows": GatherRows, "rms_norm": RmsNorm, "add_rms_norm": AddRmsNorm,
    "silu_and_mul": SiluAndMul, "rope_append_kv": RopeAppendKv, "matmul": Matmul, "attention_prefill": Attention,
    "attention_decode": Decode, "sample": Sample,
}
# Why the others are not.
NOT_COMPARED = {
    "attention_combine": "a part of attention_decode, which is compared whole",
}
