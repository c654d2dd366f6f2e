//! `stack`: the reference service in the foreground.

use std::fmt::Write as _;

use evenkeel_stack::{FaultSet, Role, ServeError, ServeOptions, Settings, StartError, TlsOptions};

use crate::cli::{Stack, StackRole};
use crate::exit::{Failed, Outcome};

pub(crate) async fn run(args: Stack) -> Result<Outcome, Failed> {
    let mut settings = Settings::default();
    for pair in &args.set {
        settings
            .set_pair(pair)
            .map_err(|e| Failed::configuration(format!("--set: {e}; `stack --help` lists all")))?;
    }
    let edge = matches!(args.role, StackRole::All | StackRole::Edge);
    if !edge && (!args.origin_url.is_empty() || args.provider_url.is_some()) {
        let wrong = "--origin-url and --provider-url are for the edge";
        return Err(Failed::configuration(wrong));
    }
    if !edge && (args.tls_dir.is_some() || !args.listen.is_loopback()) {
        let wrong = "--tls-dir and --listen are for the edge";
        return Err(Failed::configuration(wrong));
    }
    let names = args.tls_name;
    let tls = args.tls_dir.map(|folder| TlsOptions { folder, names });
    let options = ServeOptions {
        role: match args.role {
            StackRole::All => Role::All,
            StackRole::Edge => Role::Edge,
            StackRole::Origin => Role::Origin,
            StackRole::Provider => Role::Provider,
        },
        edge_port: args.edge_port,
        edge_listen: Some(args.listen),
        tls,
        origin_port: args.origin_port,
        provider_port: args.provider_port,
        origin_urls: args.origin_url,
        provider_url: args.provider_url,
        control_port: args.control_port,
        data: args.data,
        database: args.database,
        redis: args.redis,
        settings,
    };
    let shutdown = shutdown_signal()?;
    match evenkeel_stack::serve(options, std::io::stdout(), shutdown).await {
        Ok(()) => Ok(Outcome::AsAsked),
        Err(ServeError::Output(error)) => Err(error.into()),
        Err(ServeError::Start(error @ StartError::Listen { .. })) => Err(Failed::configuration(
            format!("{}; choose another port, or 0", chain(&error)),
        )),
        Err(ServeError::Start(error @ StartError::Plain(_))) => Err(Failed::configuration(
            format!("--listen: {}; give --tls-dir", chain(&error)),
        )),
        Err(error) => Err(Failed::configuration(chain(&error))),
    }
}

/// What can be set and what can be made to fail, printed from the service itself.
pub(crate) fn long_help() -> String {
    let mut help = String::from("Settings (--set name=value):\n");
    for setting in Settings::all() {
        let _ = writeln!(
            help,
            "  {} = {:?}  ({})\n      {}",
            setting.name, setting.default, setting.takes, setting.doc
        );
    }
    help.push_str(
        "\nFaults (on the control URL: GET /faults, PUT /faults/NAME with a JSON value,\n\
         DELETE /faults/NAME, POST /reset). There too, where the edge runs: GET /secrets,\n\
         PUT /secrets/KEY_ENCRYPTION_SECRET with a JSON string (or KEY_ENCRYPTION_SECRET_PREV),\n\
         DELETE /secrets/NAME, POST /edge/restart:\n",
    );
    for fault in FaultSet::all() {
        let _ = writeln!(
            help,
            "  {} = {}\n      {}",
            fault.name, fault.example, fault.doc
        );
    }
    help.push_str(
        "\nExample:\n  recovery-check stack --edge-port 8787 --control-port 8788 &\n  \
         curl -X PUT -d true http://127.0.0.1:8788/faults/origin_refuses\n  \
         EVENKEEL_TOKEN=demo-token recovery-check watch --edge http://127.0.0.1:8787",
    );
    help
}

/// Ready when the process is asked to end.
pub(crate) fn shutdown_signal() -> Result<impl Future<Output = ()> + Send, Failed> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let unable = |e| Failed::unknown(format!("cannot listen for signals: {e}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unable)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(unable)?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// An error with what led to it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}
