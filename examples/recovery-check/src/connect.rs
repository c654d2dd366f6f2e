//! A client of the service that the command line names.

use std::path::PathBuf;

use evenkeel::{Secret, SyncClient, TokenError, TokenReason};

use crate::cli::Service;
use crate::exit::Failed;
use crate::stack::chain;

pub(crate) fn connect(service: &Service) -> Result<SyncClient, Failed> {
    let Some(edge) = &service.edge else {
        return Err(Failed::configuration(
            "which service? Give --edge URL or set EVENKEEL_EDGE; `recovery-check demo` needs none",
        ));
    };
    let source = TokenSource::of(service)?;
    let mut builder = SyncClient::builder(edge)
        .user_agent(concat!("recovery-check/", env!("CARGO_PKG_VERSION")))
        .token_provider(move |reason| {
            let token = source.read(reason);
            async move { token }
        });
    if let Some(id) = &service.device_id {
        builder = builder.device_id(id);
    }
    if let Some(dir) = &service.state_dir {
        builder = builder.state_dir(dir);
    }
    builder
        .build()
        .map_err(|e| Failed::configuration(chain(&e)))
}

enum TokenSource {
    Environment(Secret),
    File(PathBuf),
}

impl TokenSource {
    fn of(service: &Service) -> Result<Self, Failed> {
        if let Some(path) = &service.token_file {
            let source = Self::File(path.clone());
            return match source.read(TokenReason::Needed) {
                Ok(_) => Ok(source),
                Err(_) => Err(Failed::configuration(format!(
                    "cannot read a token from {}: it must hold the token and nothing else",
                    path.display()
                ))),
            };
        }
        match std::env::var("EVENKEEL_TOKEN") {
            Ok(token) if !token.trim().is_empty() => {
                Ok(Self::Environment(Secret::new(token.trim())))
            }
            _ => Err(Failed::configuration(
                "as whom? Set EVENKEEL_TOKEN or give --token-file FILE",
            )),
        }
    }

    /// A file may hold another token by the time the first is refused; a variable cannot.
    fn read(&self, reason: TokenReason) -> Result<Secret, TokenError> {
        match self {
            Self::Environment(token) if reason == TokenReason::Needed => Ok(token.clone()),
            Self::Environment(_) => Err(TokenError::SignedOut),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|_| TokenError::Unavailable)?;
                let token = text.trim();
                if token.is_empty() || token.contains(char::is_whitespace) {
                    return Err(TokenError::Unavailable);
                }
                Ok(Secret::new(token))
            }
        }
    }
}
