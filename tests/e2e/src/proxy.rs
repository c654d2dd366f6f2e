//! A proxy between two parts that carries bytes as well or as badly as it is told to, while connections live.
//!
//! It knows nothing of what it carries. Whatever waits in it is bounded; everything ends with its handle.

mod carry;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use carry::carry;

/// What the way between the two is like. A change applies to the connections that live, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything goes through.
    Through,
    /// Everything comes later, in each direction, by this and by up to the jitter more; in order.
    Latency {
        /// At least.
        delay: Duration,
        /// At most so much more.
        jitter: Duration,
    },
    /// No more bytes per second, for each connection and direction.
    Bandwidth(u64),
    /// Nothing gets through in one direction. As TCP would send it again, it comes when the way is back.
    Loss(Way),
    /// Live connections and new ones are reset.
    Reset,
    /// Nobody listens; live connections are reset. The same port listens again afterwards.
    Refuse,
    /// Live connections are silent for ever, in both directions and without an end, whatever comes after.
    HalfOpen {
        /// Whether new connections work; otherwise they are taken and silent for ever too.
        new_ones_work: bool,
    },
    /// Each connection ends after so many bytes more for the client.
    Cut {
        /// For the client, from now on.
        after_bytes: u64,
        /// How it ends.
        how: End,
    },
    /// New connections are taken and what they say is read, and never answered; live ones work.
    Stall,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As if all were in order.
    Fin,
    /// With a reset.
    Rst,
}

/// The proxy. Dropping it ends its connections.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    sky: watch::Sender<Sky>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// The weather, and how often it has changed: what is new and what was there before depends on it.
#[derive(Clone, Copy, Debug)]
struct Sky {
    weather: Weather,
    changes: u64,
    /// The last change that silenced what was there before it.
    silenced: u64,
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    live: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl FaultProxy {
    /// Listens on the loopback, on a port of the system's choosing.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub async fn start(target: SocketAddr) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), target).await
    }

    /// Listens on this address.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub async fn start_at(addr: SocketAddr, target: SocketAddr) -> Self {
        let listener = bind(addr).and_then(|socket| socket.listen(BACKLOG));
        let Ok((listener, Ok(addr))) = listener.map(|l| {
            let at = l.local_addr();
            (l, at)
        }) else {
            panic!("the proxy cannot listen on {addr}")
        };
        let weather = Weather::Through;
        let sky = watch::Sender::new(Sky {
            weather,
            changes: 0,
            silenced: 0,
        });
        let counts = Arc::<Counts>::default();
        let taking = Taking {
            addr,
            target,
            sky: sky.subscribe(),
            counts: Arc::clone(&counts),
        };
        let task = tokio::spawn(taking.run(listener));
        Self {
            addr,
            sky,
            counts,
            task,
        }
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.sky.send_modify(|sky| {
            sky.weather = weather;
            sky.changes += 1;
            if matches!(weather, Weather::HalfOpen { .. }) {
                sky.silenced = sky.changes;
            }
        });
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens, for a target that speaks plain HTTP.
    #[must_use]
    pub fn url_http(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens, for a target that speaks TLS.
    #[must_use]
    pub fn url_https(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// How many connections it holds.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.counts.live.load(Ordering::SeqCst)
    }

    /// How many connections it has taken so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.counts.taken.load(Ordering::SeqCst)
    }

    /// How many bytes it has delivered in a direction.
    #[must_use]
    pub fn bytes(&self, way: Way) -> u64 {
        self.counts.of(way).load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Counts {
    const fn of(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

struct Taking {
    addr: SocketAddr,
    target: SocketAddr,
    sky: watch::Receiver<Sky>,
    counts: Arc<Counts>,
}

impl Taking {
    async fn run(mut self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut listener = Some(listener);
        loop {
            let refuses = self.sky.borrow_and_update().weather == Weather::Refuse;
            match &listener {
                Some(open) if !refuses => tokio::select! {
                    accepted = open.accept() => match accepted {
                        Ok((client, _)) => {
                            connections.spawn(self.connection(client));
                        }
                        Err(_) => sleep(RETRY).await,
                    },
                    _ = self.sky.changed() => {}
                    Some(_) = connections.join_next() => {}
                },
                _ => {
                    drop(listener.take());
                    // Bound without listening: nobody else gets the port, and who connects is refused.
                    let held = bind(self.addr);
                    let _ = self
                        .sky
                        .wait_for(|sky| sky.weather != Weather::Refuse)
                        .await;
                    listener = held.and_then(|socket| socket.listen(BACKLOG)).ok();
                    if listener.is_none() {
                        sleep(RETRY).await;
                    }
                }
            }
        }
    }

    fn connection(&self, client: TcpStream) -> impl Future<Output = ()> + use<> {
        let (target, counts) = (self.target, Arc::clone(&self.counts));
        let (mut sky, born) = (self.sky.clone(), *self.sky.borrow());
        async move {
            let _live = Live::of(&counts);
            let silent = Weather::HalfOpen {
                new_ones_work: false,
            };
            if [Weather::Stall, silent].contains(&born.weather) {
                return swallow(client, sky).await;
            }
            if breaks(&born) {
                return reset(client);
            }
            let server = tokio::select! {
                server = TcpStream::connect(target) => server,
                () = until(&mut sky, breaks) => return reset(client),
            };
            match server {
                Ok(server) => carry(client, server, sky, born, &counts).await,
                Err(_) => reset(client),
            }
        }
    }
}

struct Live<'a>(&'a Counts);

impl<'a> Live<'a> {
    fn of(counts: &'a Counts) -> Self {
        counts.taken.fetch_add(1, Ordering::SeqCst);
        counts.live.fetch_add(1, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads what comes and says nothing, until the other side has enough of it.
async fn swallow(mut client: TcpStream, mut sky: watch::Receiver<Sky>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        tokio::select! {
            read = client.read(&mut chunk) => match read {
                Ok(1..) => {}
                _ => return,
            },
            () = until(&mut sky, breaks) => return reset(client),
        }
    }
}

async fn until(sky: &mut watch::Receiver<Sky>, holds: impl FnMut(&Sky) -> bool) {
    // An error says that the handle is gone, and this task with it.
    let _ = sky.wait_for(holds).await;
}

/// Whether live connections are to be reset.
fn breaks(sky: &Sky) -> bool {
    [Weather::Reset, Weather::Refuse].contains(&sky.weather)
}

fn reset(socket: TcpStream) {
    // Closed by the other side already: then there is nothing to reset.
    let _ = socket.set_zero_linger();
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

const BACKLOG: u32 = 1_024;
const CHUNK_BYTES: usize = 16 * 1024;
const RETRY: Duration = Duration::from_millis(20);
