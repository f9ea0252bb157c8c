"""Support for half precision."""

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device supports bfloat16; others emulate it, several times as slowly."""
    if device.type != "cpu":
        return True
    if not hasattr(torch.cpu, "get_capabilities"):  # not in older releases
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
