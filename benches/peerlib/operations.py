"""Which operations are compared."""

from .attention import Attention, Decode
from .lookup import Embed, GatherRows, Sample
from .matmul import Matmul
from .norms import AddRmsNorm, RmsNorm, SiluAndMul
from .quantized import MatmulFp8, MatmulInt4
from .rope import RopeAppendKv

WORKS = {
    "embed": Embed, "gather_rows": GatherRows, "rms_norm": RmsNorm, "add_rms_norm": AddRmsNorm,
    "silu_and_mul": SiluAndMul, "rope_append_kv": RopeAppendKv, "matmul": Matmul, "matmul_int4": MatmulInt4,
    "matmul_fp8": MatmulFp8, "attention_prefill": Attention,
    "attention_decode": Decode, "sample": Sample,
}
# Why the others are not.
NOT_COMPARED = {
    "attention_combine": "a part of attention_decode, which is compared whole",
}
