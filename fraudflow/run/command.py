"""`python -m fraudflow run`: the flow in several processes, kept running."""

import logging
import signal
from pathlib import Path
from typing import Annotated

import typer


def run(
    *,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, max=64, help="Processes: one for each core.")
    ] = 1,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, max=64, help="Threads in each process.")] = 1,
    recovery: Annotated[
        str,
        typer.Option(
            "--recovery-directory",
            "-r",
            envvar="BYTEWAX_RECOVERY_DIRECTORY",
            help='Where state is kept; made when it is not there. "" for none.',
        ),
    ] = "recovery",
    interval: Annotated[
        int,
        typer.Option(
            "--snapshot-interval", "-s", envvar="BYTEWAX_SNAPSHOT_INTERVAL", min=1, help="Seconds of an epoch."
        ),
    ] = 10,
    backup: Annotated[
        int,
        typer.Option(
            "--backup-interval",
            "-b",
            envvar="BYTEWAX_RECOVERY_BACKUP_INTERVAL",
            min=0,
            help="Seconds for which superseded state is kept.",
        ),
    ] = 0,
    health: Annotated[
        str, typer.Option(help='Where /health and /ready are served: host:port. "" for nowhere.')
    ] = "127.0.0.1:8090",
    grace: Annotated[float, typer.Option(min=1, help="Seconds that a drain may take.")] = 30.0,
    logs: Annotated[Path | None, typer.Option(help="A folder for what each process prints, besides here.")] = None,
) -> None:
    """Run the flow in several processes on this machine, and keep it running.

    All are started again when one dies, after growing pauses, and drained by SIGTERM or Ctrl-C. Exit codes: 0 drained
    or at the end, 1 not drained in time, 2 something must be changed first, 65 a message ends the flow again and again.

    Example: `python -m fraudflow run -p 4 -r recovery`
    """
    from connectors.recovery import make
    from flows.settings import Settings
    from fraudflow.run.cluster import Options
    from fraudflow.run.health import HealthServer
    from fraudflow.run.locate import locate
    from fraudflow.run.output import Output
    from fraudflow.run.supervisor import Limits, Supervisor

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings.load()
    directory = Path(recovery) if recovery else None
    options = Options(processes, workers, directory, interval, backup)
    # While Kafka takes nothing an epoch does not end, until the delivery timeout does.
    slowest = settings.delivery_timeout / 1000 + 3 * interval
    limits = Limits(drain=grace, stale=max(3.0 * interval, 30.0), hang=slowest + 60.0)
    try:
        if directory is not None:
            make(directory)
        output = Output(processes, logs)
        supervisor = Supervisor(options, limits, output.write, lambda failure: locate(failure, settings))
        server = HealthServer(*address_of(health), lambda: supervisor.state) if health else None
    except OSError as error:
        typer.echo(f"fraudflow cannot start: {error}", err=True)
        raise typer.Exit(2) from None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.on_signal)
    if server is not None:
        server.start()
        logging.getLogger("fraudflow.run").info("%s/health and %s/ready tell how it is", server.url, server.url)
    code = supervisor.run()
    if server is not None:
        server.stop()
    output.close()
    raise typer.Exit(code)


def address_of(text: str) -> tuple[str, int]:
    """`host:port`. Raises BadParameter."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise typer.BadParameter(f"{text!r} is not host:port, such as 127.0.0.1:8090", param_hint="--health")
    return host.strip("[]"), int(port)
