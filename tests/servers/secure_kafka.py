"""Kafka as it stands in a bank: TLS, and users with passwords (SCRAM) or tokens (OAUTHBEARER), each with few rights.

What tests do themselves (topics, reading back) goes over the plain listener, whose anonymous user may do everything.
"""

import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.servers.certificates import Authority
from tests.servers.kafka import Kafka
from tests.servers.tokens import CLIENT, SECRET, TokenServer

USER, PASSWORD = "fraudflow", "pass-word"

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_OAUTH = "org.apache.kafka.common.security.oauthbearer"
_LISTENER = "listener.name.sasl_ssl"
_SETTINGS = {
    "listeners": "PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{extra},CONTROLLER://127.0.0.1:{controller}",
    "advertised.listeners": "PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{extra}",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
    f"{_LISTENER}.sasl.enabled.mechanisms": "SCRAM-SHA-256,OAUTHBEARER",
    f"{_LISTENER}.scram-sha-256.sasl.jaas.config": _SCRAM,
    f"{_LISTENER}.oauthbearer.sasl.jaas.config": f"{_OAUTH}.OAuthBearerLoginModule required;",
    f"{_LISTENER}.oauthbearer.sasl.server.callback.handler.class": f"{_OAUTH}.OAuthBearerValidatorCallbackHandler",
    "sasl.oauthbearer.expected.audience": "kafka",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}


class SecureKafka(Kafka):
    """A real broker with a second listener, at `secure`."""

    name = "secure-kafka"

    def __init__(self) -> None:
        super().__init__(_SETTINGS, ("--add-scram", f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"))
        self._trust = Path()

    def prepare(self) -> None:
        """Certificates and the keys of tokens first: the broker's configuration names them."""
        self._trust = Path(tempfile.mkdtemp(prefix="trust-", dir=self.folder))
        self.authority = Authority.make(self._trust)
        self.stranger = Authority.make(self._trust, "stranger")
        key, certificate = self.authority.vouch("broker")
        (self._trust / "store.pem").write_text(key.read_text() + certificate.read_text())
        self.tokens = TokenServer(self._trust).__enter__()
        self._settings |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._trust / "store.pem"),
            "sasl.oauthbearer.jwks.endpoint.url": self.tokens.keys.as_uri(),
        }
        self.java_options = (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.tokens.keys.as_uri()}",)
        super().prepare()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(AttributeError):  # it may not have come so far
            self.tokens.__exit__(None, None, None)
        super().__exit__(kind, error, trace)

    @property
    def secure(self) -> str:
        """The address of the listener with TLS."""
        return f"127.0.0.1:{self.extra_port}"

    def scram(self, folder: Path, password: str = PASSWORD) -> dict[str, str]:
        """Settings of the flow, without their prefix, for a user with a password, which is in a file in `folder`."""
        secret = folder / "password"
        secret.write_text(f"{password}\n")
        return self._connection("SCRAM-SHA-256") | {
            "KAFKA_CONFIG_SASL_USERNAME": USER,
            "KAFKA_CONFIG_SASL_PASSWORD_FILE": str(secret),
        }

    def oauth(self, folder: Path, secret: str = SECRET) -> dict[str, str]:
        """Settings of the flow for a client of the token server."""
        path = folder / "client-secret"
        path.write_text(f"{secret}\n")
        return self._connection("OAUTHBEARER") | {
            "KAFKA_CONFIG_SASL_OAUTHBEARER_METHOD": "oidc",
            "KAFKA_CONFIG_SASL_OAUTHBEARER_CLIENT_ID": CLIENT,
            "KAFKA_CONFIG_SASL_OAUTHBEARER_CLIENT_SECRET_FILE": str(path),
            "KAFKA_CONFIG_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": self.tokens.url,
        }

    def _connection(self, mechanism: str) -> dict[str, str]:
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.secure,
            "KAFKA_CONFIG_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_CONFIG_SSL_CA_LOCATION": str(self.authority.certificate),
            "KAFKA_CONFIG_SASL_MECHANISM": mechanism,
        }

    def allow(self, operation: str, resource: str, name: str, *, prefixed: bool = False) -> None:
        """Let the user do something (`READ`) to a `TOPIC` or `GROUP`, or to all whose names begin so."""
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        what = AclOperation[operation]
        binding = AclBinding(ResourceType[resource], name, pattern, f"User:{USER}", "*", what, AclPermissionType.ALLOW)
        admin: AdminClient = self.admin()
        admin.create_acls([binding])[binding].result()
