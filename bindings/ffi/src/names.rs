//! The SDK's names, as enums that cross the border.

macro_rules! names {
    ($(#[$doc:meta])* $name:ident of $sdk:ty, else $other:ident { $($(#[$vdoc:meta])* $variant:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, uniffi::Enum)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl From<$sdk> for $name {
            fn from(value: $sdk) -> Self {
                // The SDK may add names; that none is missing here is tested.
                #[allow(unreachable_patterns)]
                match value {
                    $(<$sdk>::$variant => Self::$variant,)+
                    _ => Self::$other,
                }
            }
        }
    };
}

names! {
    /// Where the data stands.
    SyncState of evenkeel::SyncState, else Degraded {
        /// Proven: the stream is live, a pull begun after its opening and after the last
        /// announcement has finished, and nothing waits to be sent.
        Synced,
        /// On the way there, with nothing in the way.
        Syncing,
        /// A part of the sync path failed and has not worked since.
        Degraded,
    }
}

names! {
    /// Whether the client is at work at all. The state of one that is not is its last one.
    Lifecycle of evenkeel::Lifecycle, else Stopped {
        /// At work.
        Running,
        /// Paused by the app; nothing is sent.
        Suspended,
        /// Not started, or ended.
        Stopped,
    }
}

names! {
    /// How news from the server reaches us.
    Link of evenkeel::Link, else None {
        /// Through a live event stream.
        Stream,
        /// By asking at intervals, because the stream does not work.
        Polling,
        /// Not at all at the moment.
        None,
    }
}

names! {
    /// What only the app (or its user) can do.
    Ask of evenkeel::Ask, else None {
        /// Nothing.
        None,
        /// Sign in again, then announce the new token.
        SignIn,
        /// This device was revoked: sign out or register anew.
        DeviceRevoked,
        /// Choose between both sides of a conflict.
        ResolveConflicts,
        /// Look at what the server refused.
        ReviewRejected,
        /// Make room for the local store.
        FreeStorage,
    }
}

names! {
    /// How full the outbox is, writes in conflict and refused ones included.
    OutboxLevel of evenkeel::OutboxLevel, else Normal {
        /// There is room.
        Normal,
        /// The soft limit is reached: the app may want to tell its user.
        Backlog,
        /// The hard limit is reached: writes to further records are refused.
        Blocked,
    }
}

names! {
    /// Why something failed.
    Cause of evenkeel::Cause, else BadResponse {
        /// The edge has no origin configured: a deploy or configuration fault.
        OriginUnconfigured,
        /// The edge gave up waiting for the origin.
        Timeout,
        /// The edge could not reach the origin.
        NetworkError,
        /// The origin answered 5xx and the edge passed that on.
        Upstream5xx,
        /// The edge's circuit breaker rejected the request without trying the origin.
        CircuitOpen,
        /// The edge's session storage is down.
        KvUnavailable,
        /// The AI provider did not answer in time.
        ProviderTimeout,
        /// The AI provider answered 5xx.
        Provider5xx,
        /// The edge's circuit breaker for the AI provider is open.
        ProviderCircuitOpen,
        /// The edge could not reach the AI provider.
        ProviderNetworkError,

        /// The token is missing or expired.
        AuthRequired,
        /// This device was revoked by its owner.
        DeviceRevoked,
        /// Too many requests from this client, in whichever form the answer said so.
        RateLimited,
        /// The stream request carried no ticket.
        TicketRequired,
        /// The stream ticket was not one of the origin's, or not ours.
        TicketInvalid,
        /// The stream ticket came too late.
        TicketExpired,
        /// The stream ticket had been used before.
        TicketReplayed,
        /// The origin's ticket store (Redis) is away.
        TicketStorageUnavailable,
        /// The service refuses these bytes; they must not be sent again unchanged.
        BadRequest,
        /// The body was larger than the edge accepts.
        PayloadTooLarge,
        /// A path that the contract promises is not there.
        NotFound,
        /// Any other refusal in the 4xx range, a 403 that is no revocation among them.
        Forbidden,
        /// Any 5xx without a cause that we know: a CDN's page, an origin reached directly.
        ServerError,

        /// The system says that there is no network.
        Offline,
        /// The service's name could not be resolved.
        DnsFailed,
        /// No connection to the service's address.
        ConnectFailed,
        /// The TLS handshake failed, or the certificate is not to be trusted.
        TlsFailed,
        /// The connection broke in the middle of an answer.
        ConnectionLost,
        /// No answer within our own limit for it.
        ResponseTimeout,
        /// The stream's end was announced properly by the other side.
        StreamClosed,
        /// The stream was accepted, but nothing (more) came through it.
        StreamStalled,
        /// The answer was a redirect, which is never followed with credentials.
        Redirected,
        /// The answer was not from the service at all: HTML with a 200, a captive portal.
        NotTheService,
        /// The answer broke the contract: not JSON, not the shape, not the order.
        BadResponse,
        /// The answer was larger than our limit for it.
        ResponseTooLarge,
        /// The app's token provider failed.
        TokenUnavailable,
        /// The local store could not be read or written.
        StoreFailed,
        /// The local store has no room left.
        StorageFull,
    }
}

names! {
    /// Whose fault a failure is: the first place to look.
    Layer of evenkeel::Layer, else Contract {
        /// This device: offline, DNS, a captive portal.
        Device,
        /// The edge itself, or the way to it.
        Edge,
        /// Between edge and origin.
        Path,
        /// The origin or what it depends on.
        Origin,
        /// The event stream alone.
        Stream,
        /// The AI provider.
        Provider,
        /// Sign-in or device registration.
        Account,
        /// The store on this device.
        Store,
        /// Somebody does not keep to the contract.
        Contract,
    }
}

names! {
    /// Where a change came from.
    Origin of evenkeel::Origin, else Remote {
        /// This app.
        Local,
        /// The server.
        Remote,
    }
}

names! {
    /// Why a token is asked for.
    TokenReason of evenkeel::TokenReason, else Needed {
        /// There is none yet, or the app said that it changed: a token that is at hand will do.
        Needed,
        /// The service refused the last one: a fresh one is wanted.
        Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! complete {
        ($($name:ident),+) => {$(
            for value in evenkeel::$name::ALL {
                assert_eq!(format!("{value:?}"), format!("{:?}", $name::from(*value)));
            }
        )+};
    }

    #[test]
    fn no_name_is_missing() {
        complete!(SyncState, Lifecycle, Link, Ask, OutboxLevel, Cause, Layer);
    }
}
