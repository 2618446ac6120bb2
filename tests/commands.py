"""Command lines run in process."""

from fusiqa.cli import main


def exit_code(*arguments: object) -> int:
    """Run a command; its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
