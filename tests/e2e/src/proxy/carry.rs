//! One connection through the proxy, in whatever weather there is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{CHUNK_BYTES, Counts, End, Sky, Way, Weather, breaks, reset, swallow, until};

/// Carries in both directions until both have ended, or one is broken.
pub(super) async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    mut sky: watch::Receiver<Sky>,
    born: Sky,
    counts: &Counts,
) {
    // Without this what a fault lets through would come in lumps.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut silenced, mut breaking) = (sky.clone(), sky.clone());
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let pipe = |way| Pipe {
        way,
        sky: sky.clone(),
        born,
        counts,
    };
    let both = async {
        tokio::try_join!(
            pipe(Way::Up).run(from_client, to_server),
            pipe(Way::Down).run(from_server, to_client),
        )
    };
    let ended = tokio::select! {
        ended = both => ended.map(|_| ()),
        () = until(&mut silenced, |sky| sky.silenced > born.changes) => {
            until(&mut sky, breaks).await;
            Err(End::Rst)
        }
        () = until(&mut breaking, breaks) => Err(End::Rst),
    };
    match ended {
        Ok(()) => {}
        Err(End::Rst) => {
            reset(client);
            reset(server);
        }
        Err(End::Fin) => {
            reset(server);
            let _ = client.shutdown().await;
            // Closed with something unread in it, it would be reset after all.
            let _ = timeout(FIN_MAX, swallow(client, sky)).await;
        }
    }
}

/// One direction.
struct Pipe<'a> {
    way: Way,
    sky: watch::Receiver<Sky>,
    born: Sky,
    counts: &'a Counts,
}

impl Pipe<'_> {
    async fn run(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), End> {
        let (queue, mut waiting) = mpsc::channel(QUEUE_CHUNKS);
        let sky = self.sky.clone();
        let reading = async move {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = from.read(&mut chunk).await.map_err(|_| End::Rst)?;
                chunk.truncate(read);
                let due = Instant::now() + delay(sky.borrow().weather);
                if read == 0 || queue.send((due, chunk)).await.is_err() {
                    return Ok(());
                }
            }
        };
        let writing = async {
            let mut cut = (self.born.changes, 0_u64);
            while let Some((due, chunk)) = waiting.recv().await {
                sleep_until(due).await;
                let mut left = &chunk[..];
                while !left.is_empty() {
                    let sky = self.open().await;
                    let (mut now, mut pause, mut last) = (left.len(), Duration::ZERO, None);
                    match sky.weather {
                        Weather::Bandwidth(rate) => {
                            let slice = usize::try_from(rate / 20).unwrap_or(usize::MAX);
                            now = now.min(slice.max(1));
                            pause = Duration::from_secs_f64(now as f64 / rate.max(1) as f64);
                        }
                        Weather::Cut { after_bytes, how } if self.way == Way::Down => {
                            if cut.0 != sky.changes {
                                cut = (sky.changes, 0);
                            }
                            let remaining = usize::try_from(after_bytes - cut.1);
                            now = now.min(remaining.unwrap_or(usize::MAX));
                            cut.1 += now as u64;
                            last = (cut.1 == after_bytes).then_some(how);
                        }
                        _ => {}
                    }
                    to.write_all(&left[..now]).await.map_err(|_| End::Rst)?;
                    left = &left[now..];
                    self.counts
                        .of(self.way)
                        .fetch_add(now as u64, Ordering::SeqCst);
                    if let Some(how) = last {
                        return Err(how);
                    }
                    sleep(pause).await;
                }
            }
            self.open().await;
            to.shutdown().await.map_err(|_| End::Rst)
        };
        tokio::try_join!(reading, writing).map(|_| ())
    }

    /// Waits until something may be delivered in this direction.
    async fn open(&mut self) -> Sky {
        loop {
            let sky = *self.sky.borrow_and_update();
            let shut = match sky.weather {
                Weather::Loss(way) => way == self.way,
                _ => sky.silenced > self.born.changes,
            };
            if !shut || self.sky.changed().await.is_err() {
                return sky;
            }
        }
    }
}

fn delay(weather: Weather) -> Duration {
    match weather {
        Weather::Latency { delay, jitter } => delay + jitter.mul_f64(fastrand::f64()),
        _ => Duration::ZERO,
    }
}

const QUEUE_CHUNKS: usize = 64;
const FIN_MAX: Duration = Duration::from_secs(1);
