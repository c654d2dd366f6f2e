//! Why something failed, and whose fault it was: closed sets, so that the policy can be total.

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in JSON, logs and every binding.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value with this name; `None` for a name this build does not know.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// Why a request, a stream or a local step failed.
    ///
    /// The first group are the service's own words (contract, table of causes); the rest are ours.
    Cause {
        /// The edge has no origin configured: a deploy or configuration fault.
        OriginUnconfigured = "origin_unconfigured",
        /// The edge gave up waiting for the origin.
        Timeout = "timeout",
        /// The edge could not reach the origin.
        NetworkError = "network_error",
        /// The origin answered 5xx and the edge passed that on.
        Upstream5xx = "upstream_5xx",
        /// The edge's circuit breaker rejected the request without trying the origin.
        CircuitOpen = "circuit_open",
        /// The edge's session storage is down.
        KvUnavailable = "kv_unavailable",
        /// The AI provider did not answer in time.
        ProviderTimeout = "provider_timeout",
        /// The AI provider answered 5xx.
        Provider5xx = "provider_5xx",
        /// The edge's circuit breaker for the AI provider is open.
        ProviderCircuitOpen = "provider_circuit_open",
        /// The edge could not reach the AI provider.
        ProviderNetworkError = "provider_network_error",

        /// The token is missing or expired.
        AuthRequired = "auth_required",
        /// This device was revoked by its owner.
        DeviceRevoked = "device_revoked",
        /// Too many requests from this client, in whichever form the answer said so.
        RateLimited = "rate_limited",
        /// The stream request carried no ticket.
        TicketRequired = "ticket_required",
        /// The stream ticket was not one of the origin's, or not ours.
        TicketInvalid = "ticket_invalid",
        /// The stream ticket came too late.
        TicketExpired = "ticket_expired",
        /// The stream ticket had been used before.
        TicketReplayed = "ticket_replayed",
        /// The origin's ticket store (Redis) is away.
        TicketStorageUnavailable = "ticket_storage_unavailable",
        /// The service refuses these bytes; they must not be sent again unchanged.
        BadRequest = "bad_request",
        /// The body was larger than the edge accepts.
        PayloadTooLarge = "payload_too_large",
        /// A path that the contract promises is not there.
        NotFound = "not_found",
        /// Any other refusal in the 4xx range, a 403 that is no revocation among them.
        Forbidden = "forbidden",
        /// Any 5xx without a cause that we know: a CDN's page, an origin reached directly.
        ServerError = "server_error",

        /// The system says that there is no network.
        Offline = "offline",
        /// The service's name could not be resolved.
        DnsFailed = "dns_failed",
        /// No connection to the service's address.
        ConnectFailed = "connect_failed",
        /// The TLS handshake failed, or the certificate is not to be trusted.
        TlsFailed = "tls_failed",
        /// The connection broke in the middle of an answer.
        ConnectionLost = "connection_lost",
        /// No answer within our own limit for it.
        ResponseTimeout = "response_timeout",
        /// The stream's end was announced properly by the other side.
        StreamClosed = "stream_closed",
        /// The stream was accepted, but nothing (more) came through it.
        StreamStalled = "stream_stalled",
        /// The answer was a redirect, which is never followed with credentials.
        Redirected = "redirected",
        /// The answer was not from the service at all: HTML with a 200, a captive portal.
        NotTheService = "not_the_service",
        /// The answer broke the contract: not JSON, not the shape, not the order.
        BadResponse = "bad_response",
        /// The answer was larger than our limit for it.
        ResponseTooLarge = "response_too_large",
        /// The app's token provider failed.
        TokenUnavailable = "token_unavailable",
        /// The local store could not be read or written.
        StoreFailed = "store_failed",
        /// The local store has no room left.
        StorageFull = "storage_full",
    }
}

named! {
    /// Whose fault a failure is: the first place to look.
    Layer {
        /// This device: offline, DNS, a captive portal.
        Device = "device",
        /// The edge itself, or the way to it.
        Edge = "edge",
        /// Between edge and origin.
        Path = "path",
        /// The origin or what it depends on.
        Origin = "origin",
        /// The event stream alone.
        Stream = "stream",
        /// The AI provider.
        Provider = "provider",
        /// Sign-in or device registration.
        Account = "account",
        /// The store on this device.
        Store = "store",
        /// Somebody does not keep to the contract.
        Contract = "contract",
    }
}

impl Cause {
    /// Whose fault this is.
    #[must_use]
    pub const fn layer(self) -> Layer {
        match self {
            Self::OriginUnconfigured | Self::KvUnavailable | Self::CircuitOpen => Layer::Edge,
            Self::ConnectFailed | Self::TlsFailed | Self::ConnectionLost => Layer::Edge,
            Self::ResponseTimeout | Self::RateLimited | Self::ServerError => Layer::Edge,
            Self::Timeout | Self::NetworkError => Layer::Path,
            Self::Upstream5xx | Self::TicketStorageUnavailable => Layer::Origin,
            Self::StreamClosed | Self::StreamStalled => Layer::Stream,
            Self::TicketRequired | Self::TicketInvalid => Layer::Stream,
            Self::TicketExpired | Self::TicketReplayed => Layer::Stream,
            Self::ProviderTimeout | Self::Provider5xx => Layer::Provider,
            Self::ProviderCircuitOpen | Self::ProviderNetworkError => Layer::Provider,
            Self::AuthRequired | Self::DeviceRevoked | Self::TokenUnavailable => Layer::Account,
            Self::Offline | Self::DnsFailed | Self::NotTheService => Layer::Device,
            Self::StoreFailed | Self::StorageFull => Layer::Store,
            Self::BadRequest | Self::PayloadTooLarge | Self::NotFound => Layer::Contract,
            Self::Forbidden | Self::Redirected | Self::BadResponse => Layer::Contract,
            Self::ResponseTooLarge => Layer::Contract,
        }
    }
}
