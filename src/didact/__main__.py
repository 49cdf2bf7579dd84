"""`python -m didact`: the command, for `torchrun -m didact` and wherever the script is not on the path."""

from didact.cli import main

if __name__ == "__main__":
    main()
