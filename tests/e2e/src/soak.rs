//! Many clients for a long time, with a fault every so often: nothing may grow, nothing may be lost.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel::SyncState;
use fastrand::Rng;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::crew::{Accepted, Audit, Device, Way};
use crate::process::StackProcess;
use crate::proxy::{End, FaultProxy, Way as Direction, Weather};
use crate::say;
use crate::service::{Service, address};

/// How long, how many, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// From the first fault to the end of the last.
    pub lasts: Duration,
    /// Clients; four are one user's.
    pub clients: usize,
    /// Of the order of the faults.
    pub seed: u64,
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    kib: u64,
    files: u64,
}

/// What everybody holds.
#[derive(Clone, Debug)]
struct Look {
    tasks: usize,
    clients: u64,
    /// This process, with the clients in it, and the service's.
    processes: BTreeMap<&'static str, Held>,
}

/// Runs it, and says on standard output how it goes.
///
/// # Panics
///
/// When a write is lost or doubled, a client does not come back, or something has grown.
pub async fn run(soak: Soak) {
    say(&format!("soak: seed {}", soak.seed));
    let mut rng = Rng::with_seed(soak.seed);
    let mut service = Service::start(2, async |url| url.to_owned()).await;
    let proxy = FaultProxy::start(address(&service.url())).await;
    let folder = TempDir::new().unwrap_or_else(|error| panic!("a folder: {error}"));
    let url = proxy.url_http();
    let mut devices = Vec::new();
    for number in 0..soak.clients {
        let way = Way {
            user: &format!("user-{}", number / 4),
            write_every: Duration::from_secs(15),
            ..Way::to(&url)
        };
        devices.push(Device::start(&format!("device-{number}"), folder.path(), &way).await);
    }
    all_synced(&devices).await;
    write(&devices, CALM).await;
    let before = look(&service, &devices);
    say(&format!(
        "soak: {} clients, at first {before:?}",
        devices.len()
    ));

    let end = Instant::now() + soak.lasts;
    while Instant::now() < end {
        devices.iter().for_each(Device::write);
        let fault = rng.usize(..FAULTS.len());
        say(&format!(
            "soak: {} s left, {}",
            (end - Instant::now()).as_secs(),
            FAULTS[fault]
        ));
        let next = Instant::now() + EVERY;
        make(fault, &mut service, &proxy, &mut rng).await;
        tokio::time::sleep_until(next).await;
    }
    all_synced(&devices).await;
    write(&devices, CALM).await;
    // Connections that nobody uses any more are kept for a moment.
    let mut after = look(&service, &devices);
    let patience = Instant::now() + IDLE_MAX;
    while after.grown_since(&before).is_some() && Instant::now() < patience {
        sleep(Duration::from_secs(1)).await;
        after = look(&service, &devices);
    }
    say(&format!("soak: in the end {after:?}"));
    assert_eq!(after.grown_since(&before), None, "seed {}", soak.seed);

    let mut accepted = Accepted::new();
    for device in &devices {
        accepted.extend(device.accepted());
    }
    let audit = Audit::of(&service.postgres, &accepted).await;
    assert_eq!(audit.lost, Vec::<String>::new(), "lost, seed {}", soak.seed);
    assert_eq!(
        audit.doubled,
        Vec::<String>::new(),
        "doubled, seed {}",
        soak.seed
    );
    for device in &devices {
        device.has_all_of(&audit).await;
    }
    say(&format!(
        "soak: {} writes, 0 lost, 0 doubled",
        audit.accepted
    ));
}

async fn all_synced(devices: &[Device]) {
    for device in devices {
        device.hush().await;
    }
    for device in devices {
        let synced = |s: &evenkeel::Status| s.state == SyncState::Synced;
        device.sends_all(BACK_WITHIN, synced).await;
    }
}

/// Normal work for a while, with everything sent at its end.
async fn write(devices: &[Device], span: Duration) {
    devices.iter().for_each(Device::write);
    sleep(span).await;
    all_synced(devices).await;
}

const FAULTS: &[&str] = &[
    "Redis killed",
    "Redis frozen",
    "Redis flushed",
    "Postgres shut down",
    "Postgres killed",
    "an origin killed",
    "an origin frozen",
    "the edge killed",
    "the network slow",
    "the network cut",
    "the network half-open",
    "answers cut",
];

