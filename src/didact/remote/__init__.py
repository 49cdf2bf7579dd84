"""Object stores through fsspec: what they can promise, and folders that stand on this disk or in one of them."""
