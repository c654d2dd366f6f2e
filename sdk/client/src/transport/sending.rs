//! The thread on which requests are sent.
//!
//! hyper hands a request over a channel of tokio's to the task that drives the connection. If that task ends on one
//! thread (the connection was reset) while another puts the request in, it is neither taken nor dropped, and waits for
//! its watchdog: three to eight of 100,000 requests on connections that were reset at once, on two busy cores. On one
//! thread neither comes between the other. The cause is what tokio-rs/tokio#7714 describes, open in tokio 1.54.

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::thread;

use reqwest::{RequestBuilder, Response};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

/// Sends it, and returns when the answer's headers are there. Its connection lives on the same thread. Dropping the
/// future gives the request up.
pub(super) async fn send(request: RequestBuilder) -> Result<Response, reqwest::Error> {
    // A runtime with one worker is such a thread itself.
    let workers = Handle::current().metrics().num_workers();
    let Some(sender) = (workers > 1).then(sender).flatten() else {
        return request.send().await;
    };
    let mut sending = Sending(sender.spawn(request.send()));
    match (&mut sending.0).await {
        Ok(answer) => answer,
        // Nothing else ends it: that runtime is never shut down, and only dropping aborts.
        Err(panicked) => resume_unwind(panicked.into_panic()),
    }
}

struct Sending(JoinHandle<Result<Response, reqwest::Error>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The one of this process, from its first request on; `None` where the system has no thread to give.
fn sender() -> Option<&'static Handle> {
    static SENDER: OnceLock<Option<Handle>> = OnceLock::new();
    let start = || {
        let mut builder = Builder::new_current_thread();
        let builder = builder.enable_all().max_blocking_threads(LOOKUPS_MAX);
        let runtime = builder.thread_name("evenkeel-dns").build().ok()?;
        let handle = runtime.handle().clone();
        let thread = thread::Builder::new().name("evenkeel-send".into());
        thread
            .spawn(move || runtime.block_on(pending::<()>()))
            .ok()?;
        Some(handle)
    };
    SENDER.get_or_init(start).as_ref()
}

/// Names that are looked up at a time.
const LOOKUPS_MAX: usize = 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::send;

    /// Resets each connection: at once, after a moment, or in the middle of the request.
    async fn rude() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for number in 0_u64.. {
                let (mut socket, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut chunk = [0; 16];
                    match number % 3 {
                        0 => {}
                        1 => tokio::task::yield_now().await,
                        _ => drop(socket.read(&mut chunk).await),
                    }
                    socket.set_zero_linger().unwrap();
                });
            }
        });
        url
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_request_waits_for_a_connection_that_was_reset() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = rude().await;
        let client = reqwest::Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .build()
            .unwrap();
        let lanes = (0..16).map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                for _ in 0..1_000 {
                    let sent = timeout(Duration::from_secs(10), send(client.get(&url)));
                    assert!(sent.await.expect("it waits").is_err());
                }
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            lane.await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_that_is_given_up_ends_its_connection() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let sending = tokio::spawn(async move { send(client.get(&url)).await.is_ok() });
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 16];
        socket.read_exact(&mut head).await.unwrap();
        sending.abort();
        let mut rest = Vec::new();
        let ended = timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the connection lives on");
    }
}
