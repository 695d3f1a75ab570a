"""What benches/peers.py is made of. Only what runs operations needs PyTorch; the rest is the standard library."""
