//! `demo`: an outage and its recovery on one machine, on real sockets, in under a minute.

mod criteria;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use evenkeel::{Link, MemoryReplica, Secret, Status, SyncClient, SyncState, Timeouts};
use evenkeel_stack::{Cut, Stack};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::cli;
use crate::exit::{Failed, Outcome};
use crate::stack::{chain, shutdown_signal};
use criteria::Looking;
use timeline::Timeline;

pub(crate) async fn run(args: cli::Demo) -> Result<Outcome, Failed> {
    let interrupted = shutdown_signal()?;
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    let demo = Demo::start(args, deadline).await?;
    let story = async {
        match timeout_at(deadline, demo.story()).await {
            Ok(told) => told,
            Err(_elapsed) => {
                demo.timeline.note("the time is over")?;
                Ok(false)
            }
        }
    };
    let told = tokio::select! {
        recovered = story => recovered,
        () = interrupted => Ok(false),
    };
    let told = told.and_then(|recovered| {
        demo.timeline.verdict(recovered)?;
        Ok(recovered)
    });
    demo.end().await;
    let recovered = told?;
    Ok(if recovered {
        Outcome::AsAsked
    } else {
        Outcome::NotReached
    })
}

struct Demo {
    stack: Stack,
    clients: Vec<Client>,
    timeline: Arc<Timeline>,
    looking: Looking,
}

pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) sync: SyncClient,
    notes: MemoryReplica,
}

impl Demo {
    async fn start(args: cli::Demo, deadline: Instant) -> Result<Self, Failed> {
        let unable = |e: &dyn std::error::Error| {
            Failed::configuration(format!("cannot start the demo: {}", chain(e)))
        };
        let mut builder = Stack::builder();
        for (name, value) in SERVICE_WINDOWS {
            builder = builder.set(name, value).map_err(|e| unable(&e))?;
        }
        let stack = builder.start().await.map_err(|e| unable(&e))?;
        let mut timeouts = Timeouts::default();
        timeouts.ready = READY;
        timeouts.silence_min = SILENCE_MIN;
        timeouts.poll_every = POLL_EVERY;
        let mut clients = Vec::new();
        for name in CLIENTS {
            let notes = MemoryReplica::new();
            let sync = SyncClient::builder(stack.edge_url())
                .token(Secret::new("demo-token"))
                .replica(notes.clone())
                .timeouts(timeouts.clone())
                .build()
                .map_err(|e| unable(&e))?;
            clients.push(Client { name, sync, notes });
        }
        let looking = Looking::at(stack.edge_url(), stack.origin_url())?;
        let timeline = Timeline::new(args.format, deadline);
        timeline.windows(&[
            ("circuit opens after", "3 failures in a row, for 2 s".into()),
            ("edge waits for the origin", "1 s".into()),
            ("heartbeat every", "1 s".into()),
            ("client: ready within", format!("{READY:?}")),
            ("client: silence noticed after", format!("{SILENCE_MIN:?}")),
            ("client: polls every", format!("{POLL_EVERY:?}")),
        ])?;
        let demo = Self {
            stack,
            clients,
            timeline: Arc::new(timeline),
            looking,
        };
        for client in &demo.clients {
            demo.timeline.follow(client);
        }
        demo.timeline.show_live(&demo.clients);
        for client in &demo.clients {
            client.sync.start().map_err(|e| unable(&e))?;
        }
        Ok(demo)
    }

