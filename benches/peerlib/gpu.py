"""What PyTorch and nvidia-smi know of the GPU, for the record of a run."""

import subprocess

_CLOCKS = ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit", "temperature.gpu")


def device_record(torch, device):
    """Fields of the record's device that the library leaves open."""
    properties = torch.cuda.get_device_properties(device)
    driver_cuda = torch._C._cuda_getDriverVersion()
    identifier = str(getattr(properties, "uuid", "")) or str(device.index or 0)
    if identifier and not identifier.isdigit() and not identifier.startswith("GPU-"):
        identifier = f"GPU-{identifier}"
    return {"memory_bytes": properties.total_memory, "driver_cuda": f"{driver_cuda // 1000}.{driver_cuda % 1000 // 10}",
            "driver": _query(identifier, ["driver_version"], lambda fields: fields[0]),
            "clocks": _busy(torch, device, lambda: _query(identifier, _CLOCKS, _clocks))}


def _clocks(fields):
    sm, memory, max_sm, max_memory = (int(field) for field in fields[:4])
    return {"sm": sm, "memory": memory, "max_sm": max_sm, "max_memory": max_memory,
            "power_limit_watts": float(fields[4]), "temperature_celsius": float(fields[5])}


def _busy(torch, device, ask):
    """Asks while the GPU computes: idle clocks say nothing."""
    x = torch.randn((8192, 8192), device=device).to(torch.bfloat16)
    for _ in range(600):
        torch.mm(x, x)
    answer = ask()
    torch.cuda.synchronize(device)
    return answer


def _query(identifier, fields, read):
    """None where nvidia-smi is not there or does not say."""
    command = ["nvidia-smi", f"--id={identifier}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return read([field.strip() for field in answer.splitlines()[0].split(",")])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
