"""Whether a result can be written, found out before the work rather than after it."""

from pathlib import Path
from tempfile import TemporaryFile


def require_folder(folder: Path, option: str) -> None:
    """Raises ValueError, naming the option, where nothing can be written into `folder`. Leaves nothing behind."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is a file, not a folder" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise ValueError(f"{option} {folder}: can't be written: {why}") from error
    finally:
        for place in missing:
            if place.is_dir():
                place.rmdir()


def require_file(path: Path, option: str) -> None:
    """Raises ValueError, naming the option, where `path` can't be written."""
    if path.is_dir():
        raise ValueError(f"{option} {path}: can't be written: it is a folder, not a file")
    require_folder(path.parent, option)
