"""Where operations run: PyTorch's tensors on a GPU, which the library shares; or on the CPU, copied to a simulated GPU
and back for each call of the library."""

import importlib
import math

from .library import Library, Tensor

# Optional packages: their names here, and what is imported.
_OPTIONAL = {"flashinfer": "flashinfer", "flash_attn": "flash_attn", "flash_attn_3": "flash_attn_interface",
             "deep_gemm": "deep_gemm", "marlin": "marlin"}


class Env:
    """What works need: PyTorch, the library, a random number generator, and the optional packages."""

    def __init__(self, torch, library_path, device, compile):
        self.torch = torch
        self.attention = importlib.import_module("torch.nn.attention")
        self.causal_lower_right = importlib.import_module("torch.nn.attention.bias").causal_lower_right
        self.library = Library(library_path, device)
        self.on_gpu = not self.library.properties().simulated
        self.device = torch.device(device if self.on_gpu else "cpu")
        self.dtypes = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "i32": torch.int32,
                       "i64": torch.int64, "u32": torch.uint32, "u8": torch.uint8,
                       "e4m3": torch.float8_e4m3fn}
        self._names = {dtype: name for name, dtype in self.dtypes.items()}
        self._generator = torch.Generator(self.device).manual_seed(1)
        self._compiled = {} if compile else None
        self._placed = []
        self._workspace = None
        self.packages = {name: _import(module) for name, module in _OPTIONAL.items()} if self.on_gpu else {}

    def package(self, name):
        """An optional package, or None."""
        return self.packages.get(name)

    # Tensors.

    def random(self, dtype, shape, scale=1.0):
        """Normally distributed numbers."""
        values = self.torch.empty(shape, dtype=self.dtypes[dtype], device=self.device)
        return values.normal_(0.0, scale, generator=self._generator)

    def output(self, dtype, shape):
        """What is written: full of NaN, or of bits that are no number of its type's use."""
        values = self.torch.empty(shape, dtype=self.dtypes[dtype], device=self.device)
        return values.fill_(math.nan) if values.is_floating_point() else values.fill_(0x77)

    def zeros(self, dtype, shape):
        return self.torch.zeros(shape, dtype=self.dtypes[dtype], device=self.device)

    def tensor(self, dtype, values):
        return self.torch.tensor(values, dtype=self.dtypes[dtype], device=self.device)

    def shuffled(self, count):
        """0..count in a random order, i64."""
        return self.torch.randperm(count, generator=self._generator, device=self.device)

    def integers(self, below, shape):
        """Integers from 0 on, u8, each as likely as the others."""
        return self.torch.randint(0, below, shape, dtype=self.torch.uint8, device=self.device,
                                  generator=self._generator)

    def codes(self, shape):
        """e4m3 codes of normally distributed numbers, the largest of which are near the largest that there are."""
        return self.random("f32", shape, 128.0).clamp(-448, 448).to(self.dtypes["e4m3"])

    def workspace(self):
        """What products share, one launch after the other: zeros, which every launch leaves so."""
        if self._workspace is None:
            self._workspace = self.zeros("u8", (self.library.matmul_workspace_bytes(),))
        return self._workspace

    # Calls of the library.

    def stream(self):
        """The handle of PyTorch's current stream, which changes while a graph is recorded."""
        return self.torch.cuda.current_stream(self.device).cuda_stream if self.on_gpu else None

    def place(self, tensor):
        """The tensor for the library: in place on a GPU, as a copy on a simulated one."""
        if not tensor.is_contiguous():
            raise ValueError("the library is given contiguous tensors here")
        address = tensor.data_ptr()
        if not self.on_gpu:
            address = self._copied(tensor)
        return Tensor.of(address if tensor.numel() else 0, self._names[tensor.dtype], tensor.shape)

    def place_columns(self, tensor, columns):
        """The first columns of a matrix whose rows are wider, to start at aligned addresses."""
        placed = self.place(tensor)
        placed.shape[1] = columns
        return placed

    def _copied(self, tensor):
        num_bytes = tensor.numel() * tensor.element_size()
        address = self.library.allocate(num_bytes)
        self._placed.append((tensor, address, num_bytes))
        if num_bytes:
            self.library.write(address, tensor.data_ptr(), num_bytes)
        return address

    def finish(self):
        """Waits; on a simulated GPU, copies all that was placed back and frees it: a call is prepared for one run."""
        if self.on_gpu:
            self.torch.cuda.synchronize(self.device)
            return
        self.library.synchronize()
        for tensor, address, num_bytes in self._placed:
            if num_bytes:
                self.library.read(tensor.data_ptr(), address, num_bytes)
            self.library.free(address)
        self._placed.clear()

    # Compiled functions.

    def compiles(self):
        return self._compiled is not None

    def compiled(self, function):
        """The function by torch.compile. Widths are constants to it; the number of tokens is not, where `mark_tokens`
        says so: one compilation a width. It fails rather than to fall back to eager mode."""
        if function not in self._compiled:
            config = self.torch._dynamo.config
            config.automatic_dynamic_shapes = False
            for limit in ("recompile_limit", "cache_size_limit"):
                if hasattr(config, limit):
                    setattr(config, limit, 256)
            self._compiled[function] = self.torch.compile(function, fullgraph=True)
        return self._compiled[function]

    def mark_tokens(self, *tensors):
        """Dimension 0 of these is the number of tokens. (A single one is always compiled for itself.)"""
        if self.compiles():
            for tensor in tensors:
                if tensor.shape[0] > 1:
                    self.torch._dynamo.maybe_mark_dynamic(tensor, 0)


def _import(module):
    try:
        return importlib.import_module(module)
    except Exception:  # Absent, or built for another PyTorch: either way there is none.
        return None


def version(package):
    return getattr(package, "__version__", "of unknown version")
