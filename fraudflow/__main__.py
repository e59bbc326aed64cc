"""`python -m fraudflow`: the front door."""

from fraudflow.cli import main

if __name__ == "__main__":
    main()
