"""The decoder of messages: as they are, or framed for a Schema Registry where the settings name one."""

from connectors.schema_registry import FramedReader, Registry, Unframed
from flows.settings import Settings
from operators.transactions.decoding import Decoder
from operators.transactions.formats import Limits, Rejected
from operators.transactions.framed import FramedDecoder


def decoder_of(settings: Settings, limits: Limits) -> Decoder | FramedDecoder:
    """The registry is asked when the first message comes."""
    decoder = Decoder(limits)
    if not settings.schema_registry_url:
        return decoder
    reader = _reader(settings)

    def translate(value: bytes | None) -> bytes:
        try:
            return reader.to_json(value)
        except Unframed as error:
            raise Rejected(error.reason, str(error)) from error

    return FramedDecoder(decoder, settings.framed_topics, translate)


def check_registry(settings: Settings) -> None:
    """Raises RegistryUnavailable where the settings name a registry that does not answer, or refuses its user."""
    if settings.schema_registry_url:
        _reader(settings, deadline=10.0).check()


def _reader(settings: Settings, deadline: float | None = None) -> FramedReader:
    password = settings.schema_registry_password.get_secret_value()
    registry = Registry(
        settings.schema_registry_url, settings.schema_registry_user, password, settings.schema_registry_ca_location
    )
    return FramedReader(registry, deadline=settings.delivery_timeout / 1000 if deadline is None else deadline)
