"""`python -m vaelab` is the command `vaelab`."""

from .cli import main

if __name__ == "__main__":
    main()
