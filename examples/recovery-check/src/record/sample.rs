//! Looks at `/ready` and at the edge's counters, again and again.

use std::time::{Duration, Instant};

use evenkeel_proto::wire::EdgeMetrics;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::probe::Probe;
use crate::recording::{ReadyAnswer, Sample, Seen};
use crate::status_line::{elapsed_ms, wall_ms};

/// A sample at the start and at each interval, until nobody takes them any more.
pub(crate) fn samples(probe: Probe, every: Duration, begun: Instant) -> mpsc::Receiver<Sample> {
    let (sender, samples) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (ready, edge) = tokio::join!(ready(&probe), edge(&probe));
            let sample = Sample {
                at_ms: wall_ms(),
                elapsed_ms: elapsed_ms(begun),
                ready,
                edge,
            };
            if sender.send(sample).await.is_err() {
                return;
            }
        }
    });
    samples
}

async fn ready(probe: &Probe) -> Seen<ReadyAnswer> {
    match probe.ready().await {
        None => Seen::unknown("no --origin was given"),
        Some((Ok(seen), _)) => Seen::Known(ReadyAnswer::new(seen)),
        Some((Err(trouble), _)) => Seen::unknown(trouble.to_string()),
    }
}

async fn edge(probe: &Probe) -> Seen<EdgeMetrics> {
    match probe.metrics().await {
        None => Seen::unknown("no --edge was given"),
        Some(Ok(counted)) => Seen::Known(counted.metrics),
        Some(Err(trouble)) => Seen::unknown(trouble.to_string()),
    }
}