/// One fault, made and mended within the time between two.
async fn make(fault: usize, service: &mut Service, proxy: &FaultProxy, rng: &mut Rng) {
    let lasts = Duration::from_millis(rng.u64(2_000..10_000));
    let origin = rng.usize(..service.origins.len());
    match FAULTS[fault] {
        "Redis killed" => {
            service.redis.kill().await;
            sleep(lasts).await;
            service.redis.restart().await;
        }
        "Redis frozen" => {
            service.redis.signal(Signal::STOP);
            sleep(lasts).await;
            service.redis.signal(Signal::CONT);
        }
        "Redis flushed" => {
            let said = service.redis.tell("FLUSHALL").await;
            assert!(said.is_ok(), "{said:?}");
        }
        "Postgres shut down" => {
            service.postgres.shut_down_fast().await;
            sleep(lasts).await;
            service.postgres.restart().await;
        }
        "Postgres killed" => {
            service.postgres.kill().await;
            service.postgres.restart().await;
        }
        "an origin killed" => {
            service.origins[origin].kill().await;
            sleep(lasts).await;
            service.origins[origin].restart().await;
        }
        "an origin frozen" => {
            service.origins[origin].signal(Signal::STOP);
            sleep(lasts).await;
            service.origins[origin].signal(Signal::CONT);
        }
        "the edge killed" => {
            service.edge.kill().await;
            sleep(lasts).await;
            service.edge.restart().await;
        }
        weather => {
            proxy.set(match weather {
                "the network slow" => Weather::Latency {
                    delay: Duration::from_millis(300),
                    jitter: Duration::from_millis(300),
                },
                "the network cut" => Weather::Refuse,
                "the network half-open" => Weather::HalfOpen {
                    new_ones_work: true,
                },
                "answers cut" => Weather::Cut {
                    after_bytes: 200,
                    how: End::Fin,
                },
                _ => Weather::Loss(Direction::Down),
            });
            sleep(lasts).await;
            // What was silenced would be silent for ever: the network forgets it, as one does that comes back.
            proxy.set(Weather::Reset);
            sleep(Duration::from_millis(200)).await;
            proxy.set(Weather::Through);
        }
    }
}

fn look(service: &Service, devices: &[Device]) -> Look {
    let held = |part: &StackProcess| {
        part.id()
            .map_or_else(Held::default, |id| held(&id.to_string()))
    };
    // Streams move from one origin to the other, as these come and go.
    let origins = service.origins.iter().map(held);
    let origins = origins.fold(Held::default(), |all, one| Held {
        kib: all.kib + one.kib,
        files: all.files + one.files,
    });
    let processes = BTreeMap::from([
        ("clients", self::held("self")),
        ("edge", held(&service.edge)),
        ("origins", origins),
    ]);
    Look {
        clients: devices.len() as u64,
        tasks: Handle::current().metrics().num_alive_tasks(),
        processes,
    }
}

fn held(process: &str) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next());
    let files = std::fs::read_dir(format!("/proc/{process}/fd"));
    Held {
        kib: kib.and_then(|number| number.parse().ok()).unwrap_or(0),
        files: files.map_or(0, |files| files.count() as u64),
    }
}

impl Look {
    /// What has grown beyond its slack, if anything has.
    fn grown_since(&self, before: &Self) -> Option<String> {
        let connections = self.clients;
        if self.tasks as u64 > before.tasks as u64 + connections * TASKS_OF_ONE + TASKS_SLACK {
            return Some(format!("{} tasks, {} before", self.tasks, before.tasks));
        }
        for (name, now) in &self.processes {
            let before = before.processes.get(name).copied().unwrap_or_default();
            if now.files > before.files + connections * FILES_OF_ONE + FILES_SLACK {
                return Some(format!(
                    "{name}: {} files, {} before",
                    now.files, before.files
                ));
            }
            if now.kib > before.kib + before.kib / 4 + KIB_SLACK {
                return Some(format!("{name}: {} KiB, {} before", now.kib, before.kib));
            }
        }
        None
    }
}

const EVERY: Duration = Duration::from_secs(20);
const CALM: Duration = Duration::from_secs(20);
const BACK_WITHIN: Duration = Duration::from_secs(180);
/// Connections that nobody uses are closed after a minute and a half.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// A client may keep one connection more than it did at first, for its next request; one that is kept from each
/// fault would be many more. It costs two tasks in this process, and three files with the proxy's two.
const TASKS_OF_ONE: u64 = 2;
const FILES_OF_ONE: u64 = 3;
/// Connections that happen to be open at the moment of the look, and their tasks.
const TASKS_SLACK: u64 = 40;
const FILES_SLACK: u64 = 60;
/// Allocators keep what they once had; a leak of each client or request would be far more.
const KIB_SLACK: u64 = 32 * 1024;
