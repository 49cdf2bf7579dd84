"""Pure text functions and the kernels that walk Arrow buffers."""
