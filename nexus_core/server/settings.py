"""What a server is told when it starts, with the project's defaults."""

from __future__ import annotations

from attrs import field, frozen

END_S = 5.0
"""To close all, once runs have ended or are cut; then the process ends without that."""
CALLBACK = "/auth/callback"
"""Where the issuer of a sign-in sends browsers back to."""


@frozen(kw_only=True)
class ServerLimits:
    """Bounds on what clients may do to a server."""

    body_bytes: int = 2**20
    upload_bytes: int = 32 * 2**20
    """Of a request that uploads documents."""
    body_s: float = 15.0
    """To send a body."""
    read_s: float = 120.0
    """To read the files of one request into items; then whatever reads them is killed."""
    read_wait_s: float = 30.0
    """For files to wait until those of other requests are read."""
    header_s: float = 30.0
    """To send a head; also how long an idle connection is kept."""
    write_s: float = 30.0
    """For a client to take one event of a stream."""
    resume_s: float = 30.0
    """So long a stream goes on whose client is gone, so that it can be read on; 0 ends it with its client."""
    heartbeat_s: float = 15.0
    """A stream is never silent for longer."""
    commit_s: float = 10.0
    """So long a stream waits for its first event before it begins all the same: until then a failure has a status."""
    connections: int = 1024
    connections_per_address: int = 32
    """Of one address of another machine; 0 counts none apart."""
    running: int = 64
    """Runs at once in this process; more wait."""
    waiting: int = 128
    """Runs that may wait; more are refused."""
    wait_s: float = 5.0
    drain_s: float = 25.0
    """What runs may take to end once the server is told to stop."""


@frozen(kw_only=True)
class WorkerSettings:
    """One of several processes of a server, and what it has in common with the others."""

    number: int
    """From 0."""
    count: int
    parent: int
    """The process that has started them."""
    file: int
    """The descriptor of what they remember together (see `memory`)."""
    folder: str
    """Where each has its socket, by its number (see `worker_rpc`)."""

    def socket(self, number: int) -> str:
        """Return the path of the socket of one of them."""
        return f"{self.folder}/{number}.sock"


@frozen(kw_only=True)
class OidcSettings:
    """An OpenID Connect issuer whose people and programs are let in, beside those with keys."""

    issuer: str
    """Its address as it stands in `iss`, such as `https://id.example.com`."""
    client_id: str = ""
    """As what the page signs people in; without it bearer tokens alone are taken."""
    client_secret: str = field(default="", repr=False)
    """Empty for a public client, which proves itself by PKCE alone."""
    audiences: tuple[str, ...] = ()
    """For whom bearer tokens must be made out; by default the client id."""
    groups_claim: str = "groups"
    """The claim with somebody's groups; with dots it is one in another, as in `realm_access.roles`."""
    admin_groups: tuple[str, ...] = ()
    """Whose members may do all, as the issuer names them."""
    allowed_groups: tuple[str, ...] = ()
    """Whose members alone are let in, as the issuer names them; without any, all whom the issuer knows."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    """What the page asks the issuer for."""
    session_s: float = 8 * 3600.0
    """So long somebody stays signed in to the page."""

    @property
    def accepts(self) -> tuple[str, ...]:
        """The audiences of bearer tokens."""
        return self.audiences or ((self.client_id,) if self.client_id else ())


@frozen(kw_only=True)
class ServerSettings:
    """How a server serves."""

    name: str = ""
    """How `/metrics` call this server among those of one store; by default as its machine is called."""
    host: str = "127.0.0.1"
    port: int = 8000
    prefix: str = "/api"
    certificate: str = ""
    """The file with the chain of TLS certificates; with it HTTPS is spoken."""
    private_key: str = ""
    tls_elsewhere: bool = False
    """Whether a proxy in front speaks TLS with clients."""
    require_keys: bool = False
    """Whether nobody is served without a key, whatever the store holds."""
    oidc: OidcSettings | None = None
    """Who is let in by signing in elsewhere; nobody by default."""
    public_url: str = ""
    """Where people reach the page, without a slash at the end; by default as their browser names it."""
    show_upstream_errors: bool = False
    """Whether all clients read the words of errors, as operators do."""
    show_reasoning: bool = False
    """Whether clients of OpenAI's API read what models think: it may quote instructions and passages."""
    list_sources: bool = False
    """Whether answers to them end with a list of what they cite, for clients that show text alone."""
    shares: bool = True
    """Whether conversations are read by links; those that were made hold again once they are."""
    worker: WorkerSettings | None = None
    """Which of several processes on one port this one is; none of several by default."""
    limits: ServerLimits = ServerLimits()
    deadline_s: float = 600.0
    """The most that one run may take."""