    /// Whether it recovered, in the runbook's sense.
    async fn story(&self) -> Result<bool, Failed> {
        let say = |text: &str| self.timeline.note(text);
        let faults = self.stack.faults();
        self.all("synced", synced).await;
        sleep(Duration::from_millis(500)).await;

        say(
            "1. The origin goes down. The edge's circuit opens; clients are told when to come back.",
        )?;
        self.fault("origin_refuses", true, |on| {
            faults.update(|f| f.origin_refuses = on);
        })?;
        self.all("degraded", |s| s.state == SyncState::Degraded)
            .await;
        self.until(async || self.looking.circuit_opened().await)
            .await;
        say("the edge's circuit is open")?;
        self.write("A", "written during the outage")?;
        sleep(Duration::from_secs(3)).await;
        self.fault("origin_refuses", false, |on| {
            faults.update(|f| f.origin_refuses = on);
        })?;
        self.all("synced", synced).await;
        self.until(async || self.has_all("written during the outage"))
            .await;
        say("what A wrote during the outage is on every device")?;

        say("All is quiet for ten seconds: that is what makes a client forget its backoff.")?;
        sleep(STEADY).await;
        say(
            "2. The ticket store (Redis) goes down. Streams cannot open; polling carries the data.",
        )?;
        self.fault("replay_store_down", true, |on| {
            faults.update(|f| f.replay_store_down = on);
        })?;
        faults.cut_streams(Cut::Clean);
        self.all("polling", |s| s.link == Link::Polling).await;
        self.write("B", "written while polling")?;
        self.until(async || self.has_all("written while polling"))
            .await;
        say("what B wrote came to every device by polling")?;
        self.fault("replay_store_down", false, |on| {
            faults.update(|f| f.replay_store_down = on);
        })?;
        self.all("synced", synced).await;

        // Two heartbeats tell each client how often to expect them.
        sleep(Duration::from_millis(2_500)).await;
        say("3. A proxy swallows the streams: open connections, and not a byte.")?;
        self.fault("stream_silent", true, |on| {
            faults.update(|f| f.stream_silent = on);
        })?;
        self.write("C", "written unheard")?;
        self.all("noticed", |s| s.state == SyncState::Degraded)
            .await;
        self.fault("stream_silent", false, |on| {
            faults.update(|f| f.stream_silent = on);
        })?;
        self.all("synced", synced).await;
        self.until(async || self.has_all("written unheard")).await;
        say("what C wrote unheard is on every device")?;

        say("The runbook's three exit criteria:")?;
        let criteria = self.looking.criteria(&self.clients, WINDOW).await;
        for criterion in &criteria {
            self.timeline.criterion(criterion)?;
        }
        Ok(criteria.iter().all(|criterion| criterion.pass))
    }

    fn fault(&self, name: &str, on: bool, set: impl FnOnce(bool)) -> Result<(), Failed> {
        self.timeline.fault(name, on)?;
        set(on);
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        let fields = json!({ "content": text });
        let Value::Object(fields) = fields else {
            return Ok(());
        };
        for client in self.clients.iter().filter(|client| client.name == name) {
            self.put(client, text, fields.clone())?;
        }
        Ok(())
    }

    fn put(&self, client: &Client, text: &str, fields: Map<String, Value>) -> Result<(), Failed> {
        client
            .notes
            .put(&text.replace(' ', "-"), fields)
            .map_err(|e| Failed::unknown(format!("the demo could not write: {e}")))?;
        self.timeline
            .note(&format!("{} writes a note: {text:?}", client.name))?;
        Ok(())
    }

    /// Whether this text has reached every client, over the server.
    fn has_all(&self, text: &str) -> bool {
        let id = text.replace(' ', "-");
        self.clients.iter().all(|client| {
            let arrived = client.notes.get(&id).is_some_and(|note| note.version.0 > 0);
            arrived && client.sync.status().pending == 0
        })
    }

    async fn all(&self, what: &str, there: impl Fn(&Status) -> bool) {
        self.until(async || {
            self.clients
                .iter()
                .all(|client| there(&client.sync.status()))
        })
        .await;
        tracing::debug!(what, "every client is there");
    }

    /// Looks again and again; the caller's deadline bounds it.
    async fn until(&self, mut there: impl AsyncFnMut() -> bool) {
        while !there().await {
            sleep(Duration::from_millis(25)).await;
        }
    }

    async fn end(self) {
        self.timeline.end();
        for client in &self.clients {
            client.sync.stop().await;
        }
        self.stack.stop().await;
    }
}

fn synced(status: &Status) -> bool {
    status.state == SyncState::Synced && status.link == Link::Stream
}

const CLIENTS: [&str; 4] = ["A", "B", "C", "D"];
/// The service's windows, shortened; what is not named here is the contract's.
const SERVICE_WINDOWS: [(&str, &str); 3] = [
    ("circuit_open_ms", "2000"),
    ("proxy_timeout_ms", "1000"),
    ("heartbeat_ms", "1000"),
];
const READY: Duration = Duration::from_secs(3);
const SILENCE_MIN: Duration = Duration::from_secs(3);
const POLL_EVERY: Duration = Duration::from_secs(3);
/// A stream that lived this long has earned a fast reconnect.
const STEADY: Duration = Duration::from_millis(10_500);
/// How long the criteria have to hold.
const WINDOW: Duration = Duration::from_secs(3);
