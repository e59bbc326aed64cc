"""The demo from start to end."""

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.live import Live

from flows.settings import Settings
from fraudflow.demo.board import Board, Watch
from fraudflow.demo.feed import Feed, Feeder, endless, weave
from fraudflow.demo.outcome import read_back
from fraudflow.demo.processes import Broker, Flow, ProcessFailed, environment, settings_of
from fraudflow.demo.report import write_report
from fraudflow.demo.screen import Progress, line, picture
from fraudflow.demo.summary import show
from fraudflow.demo.topics import Topics
from fraudflow.sending import DeliveryFailed, Sender

READY = 40.0  # seconds that the flow may take to begin
CAUGHT_UP = 15.0  # and to work off what is left at the end
LINE_EVERY = 2.0


@contextmanager
def ctrl_c() -> Iterator[Event]:
    """Set when SIGINT or SIGTERM comes: an exception could be raised where it is swallowed, as in a finaliser."""
    pressed = Event()
    before = [(number, signal.signal(number, lambda *_: pressed.set())) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield pressed
    finally:
        for number, handler in before:
            signal.signal(number, handler)


class Demo:
    """One run. `seconds`: how long the feeding takes; `share`: how much of the feed is sent."""

    def __init__(
        self, console: Console, *, seconds: float, share: float, seed: int, keep_running: bool, report: Path
    ) -> None:
        self.console = console
        self.seconds = seconds
        self.share = share
        self.seed = seed
        self.keep_running = keep_running
        self.report = report
        self.began = time.monotonic()
        self._line_at = 0.0

    def run(self) -> int:
        """The exit code. What goes wrong is told in a line or two, with the flow's last words where it was the flow."""
        # Whoever ends the demo ends its processes too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with ExitStack() as stack:
                return self._run(stack)
        except (ProcessFailed, DeliveryFailed, TimeoutError) as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("demo: stopped", file=sys.stderr)
            return 130

    def _run(self, stack: ExitStack) -> int:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fraudflow-demo-")))
        broker = Broker()
        stack.callback(broker.stop)
        variables = environment(broker.address)
        settings = settings_of(variables)
        sender = Sender(settings.kafka_config(), linger_ms="1")
        sender.connect(
            *settings.transaction_topics,
            settings.label_topic,
            settings.rule_topic,
            settings.list_topic,
            settings.alert_topic,
            settings.dlq_topic,
            settings.stats_topic,
            settings.model_topic,
            settings.model_event_topic,
        )
        flow = Flow(variables, folder)
        stack.callback(flow.stop)
        feed = weave(settings, self.seed, self.share)
        board = Board(settings)
        watch = Watch(board, settings)
        watch.start()
        after = endless(settings, self.seed, feed.end) if self.keep_running else None
        feeder = Feeder(sender, settings, feed, self.seconds, after)
        self._watch(settings, flow, feeder, watch, board, feed)
        code = flow.stop()
        watch.end()
        if code:
            raise ProcessFailed(f"the flow did not end well: exit code {code}\n{flow.tail()}")
        outcome = read_back(settings)
        write_report(outcome, settings, self.report)
        show(outcome, self.console)
        took = time.monotonic() - self.began
        self.console.print(f"\nReport: [bold]{self.report}[/bold]   {took:.0f} s in all")
        return 0

    def _watch(self, settings: Settings, flow: Flow, feeder: Feeder, watch: Watch, board: Board, feed: Feed) -> None:
        """Feeds and shows until the flow has worked off everything, or Ctrl-C ends `--keep-running`."""
        group = Topics(settings.kafka_config(), settings.transaction_topics, settings.kafka_group)
        with Live(console=self.console, auto_refresh=False, transient=True) as live:

            def step(phase: str) -> None:
                flow.check()
                for part in (feeder, watch):
                    if part.error is not None:
                        raise part.error
                seconds = time.monotonic() - self.began
                progress = Progress(phase, seconds, feeder.sent, max(feeder.sent, len(feed.messages)), feeder.clock)
                if self.console.is_terminal:
                    live.update(picture(board, progress, *self.console.size), refresh=True)
                elif seconds >= self._line_at:
                    print(line(board, progress), flush=True)
                    self._line_at = seconds + LINE_EVERY
                time.sleep(0.2)

            # One message goes ahead: once it has been through, no start-up time is mistaken for latency.
            feeder.send_first()
            deadline = time.monotonic() + READY
            while not board.received and group.lag() != 0:
                step("starting the flow")
                if time.monotonic() > deadline:
                    raise ProcessFailed(f"the flow took nothing within {READY:g} s\n{flow.tail()}")
            feeder.start()
            with ctrl_c() as pressed:
                while feeder.is_alive() and not pressed.is_set():
                    fed = feeder.fed.is_set()
                    step("goes on until Ctrl-C" if fed else "real and simulated transactions")
            if pressed.is_set():
                feeder.end()
            deadline = time.monotonic() + CAUGHT_UP
            while group.lag() != 0 and time.monotonic() < deadline:
                step("the flow works off the rest")
        behind = group.lag()
        group.close()
        if behind != 0:
            print(f"demo: this machine is slow: {behind or 'many'} messages are not judged yet", file=sys.stderr)
